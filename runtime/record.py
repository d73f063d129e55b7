"""What an island reports of a step."""

from dataclasses import dataclass, field

from atoll.runtime.trace import Traced

Link = tuple[str, str]


@dataclass
class Record:
    """Written by the island's host, and shipped when its devices have ended the step.

    nanoseconds: that its host has spent on it, without waiting.
    live, peak: bytes on each device, when its last instruction was enqueued and at the worst moment.
    host_peak: bytes in the memory of the host for each device, at the worst moment.
    order: the tasks as they ended, by the index of their instruction. errors: why some of them failed.
    offers: how many messages it sent to other hosts.
    traced: what was recorded of it, if it was traced.
    """

    program: int
    step: int
    island: str
    bytes_per_link: dict[Link, int] = field(default_factory=dict)
    messages: int = 0
    offers: int = 0
    nanoseconds: int = 0
    live: int = 0
    peak: int = 0
    host_peak: int = 0
    order: list[int] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)
    traced: list[Traced] = field(default_factory=list)
    is_enqueued: bool = False  # whether its last instruction was

    def count(self, link: Link, size: int) -> None:
        """A value was handed to a link."""
        self.messages += 1
        self.bytes_per_link[link] = self.bytes_per_link.get(link, 0) + size
