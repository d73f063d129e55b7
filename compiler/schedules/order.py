"""What the builders of schedules have in common: their result, and the maps from stage to island."""

from collections.abc import Sequence
from typing import NamedTuple

from atoll.compiler.schedules.task import Task


class RowOrder(NamedTuple):
    """The tasks of each island in their order, and those that run as one block with the task before them."""

    rows: Sequence[Sequence[Task]]
    joined: frozenset[Task] = frozenset()


def round_robin(islands: int, chunks: int) -> tuple[int, ...]:
    """Stages go round the islands, as often as there are chunks."""
    return tuple(range(islands)) * chunks


def zigzag(islands: int, chunks: int) -> tuple[int, ...]:
    """Stages go along the islands and back again: with two chunks a V, whose ends meet on island 0."""
    there = tuple(range(islands))
    return tuple(island for chunk in range(chunks) for island in (there[::-1] if chunk % 2 else there))


def one_forward_one_backward(forward: Sequence[Task], backward: Sequence[Task], ahead: int) -> list[Task]:
    """So many forward tasks, then a backward and a forward task in turn, then the backward tasks that are left."""
    row = list(forward[:ahead])
    for index, task in enumerate(backward):
        row.append(task)
        row += forward[ahead + index : ahead + index + 1]
    return row
