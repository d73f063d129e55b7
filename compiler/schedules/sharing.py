"""Runs tasks on paper on islands that share cores: the more of them are at work, the longer each task takes."""

from collections.abc import Mapping, Sequence
from math import inf

from atoll.compiler.schedules.costs import LinkCost
from atoll.compiler.schedules.step_task import StepTask

_NEARLY = 1 - 1e-12  # so much of a task is all of it, to floating point


class SharedCores:
    """Follows time from one event to the next: a task ends, or a value arrives.

    tasks: each row runs its own in their order. workers: so many rows, the first, are islands that share; what others
        run takes what it takes.
    at_once: how many islands' work all of them do together.
    """

    def __init__(
        self,
        tasks: Sequence[StepTask],
        links: Mapping[tuple[int, int], LinkCost],
        workers: int,
        at_once: float,
    ) -> None:
        self._tasks, self._links, self._workers, self._at_once = tasks, links, workers, at_once
        self._rows: list[list[int]] = [[] for _ in range(max((task.row for task in tasks), default=-1) + 1)]
        for number, task in enumerate(tasks):
            self._rows[task.row].append(number)
        self._next = [0] * len(self._rows)
        self._running: dict[int, float] = {}  # of each task at work, what is left of it
        self._arrivals: dict[tuple[int, int], float] = {}
        self._link_free: dict[tuple[int, int], float] = {}
        self.starts, self.ends = [inf] * len(tasks), [inf] * len(tasks)

    def run(self) -> None:
        now = 0.0
        while True:
            coming = self._begin(now)
            if not self._running and coming == inf:
                break
            speed = self._speed()
            ending = min((left / speed[number] for number, left in self._running.items()), default=inf)
            step = min(ending, coming - now)
            now += step
            for number, left in list(self._running.items()):
                self._running[number] = left - step * speed[number]
                if step >= _NEARLY * left / speed[number]:
                    del self._running[number]
                    self._end(number, now)
        assert all(end < inf for end in self.ends), "a program that runs has an order in which its tasks can"

    def _speed(self) -> dict[int, float]:
        busy = sum(self._tasks[number].row < self._workers for number in self._running)
        shared = min(1.0, self._at_once / busy) if busy else 1.0
        return {number: shared if self._tasks[number].row < self._workers else 1.0 for number in self._running}

    def _begin(self, now: float) -> float:
        """Begin what can begin; returns when the next one can whose values are all on their way."""
        at_work = {self._tasks[number].row for number in self._running}
        coming = inf
        for row, numbers in enumerate(self._rows):
            if row in at_work or self._next[row] == len(numbers):
                continue
            number = numbers[self._next[row]]
            ready = max((self._ready(need, row) for need in self._tasks[number].needs), default=0.0)
            if ready > now:
                coming = min(coming, ready)
                continue
            self.starts[number] = now
            self._running[number] = self._tasks[number].seconds
            self._next[row] += 1
        return coming

    def _ready(self, need: int, row: int) -> float:
        return self._arrivals.get((need, row), self.ends[need])

    def _end(self, number: int, now: float) -> None:
        self.ends[number] = now
        row = self._tasks[number].row
        for target, size in self._tasks[number].sends:
            link = self._links.get((row, target), LinkCost())
            sent = max(now, self._link_free.get((row, target), 0.0)) + size / link.bandwidth
            self._link_free[row, target] = sent
            self._arrivals[number, target] = sent + link.latency
