"""Schedules whose stages go round the islands: `interleaved-1f1b`, `interleaved-zb`, `looped-bfs`.

With P islands of v chunks, M >= P microbatches and F = B = W = 1: interleaved-1f1b and looped-bfs take
3M + 3(P - 1)/v, interleaved-zb 3M + (P - 1)/v. If P divides M, an island of interleaved-1f1b keeps the activations of
P + (P - 1)/v microbatches, one of interleaved-zb those of P; looped-bfs keeps all M. (Narayanan et al. 2021;
Lamy-Poirier 2022; Qi et al. 2023.)
"""

from atoll.compiler.schedules.filling import fill
from atoll.compiler.schedules.order import RowOrder, one_forward_one_backward
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import BACKWARD, FORWARD


def looped_bfs(islands: int, microbatches: int, chunks: int) -> RowOrder:
    """All microbatches through one chunk, then through the next; back likewise."""
    return RowOrder(_rows(islands, chunks, [microbatches], [microbatches * chunks] * islands))


def interleaved_1f1b(islands: int, microbatches: int, chunks: int) -> RowOrder:
    """1f1b over chunks: a group of microbatches goes through one chunk, then through the next."""
    groups = group_sizes(islands, microbatches)
    ahead = [2 * (islands - 1 - island) + (chunks - 1) * groups[0] + 1 for island in range(islands)]
    return RowOrder(_rows(islands, chunks, groups, ahead))


def interleaved_zb(islands: int, microbatches: int, chunks: int) -> RowOrder:
    """The same with weight tasks in the pauses. What a split backward gains comes back as fewer forward tasks ahead."""
    groups = group_sizes(islands, microbatches)
    ahead = [islands - island + (chunks - 1) * groups[0] for island in range(islands)]
    rows = _rows(islands, chunks, groups, ahead)
    return RowOrder(fill(rows, islands * chunks, microbatches, most=islands + (chunks - 1) * groups[0]))


def group_sizes(islands: int, microbatches: int) -> list[int]:
    """How many microbatches go through a chunk before the next chunk's turn.

    Groups of less than P would leave islands waiting for a microbatch to come round, so what is left over when P does
    not divide M is spread over the groups. No group is larger than one before it: backward tasks follow forward tasks
    at the distance that the first group set.
    """
    groups = max(1, microbatches // islands)
    size, larger = divmod(microbatches, groups)
    return [size + 1] * larger + [size] * (groups - larger)


def _rows(islands: int, chunks: int, groups: list[int], ahead: list[int]) -> list[list[Task]]:
    rows = []
    for island in range(islands):
        stages = range(island, islands * chunks, islands)
        forward = _in_groups(FORWARD, stages, groups)
        backward = _in_groups(BACKWARD, stages[::-1], groups)
        rows.append(one_forward_one_backward(forward, backward, min(ahead[island], len(forward))))
    return rows


def _in_groups(kind: str, stages: range, groups: list[int]) -> list[Task]:
    tasks, first = [], 0
    for size in groups:
        tasks += [Task(kind, stage, microbatch) for stage in stages for microbatch in range(first, first + size)]
        first += size
    return tasks
