"""Makes an order of tasks by following the clock: whenever an island is free, it picks the task that seems best."""

import heapq
import itertools
import math
from abc import ABC, abstractmethod
from bisect import insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compiler.schedules.costs import Costs
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT

Rows = list[list[Task]]


@dataclass(frozen=True)
class Problem:
    """What is to be ordered.

    stage_island: the island of each stage.
    whole: the stages whose backward cannot be split.
    limits: for each island the most activations that it can keep.
    """

    microbatches: int
    stage_island: tuple[int, ...]
    costs: Costs
    limits: tuple[float, ...]
    whole: frozenset[int] = frozenset()

    @property
    def islands(self) -> int:
        return len(self.limits)

    @property
    def stages(self) -> int:
        return len(self.stage_island)

    @property
    def split(self) -> frozenset[int]:
        """The stages that have weight tasks."""
        return frozenset(range(self.stages)) - self.whole

    def stages_of(self, island: int) -> list[int]:
        return [stage for stage, home in enumerate(self.stage_island) if home == island]

    def cost(self, kind: str, stage: int) -> float:
        return self.costs.of(Task(kind, stage, 0), stage not in self.whole)

    def arrival(self, kind: str, stage: int, following: int) -> float:
        """How long after a task's end its value arrives at the next stage, if the link is free."""
        return sum(self.costs.sending(kind, stage, self.stage_island[stage], self.stage_island[following]))

    def round_trip(self, stage: int) -> float:
        """The least time from the start of a forward task to the end of the same microbatch's backward task."""
        onward = range(stage, self.stages)
        work = sum(self.cost(kind, at) for at in onward for kind in (FORWARD, BACKWARD))
        ways = itertools.pairwise(onward)
        return work + sum(self.arrival(FORWARD, at, to) + self.arrival(BACKWARD, to, at) for at, to in ways)

    def slowest(self) -> float:
        """The work of one microbatch on the island that has the most of it."""
        costs = self.costs
        share = zip(costs.forward, costs.backward, costs.weight, strict=True)
        work = [0.0] * self.islands
        for island, parts in zip(self.stage_island, share, strict=True):
            work[island] += sum(parts)
        return max(work)


@dataclass(frozen=True)
class Taste:
    """What an island prefers when it has a choice.

    ahead: how many microbatches may be between forward and backward on a stage, as a multiple of those that a round
        trip from there needs.
    backward_first: whether a backward task goes before a forward task when both are ready.
    grouped: whether a chunk takes a group of microbatches before the next chunk's turn, or each microbatch goes on at
        once.
    patience: a fraction of a weight task; the task is put off if the next value is due before that much is done.
    """

    ahead: float
    backward_first: bool = True
    grouped: bool = False
    patience: float = 0.0


def greedy(problem: Problem, taste: Taste) -> Rows | None:
    """An order; None if its islands end up waiting for each other or for memory."""
    islands = [_Free(problem, island, taste) for island in range(problem.islands)]
    return _follow(problem, islands, taste.patience)


def refilled(problem: Problem, rows: Sequence[Sequence[Task]], patience: float) -> Rows | None:
    """The forward and backward tasks in their given order, with weight tasks where there is time for them."""
    islands = [_InTurn(problem, island, row) for island, row in enumerate(rows)]
    return _follow(problem, islands, patience)


class _Island(ABC):
    """One island: what it keeps, and the weight tasks that it has put off. Subclasses choose all other tasks."""

    def __init__(self, problem: Problem, island: int) -> None:
        self.row: list[Task] = []
        self.free = 0.0
        self._activations = problem.costs.activations
        self._limit = problem.limits[island]
        self._whole = problem.whole
        self._kept = 0.0
        self._weights: deque[Task] = deque()

    @abstractmethod
    def arrive(self, task: Task) -> None:
        """Notes that all values of a task are there."""

    @abstractmethod
    def next_task(self) -> Task | None:
        """The forward or backward task to run now, if there is any."""

    def weight(self) -> Task | None:
        """The weight task that has been put off for longest."""
        return self._weights[0] if self._weights else None

    def fits(self, task: Task, reserve: float = 0.0) -> bool:
        """Whether a forward task fits, and so much more."""
        return self._kept + self._activations[task.stage] + reserve <= self._limit * (1 + 1e-12)

    def run(self, task: Task) -> None:
        """Notes that a task runs."""
        self.row.append(task)
        size = self._activations[task.stage]
        if task.kind == FORWARD:
            self._kept += size
        elif task.kind == WEIGHT:
            self._weights.popleft()
            self._kept -= size
        elif task.stage in self._whole:
            self._kept -= size
        else:
            self._weights.append(Task(WEIGHT, task.stage, task.microbatch))


