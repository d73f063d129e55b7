"""The connection between two islands."""

from dataclasses import dataclass

from atoll.compiler.errors import TopologyError
from atoll.compiler.text.quantities import BANDWIDTH, LATENCY, amount_text, whole_number
from atoll.compiler.topology.island import check_name

# Assumed of a link that the text does not write: one 100 Gbit/s port through a data centre's switches.
DEFAULT_BANDWIDTH = 12_500_000_000
DEFAULT_LATENCY = 100_000


@dataclass(frozen=True)
class Link:
    """The connection between two islands, the same in both directions.

    bandwidth: bytes a second.
    latency: nanoseconds.
    """

    source: str
    target: str
    bandwidth: int = DEFAULT_BANDWIDTH
    latency: int = DEFAULT_LATENCY

    def __post_init__(self) -> None:
        check_name("the name of an island", self.source)
        check_name("the name of an island", self.target)
        if self.source == self.target:
            raise TopologyError(f"a link from {self.source!r} to itself", remedy="link two different islands")
        whole_number("the bandwidth in B/s", self.bandwidth, TopologyError)
        whole_number("the latency in ns", self.latency, TopologyError, least=0)

    @property
    def ends(self) -> frozenset[str]:
        """The two islands, in no order."""
        return frozenset((self.source, self.target))

    def __str__(self) -> str:
        bandwidth, latency = amount_text(self.bandwidth, BANDWIDTH), amount_text(self.latency, LATENCY)
        return f"link {self.source} <-> {self.target} : {bandwidth}, {latency}"
