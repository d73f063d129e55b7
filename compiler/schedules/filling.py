"""Puts weight tasks into an order of forward and backward tasks, where they cost no time."""

from collections import deque
from collections.abc import Sequence

from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT

_NEVER = 1 << 60


def fill(
    rows: Sequence[Sequence[Task]], stages: int, microbatches: int, most: int, early_stages: int = 0
) -> list[list[Task]]:
    """The rows with a weight task for every backward task.

    Ticks are counted as if every task took one. An island runs its next task if that is ready and, for a forward task,
    if it keeps less than `most` activations then; else the oldest weight task, which frees one; else, of the stages
    below `early_stages`, a forward task ahead of its turn, as long as there is still room for the next after it.
    """
    ends = _Ends(stages, microbatches)
    islands = [_Island(row, most, early_stages) for row in rows]
    left = sum(len(row) + sum(task.kind == BACKWARD for task in row) for row in rows)
    tick = 0
    while left:
        # All choose before any ends: what ends at this tick is seen at the next.
        chosen = [task for island in islands if (task := island.choose(ends, tick)) is not None]
        if not chosen:
            raise ValueError("the order waits for itself")
        tick += 1
        for task in chosen:
            ends.note(task, tick)
        left -= len(chosen)
    return [island.row for island in islands]


class _Ends:
    """When each forward and backward task ends."""

    def __init__(self, stages: int, microbatches: int) -> None:
        self._last = stages - 1
        self._forward = [[_NEVER] * microbatches for _ in range(stages)]
        self._backward = [[_NEVER] * microbatches for _ in range(stages)]

    def note(self, task: Task, tick: int) -> None:
        if task.kind == FORWARD:
            self._forward[task.stage][task.microbatch] = tick
        elif task.kind == BACKWARD:
            self._backward[task.stage][task.microbatch] = tick

    def ready(self, task: Task, tick: int) -> bool:
        kind, stage, microbatch = task
        if kind == FORWARD:
            return stage == 0 or self._forward[stage - 1][microbatch] <= tick
        after = stage == self._last or self._backward[stage + 1][microbatch] <= tick
        return after and self._forward[stage][microbatch] <= tick


class _Island:
    """One island: what it has run, and what is left."""

    def __init__(self, tasks: Sequence[Task], most: int, early_stages: int) -> None:
        self.row: list[Task] = []
        self._tasks = tasks
        self._next = 0
        self._weights: deque[Task] = deque()
        self._kept = 0
        self._most = most
        self._early = deque(task for task in tasks if task.kind == FORWARD and task.stage < early_stages)
        self._ahead: set[Task] = set()

    def choose(self, ends: _Ends, tick: int) -> Task | None:
        """The task to run at a tick, noted as run; None if there is none."""
        task = self._in_turn(ends, tick) or self._weight() or self._ahead_of_turn(ends, tick)
        if task is not None:
            self.row.append(task)
        return task

    def _in_turn(self, ends: _Ends, tick: int) -> Task | None:
        while self._next < len(self._tasks) and self._tasks[self._next] in self._ahead:
            self._next += 1
        if self._next == len(self._tasks):
            return None
        task = self._tasks[self._next]
        if (task.kind == FORWARD and self._kept == self._most) or not ends.ready(task, tick):
            return None
        self._next += 1
        if task.kind == FORWARD:
            self._kept += 1
            if self._early and self._early[0] == task:
                self._early.popleft()
        else:
            self._weights.append(Task(WEIGHT, task.stage, task.microbatch))
        return task

    def _weight(self) -> Task | None:
        if not self._weights:
            return None
        self._kept -= 1
        return self._weights.popleft()

    def _ahead_of_turn(self, ends: _Ends, tick: int) -> Task | None:
        if not self._early or self._kept + 1 >= self._most or not ends.ready(self._early[0], tick):
            return None
        self._kept += 1
        self._ahead.add(self._early[0])
        return self._early.popleft()
