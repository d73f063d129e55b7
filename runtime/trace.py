"""What traced steps did, as plain data; `recorder` records it, and `trace_file` writes it for people to look at.

It holds numbers and names only, no array and nothing that keeps one alive, so it can be kept for long and sent to
another process. All times are by `time.perf_counter_ns`.
"""

import time
from collections.abc import Iterable
from typing import NamedTuple

from atoll.runtime.program import Program, Run


class Started(NamedTuple):
    """The controller has asked the islands for a step, which took it so long."""

    step: int
    start: int
    end: int


class Recorded(NamedTuple):
    """What an island has carried out: an instruction of a step."""

    island: str
    step: int
    number: int
    start: int
    end: int


class Fetched(NamedTuple):
    """An argument that was brought from another island when a step began."""

    island: str
    step: int
    source: str
    buffer: int
    start: int
    end: int


class ForValue(NamedTuple):
    """A value that another island sends has not come."""

    source: str
    tag: int


class ForArgument(NamedTuple):
    """An argument is not there yet: it is computed, or comes from `source`: an island, or a function of the user's."""

    buffer: int
    source: str


class ForRoom(NamedTuple):
    """A task, an instruction's number, cannot be enqueued: so many are enqueued ahead of the devices already."""

    number: int
    ahead: int


class ForStep(NamedTuple):
    """The controller has not asked for the next step."""


Cause = ForValue | ForArgument | ForRoom | ForStep


class Waited(NamedTuple):
    """An island had nothing to do, for one cause. step: the one that it could not go on with, or not begin."""

    island: str
    step: int
    cause: Cause
    start: int
    end: int


Traced = Started | Recorded | Fetched | Waited


def by_other_clock(record: Traced, ahead: int) -> Traced:
    """What was recorded by a clock that is so many nanoseconds ahead, as one that is not would have it."""
    return record._replace(start=record.start - ahead, end=record.end - ahead)


class TracedTask(NamedTuple):
    """A task, and when it ran, in seconds."""

    task: str
    island: str
    start: float
    end: float


class Trace:
    """What the steps did that were started while it was active."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.records: list[Traced] = []
        self.began = time.perf_counter_ns()
        self._islands = {island.name: island for island in program.islands}

    def started(self, step: int, start: int) -> None:
        """The controller has asked for a step."""
        self.records.append(Started(step, start, time.perf_counter_ns()))

    def add(self, records: Iterable[Traced]) -> None:
        """An island tells what it has done in a step."""
        for one in records:
            if isinstance(one, Waited):  # it may have waited for hours before tracing began
                one = one._replace(start=max(one.start, self.began))
            self.records.append(one)

    def last_step(self) -> list[TracedTask]:
        """The tasks of the last step that was traced."""
        recorded = [one for one in self.records if isinstance(one, Recorded)]
        last = max((one.step for one in recorded), default=None)
        return [
            TracedTask(run.task, one.island, one.start / 1e9, one.end / 1e9)
            for one in recorded
            if one.step == last and isinstance(run := self._islands[one.island].instructions[one.number], Run)
        ]
