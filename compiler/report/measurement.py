"""What a traced step took, as the report shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class MeasuredTask(NamedTuple):
    """A task of a step: `F3@0`. start, end: seconds since the first task of the step began."""

    task: str
    island: str
    start: float
    end: float


@dataclass(frozen=True)
class Measurement:
    """The tasks of one step, in the order in which they began."""

    tasks: tuple[MeasuredTask, ...]

    @classmethod
    def of(cls, tasks: Sequence[Sequence[Any]]) -> "Measurement":
        """From tasks with any origin of time, or from what JSON made of them."""
        rows = sorted((MeasuredTask(*one) for one in tasks), key=lambda one: one.start)
        origin = rows[0].start if rows else 0.0
        return cls(tuple(MeasuredTask(one.task, one.island, one.start - origin, one.end - origin) for one in rows))

    @property
    def step(self) -> float:
        """Seconds from the start of the first task to the end of the last."""
        return max((one.end for one in self.tasks), default=0.0)

    def busy(self, island: str) -> float:
        """Seconds that an island's tasks took."""
        return sum(one.end - one.start for one in self.tasks if one.island == island)

    def bubble(self, islands: Sequence[str]) -> float:
        """The part of the step in which the islands paused, on average."""
        if not self.step or not islands:
            return 0.0
        return 1 - sum(map(self.busy, islands)) / (self.step * len(islands))
