"""Schedules with one stage on each island: `gpipe`, `1f1b`, `zb-h1`, `zb-h2`, `forward-only`.

With P islands, M microbatches and F = B = W = 1: gpipe and 1f1b take 3M + 3(P - 1), zb-h1 and zb-h2 3M + P - 1, and
no island of zb-h2 pauses once it has started if M is at least 2P - 1. An island keeps the activations of M, P, P and
2P - 1 microbatches. (Huang et al. 2019; Narayanan et al. 2019, 2021; Qi et al. 2023.)
"""

from atoll.compiler.schedules.filling import fill
from atoll.compiler.schedules.order import RowOrder, one_forward_one_backward
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import BACKWARD, FORWARD


def forward_only(islands: int, microbatches: int, _chunks: int) -> RowOrder:
    """The forward tasks alone, for inference."""
    return RowOrder([_tasks(FORWARD, island, microbatches) for island in range(islands)])


def gpipe(islands: int, microbatches: int, _chunks: int) -> RowOrder:
    """All forward tasks, then all backward tasks."""
    return RowOrder(_rows(islands, microbatches, [microbatches] * islands))


def one_f_one_b(islands: int, microbatches: int, _chunks: int) -> RowOrder:
    """As many forward tasks ahead as it takes a microbatch to come back; then in turn."""
    return RowOrder(_rows(islands, microbatches, [islands - island for island in range(islands)]))


def zb_h1(islands: int, microbatches: int, _chunks: int) -> RowOrder:
    """The order of 1f1b; weight tasks fill the pauses, within the memory of 1f1b."""
    ahead = [islands - island for island in range(islands)]
    return RowOrder(fill(_rows(islands, microbatches, ahead), islands, microbatches, most=islands))


def zb_h2(islands: int, microbatches: int, _chunks: int) -> RowOrder:
    """More forward tasks ahead, so that no pause is left; nearly twice the memory of 1f1b."""
    ahead = [2 * (islands - island) - 1 for island in range(islands)]
    return RowOrder(fill(_rows(islands, microbatches, ahead), islands, microbatches, most=2 * islands - 1))


def _rows(islands: int, microbatches: int, ahead: list[int]) -> list[list[Task]]:
    return [
        one_forward_one_backward(
            _tasks(FORWARD, island, microbatches),
            _tasks(BACKWARD, island, microbatches),
            min(ahead[island], microbatches),
        )
        for island in range(islands)
    ]


def _tasks(kind: str, stage: int, microbatches: int) -> list[Task]:
    return [Task(kind, stage, microbatch) for microbatch in range(microbatches)]
