"""How fast islands exchange something: as fast as the slowest link between them."""

from collections.abc import Iterable
from dataclasses import dataclass

from atoll.compiler.topology.topology import Topology

# A message should take so many times as long as the latency of its link: then latency is a small part of it.
_LATENCIES = 10


@dataclass(frozen=True)
class Speed:
    """Of the slowest link that takes part. bandwidth: bytes a second; latency: seconds."""

    bandwidth: float
    latency: float

    @property
    def chunk(self) -> float:
        """The bytes that are worth a message of their own."""
        return _LATENCIES * self.latency * self.bandwidth


def slowest(links: Iterable[tuple[float, float]]) -> Speed:
    """Of links with bandwidths in bytes a second and latencies in seconds."""
    bandwidths, latencies = zip(*links, strict=True)
    return Speed(min(bandwidths), max(latencies))


def speed_between(twins: tuple[str, ...], topology: Topology) -> Speed:
    """Of the slowest link between islands that exchange something."""
    links = [topology.link(one, other) for one in twins for other in twins if one < other]
    return slowest((float(link.bandwidth), link.latency * 1e-9) for link in links)
