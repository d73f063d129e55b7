"""Orders of tasks and the dataflow between them. Pure: numbers in, numbers out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice, product, zip_longest

from atoll.compiler.schedules.progress import Progress

Order = Mapping[int, Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class TaskNode:
    """A task of every microbatch.

    needs: the tasks, by number, of the same microbatch that must have ended; ways: for each of these how long its
    values are under way, which is no time if that is left out. seconds: what the task takes.
    """

    island: int
    needs: tuple[int, ...]
    ways: tuple[float, ...] = ()
    seconds: float = 1.0

    def needs_with_ways(self) -> Iterator[tuple[int, float]]:
        return zip_longest(self.needs, self.ways, fillvalue=0)


def dataflow_order(nodes: Sequence[TaskNode], microbatches: int, open_at_once: int | None = None) -> Order:
    """For each island its tasks as (node, microbatch), if each runs as soon as it can.

    Of several that could run, an island takes the one of the earliest microbatch, and of those the first node: what
    was begun is brought to its end, so that as little as possible is alive at once.
    open_at_once: how many microbatches may have begun and not ended; any number if that is left out.
    """
    clock = _Clock(nodes, microbatches)
    for _ in range(open_at_once or microbatches):
        clock.begin(0.0)
    while clock.has_more():
        clock.advance()
    return clock.order


class _Clock:
    """What happens when: microbatches begin, values arrive, and islands become free."""

    def __init__(self, nodes: Sequence[TaskNode], microbatches: int) -> None:
        self.order: dict[int, list[tuple[int, int]]] = {node.island: [] for node in nodes}
        self._nodes = nodes
        self._users: list[list[tuple[int, float]]] = [[] for _ in nodes]
        for number, node in enumerate(nodes):
            for needed, way in node.needs_with_ways():
                self._users[needed].append((number, way))
        self._to_begin = iter(range(microbatches))
        self._left = [len(nodes)] * microbatches
        # Of tasks, each as (microbatch, node): how many values have not been made, and when the last one arrives.
        tasks = product(range(microbatches), range(len(nodes)))
        self._missing = {task: len(nodes[task[1]].needs) for task in tasks}
        self._arrival = dict.fromkeys(self._missing, 0.0)
        self._coming: list[tuple[float, tuple[int, int]]] = []
        self._ready: dict[int, list[tuple[int, int]]] = {island: [] for island in self.order}
        self._busy: list[tuple[float, int]] = []
        self._idle = set(self.order)

    def begin(self, now: float) -> None:
        """Begin the next microbatch, if there is another one."""
        for microbatch in islice(self._to_begin, 1):
            for number, node in enumerate(self._nodes):
                if not node.needs:
                    heappush(self._coming, (now, (microbatch, number)))

    def has_more(self) -> bool:
        return bool(self._coming or self._busy)

    def advance(self) -> None:
        """Go on to when next anything happens, and let the islands that are idle then take what is ready."""
        now = min(heap[0][0] for heap in (self._coming, self._busy) if heap)
        while self._busy and self._busy[0][0] <= now:
            self._idle.add(heappop(self._busy)[1])
        while self._coming and self._coming[0][0] <= now:
            task = heappop(self._coming)[1]
            heappush(self._ready[self._nodes[task[1]].island], task)
        for island in sorted(self._idle):
            if self._ready[island]:
                self._run(island, now)

    def _run(self, island: int, now: float) -> None:
        microbatch, number = heappop(self._ready[island])
        end = now + self._nodes[number].seconds
        self.order[island].append((number, microbatch))
        self._idle.remove(island)
        heappush(self._busy, (end, island))
        for user, way in self._users[number]:
            task = microbatch, user
            self._arrival[task] = max(self._arrival[task], end + way)
            self._missing[task] -= 1
            if not self._missing[task]:
                heappush(self._coming, (self._arrival[task], task))
        self._left[microbatch] -= 1
        if not self._left[microbatch]:
            self.begin(end)


def sweep_by_sweep(nodes: Sequence[TaskNode], microbatches: int) -> Order:
    """For each island its tasks as (node, microbatch): each task for all microbatches, before the next one begins."""
    order: dict[int, list[tuple[int, int]]] = {node.island: [] for node in nodes}
    for number, node in enumerate(nodes):
        order[node.island] += [(number, one) for one in range(microbatches)]
    return order


def time_of(nodes: Sequence[TaskNode], order: Order) -> float:
    """When the last task ends, if each begins as soon as the one before it has ended and what it needs is there.

    Values do not wait for each other on a link.
    """
    ends: dict[tuple[int, int], float] = {}
    free = [0.0] * len(order)
    rows, progress = list(order.values()), _progress(nodes, order)
    for island, at in progress.run():
        number, microbatch = rows[island][at]
        there = (ends[one, microbatch] + way for one, way in nodes[number].needs_with_ways())
        free[island] = ends[number, microbatch] = max([free[island], *there]) + nodes[number].seconds
    return max(free, default=0.0)


def waiting_for_ever(nodes: Sequence[TaskNode], order: Order) -> dict[int, tuple[int, int]]:
    """For each island that does not come to the end of its row, the task that it waits to begin."""
    islands, progress = list(order), _progress(nodes, order)
    for _ in progress.run():
        pass
    return {islands[row]: order[islands[row]][at] for row, at in progress.stuck().items()}


def _progress(nodes: Sequence[TaskNode], order: Order) -> Progress[tuple[int, int]]:
    def needs(task: tuple[int, int]) -> Iterator[tuple[int, int]]:
        node, microbatch = task
        return ((needed, microbatch) for needed in nodes[node].needs)

    return Progress([[(task,) for task in row] for row in order.values()], needs)
