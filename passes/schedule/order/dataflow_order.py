"""Orders of tasks and the dataflow between them. Pure: numbers in, numbers out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from atoll.compiler.schedules.progress import Progress

Order = Mapping[int, Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class TaskNode:
    """A task of every microbatch. needs: the tasks, by number, of the same microbatch that must have ended."""

    island: int
    needs: tuple[int, ...]


def dataflow_order(nodes: Sequence[TaskNode], microbatches: int) -> dict[int, list[tuple[int, int]]]:
    """For each island its tasks as (node, microbatch), if all take the same time and each runs as soon as it can.

    Of several that could run, an island takes the one of the earliest microbatch, and of those the first node: what
    was begun is brought to its end, so that as little as possible is alive at once.
    """
    users: list[list[int]] = [[] for _ in nodes]
    for number, node in enumerate(nodes):
        for needed in node.needs:
            users[needed].append(number)
    waiting = {(number, one): len(node.needs) for number, node in enumerate(nodes) for one in range(microbatches)}
    ready: dict[int, list[tuple[int, int]]] = {node.island: [] for node in nodes}
    for (number, microbatch), count in waiting.items():
        if not count:
            heappush(ready[nodes[number].island], (microbatch, number))
    order: dict[int, list[tuple[int, int]]] = {island: [] for island in ready}
    while any(ready.values()):
        # One tick: what ends in it can be used in the next.
        running = [(island, *heappop(heap)) for island, heap in ready.items() if heap]
        for island, microbatch, number in running:
            order[island].append((number, microbatch))
            for user in users[number]:
                waiting[user, microbatch] -= 1
                if not waiting[user, microbatch]:
                    heappush(ready[nodes[user].island], (microbatch, user))
    return order


def waiting_for_ever(nodes: Sequence[TaskNode], order: Order) -> dict[int, tuple[int, int]]:
    """For each island that does not come to the end of its row, the task that it waits to begin."""
    islands = list(order)

    def needs(task: tuple[int, int]) -> Iterator[tuple[int, int]]:
        node, microbatch = task
        return ((needed, microbatch) for needed in nodes[node].needs)

    progress = Progress([[(task,) for task in order[island]] for island in islands], needs)
    for _ in progress.run():
        pass
    return {islands[row]: order[islands[row]][at] for row, at in progress.stuck().items()}
