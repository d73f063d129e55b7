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
    under_way: int = 0  # tasks that were enqueued and have not ended
    is_enqueued: bool = False  # whether its last instruction was

    @property
    def is_over(self) -> bool:
        return self.is_enqueued and not self.under_way

    def count(self, link: Link, size: int) -> None:
        """A value was handed to a link."""
        self.messages += 1
        self.bytes_per_link[link] = self.bytes_per_link.get(link, 0) + size

    def ended(self, index: int, error: str | None) -> bool:
        """A task has ended; whether the step is over with it."""
        self.under_way -= 1
        self.order.append(index)
        if error is not None:
            self.errors[index] = error
        return not self.under_way and self.is_enqueued
