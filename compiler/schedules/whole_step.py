"""Runs all tasks of a step on paper: several loops over microbatches, and what is done between them.

A loop by itself is a schedule, for which `simulate` is. Here a task may need any others, and islands go on from one
loop to the next as soon as what the next one needs is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from atoll.compiler.schedules.costs import LinkCost
from atoll.compiler.schedules.progress import Progress
from atoll.compiler.schedules.sharing import SharedCores
from atoll.compiler.schedules.step_task import StepTask


class LoopTimes(NamedTuple):
    """When a loop's first task begins and its last one ends, and for how long the loop before it was still at work.

    pause: the part of the step in which an island pauses, on average, from the beginning of this loop to that of the
        next one; of the first from the beginning of the step, of the last to its end. Together they are the bubble.
    """

    loop: int
    start: float
    end: float
    overlap: float
    pause: float


@dataclass(frozen=True)
class StepTimes:
    """When each task of a step begins and ends."""

    tasks: tuple[StepTask, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]

    @property
    def makespan(self) -> float:
        return max(self.ends, default=0.0)

    def bubble(self, rows: int) -> float:
        """The part of the makespan in which the first rows, which are the islands, do not work, on average."""
        return self._pause(rows, 0.0, self.makespan)

    def _pause(self, rows: int, begin: float, end: float) -> float:
        """The part of the makespan in which rows do not work, on average, between two points of time."""
        spans = (span for task, *span in zip(self.tasks, self.starts, self.ends, strict=True) if task.row < rows)
        work = sum(max(0.0, min(end, until) - max(begin, since)) for since, until in spans)
        return (end - begin - work / rows) / self.makespan if self.makespan else 0.0

    def loops(self, rows: int) -> list[LoopTimes]:
        """The loops in their order; the first rows are the islands."""
        numbers = sorted({task.loop for task in self.tasks if task.loop is not None})
        if not numbers:
            return []
        spans = []
        for number in numbers:
            own = [index for index, task in enumerate(self.tasks) if task.loop == number]
            spans.append((number, min(self.starts[one] for one in own), max(self.ends[one] for one in own)))
        overlaps = [0.0, *(max(0.0, before[2] - after[1]) for before, after in pairwise(spans))]
        # A loop may begin before the one in front of it: what is between two beginnings is counted once.
        borders = [0.0, *accumulate((start for _, start, _ in spans[1:]), max), self.makespan]
        pauses = (self._pause(rows, begin, end) for begin, end in pairwise(borders))
        return [LoopTimes(*span, *rest) for span, *rest in zip(spans, overlaps, pauses, strict=True)]


def step_times(
    tasks: Sequence[StepTask],
    links: Mapping[tuple[int, int], LinkCost],
    workers: int = 0,
    at_once: float | None = None,
) -> StepTimes:
    """When the tasks run if each row runs its own in their order, each as soon as all that it needs is there.

    A link sends one value after the other, and each arrives one latency later, as in `simulate`.

    workers, at_once: so many rows, the first, are islands that share cores, and do so many islands' work together.
    """
    if at_once is not None:
        cores = SharedCores(tasks, links, workers, at_once)
        cores.run()
        return StepTimes(tuple(tasks), tuple(cores.starts), tuple(cores.ends))
    rows: list[list[int]] = [[] for _ in range(max((task.row for task in tasks), default=-1) + 1)]
    for number, task in enumerate(tasks):
        rows[task.row].append(number)
    starts, ends = [0.0] * len(tasks), [0.0] * len(tasks)
    arrivals: dict[tuple[int, int], float] = {}  # of a task's values in another row
    free, link_free = [0.0] * len(rows), dict.fromkeys(links, 0.0)
    progress = Progress([[(number,) for number in row] for row in rows], lambda number: tasks[number].needs)
    for row, at in progress.run():
        number = rows[row][at]
        task = tasks[number]
        starts[number] = max(free[row], *(arrivals.get((need, row), ends[need]) for need in task.needs), 0.0)
        free[row] = ends[number] = starts[number] + task.seconds
        for target, size in task.sends:
            link = links.get((row, target), LinkCost())
            sent = max(ends[number], link_free.get((row, target), 0.0)) + size / link.bandwidth
            link_free[row, target] = sent
            arrivals[number, target] = sent + link.latency
    assert not progress.stuck(), "a program that runs has an order in which its tasks can"
    return StepTimes(tuple(tasks), tuple(starts), tuple(ends))
