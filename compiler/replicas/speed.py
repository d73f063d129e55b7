"""How fast islands exchange something: as fast as the slowest link between them allows."""

from collections.abc import Iterable
from dataclasses import dataclass

from atoll.compiler.topology.topology import Topology

# A message should take this many times the latency of its link, so that latency is a small part of it.
_LATENCIES = 10


@dataclass(frozen=True)
class Speed:
    """The speed of the slowest link that takes part. bandwidth: bytes a second; latency: seconds."""

    bandwidth: float
    latency: float

    @property
    def chunk(self) -> float:
        """How many bytes are worth a message of their own."""
        return _LATENCIES * self.latency * self.bandwidth


def slowest(links: Iterable[tuple[float, float]]) -> Speed:
    """The lowest bandwidth, in bytes a second, and the highest latency, in seconds, of some links."""
    bandwidths, latencies = zip(*links, strict=True)
    return Speed(min(bandwidths), max(latencies))


def speed_between(twins: tuple[str, ...], topology: Topology) -> Speed:
    """The speed of the slowest link between islands that exchange something."""
    links = [topology.link(one, other) for one in twins for other in twins if one < other]
    return slowest((float(link.bandwidth), link.latency * 1e-9) for link in links)