class _Free(_Island):
    """Runs ready tasks in the order of a taste."""

    def __init__(self, problem: Problem, island: int, taste: Taste) -> None:
        super().__init__(problem, island)
        self._most = {stage: _most_open(problem, stage, taste) for stage in problem.stages_of(island)}
        self._open = dict.fromkeys(self._most, 0)
        self._taste = taste
        self._group = problem.islands
        self._ready: dict[str, list[tuple[tuple[int, ...], Task]]] = {FORWARD: [], BACKWARD: []}
        # What all forward tasks of a microbatch on this island keep; and, for each microbatch that has begun here, what
        # those that are left will keep.
        self._share = sum(self._activations[stage] for stage in self._most)
        self._begun: dict[int, float] = {}

    def arrive(self, task: Task) -> None:
        insort(self._ready[task.kind], (self._rank(task), task))

    def _rank(self, task: Task) -> tuple[int, ...]:
        if self._taste.grouped:
            along = task.stage if task.kind == FORWARD else -task.stage
            return task.microbatch // self._group, along, task.microbatch
        return (-task.stage, task.microbatch) if task.kind == FORWARD else (task.microbatch, -task.stage)

    def next_task(self) -> Task | None:
        kinds = (BACKWARD, FORWARD) if self._taste.backward_first else (FORWARD, BACKWARD)
        for kind in kinds:
            for _, task in self._ready[kind]:
                if kind == BACKWARD or (self._open[task.stage] < self._most[task.stage] and self._has_room(task)):
                    return task
        return None

    def _has_room(self, task: Task) -> bool:
        """Whether a forward task fits and still leaves room for the oldest microbatch that has begun here to go on.

        Without that room, younger microbatches could fill the memory while no backward task can run.
        """
        if self._limit == math.inf:
            return True
        oldest = min(self._begun, default=task.microbatch)
        return self.fits(task, self._begun.get(oldest, 0.0) if oldest != task.microbatch else 0.0)

    def run(self, task: Task) -> None:
        super().run(task)
        if task.kind == WEIGHT:
            return
        self._ready[task.kind].remove((self._rank(task), task))
        self._open[task.stage] += 1 if task.kind == FORWARD else -1
        if task.kind == FORWARD:
            self._begun[task.microbatch] = self._begun.get(task.microbatch, self._share) - self._activations[task.stage]
            if self._begun[task.microbatch] <= 1e-9 * self._share:
                del self._begun[task.microbatch]


def _most_open(problem: Problem, stage: int, taste: Taste) -> float:
    """How many microbatches may be between forward and backward on a stage."""
    if taste.ahead == math.inf:
        return math.inf
    return max(1, math.ceil(taste.ahead * problem.round_trip(stage) / (problem.slowest() or 1.0)))


class _InTurn(_Island):
    """Runs forward and backward tasks in an order that is given."""

    def __init__(self, problem: Problem, island: int, row: Sequence[Task]) -> None:
        super().__init__(problem, island)
        self._order = deque(task for task in row if task.kind != WEIGHT)
        self._arrived: set[Task] = set()

    def arrive(self, task: Task) -> None:
        self._arrived.add(task)

    def next_task(self) -> Task | None:
        if not self._order or self._order[0] not in self._arrived:
            return None
        task = self._order[0]
        return task if task.kind == BACKWARD or self.fits(task) else None

    def run(self, task: Task) -> None:
        super().run(task)
        if task.kind != WEIGHT:
            self._order.popleft()


def _follow(problem: Problem, islands: Sequence[_Island], patience: float) -> Rows | None:
    """Lets the islands run until all is done; None if they get stuck."""
    clock = _Clock(problem, islands)
    for microbatch in range(problem.microbatches):
        clock.deliver(0.0, Task(FORWARD, 0, microbatch))
    while clock.advance():
        for index in clock.woken:
            island = islands[index]
            if island.free > clock.now:
                continue
            task = island.next_task()
            if task is None:
                task = island.weight()
                if task is None or clock.due(index) - clock.now < patience * problem.cost(WEIGHT, task.stage):
                    continue
            island.run(task)
            clock.start(index, task)
    tasks = sum(len(island.row) for island in islands)
    wanted = 3 * problem.stages - len(problem.whole)
    return [island.row for island in islands] if tasks == wanted * problem.microbatches else None


class _Clock:
    """What happens when: values arrive, and islands become free."""

    def __init__(self, problem: Problem, islands: Sequence[_Island]) -> None:
        self.now = 0.0
        self.woken: list[int] = []
        self._problem, self._islands = problem, islands
        self._events: list[tuple[float, int]] = []
        self._coming: list[list[tuple[float, Task]]] = [[] for _ in islands]
        self._link_free: dict[tuple[int, int], float] = {}

    def advance(self) -> bool:
        """Goes on to the next time at which anything happens, and notes on which islands; False if nothing is left."""
        if not self._events:
            return False
        self.now = self._events[0][0]
        woken = set()
        while self._events and self._events[0][0] <= self.now:
            woken.add(heapq.heappop(self._events)[1])
        self.woken = sorted(woken)
        for index in self.woken:
            coming = self._coming[index]
            while coming and coming[0][0] <= self.now:
                self._islands[index].arrive(heapq.heappop(coming)[1])
        return True

    def due(self, island: int) -> float:
        """When the next value that is under way arrives at an island."""
        return self._coming[island][0][0] if self._coming[island] else math.inf

    def deliver(self, time: float, task: Task) -> None:
        """Lets the last value that a task needs arrive."""
        island = self._problem.stage_island[task.stage]
        heapq.heappush(self._coming[island], (time, task))
        heapq.heappush(self._events, (time, island))

    def start(self, island: int, task: Task) -> None:
        """Runs a task, and sends what it makes."""
        problem = self._problem
        kind, stage, microbatch = task
        end = self.now + problem.cost(kind, stage)
        self._islands[island].free = end
        heapq.heappush(self._events, (end, island))
        if kind == WEIGHT:
            return
        following = stage + 1 if kind == FORWARD else stage - 1
        if kind == FORWARD and stage == problem.stages - 1:
            self.deliver(end, Task(BACKWARD, stage, microbatch))
        elif following >= 0:
            # A backward task's other value, that of its own forward task, is always there first.
            self.deliver(self._sent(kind, stage, following, end), Task(kind, following, microbatch))

    def _sent(self, kind: str, stage: int, following: int, end: float) -> float:
        source, target = self._problem.stage_island[stage], self._problem.stage_island[following]
        occupied, latency = self._problem.costs.sending(kind, stage, source, target)
        sent = max(end, self._link_free.get((source, target), 0.0)) + occupied
        self._link_free[source, target] = sent
        return sent + latency
