"""Which process of an island sends which box of a value to which processes of another."""

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.runtime.boxes import common
from atoll.runtime.program import Box


@dataclass(frozen=True)
class Leg:
    """A tile's way over a link, which it takes once.

    source: the process that sends it, and of which box that it holds; targets: those that need it.
    """

    box: Box
    of: Box
    source: int
    targets: tuple[int, ...]


def legs(given: Sequence[Sequence[Box]], wanted: Sequence[Sequence[Box]]) -> list[Leg]:
    """For what each process of the one island holds, and each of the other needs.

    The boxes of an array on an island are the same or have nothing in common.
    """
    sources: dict[Box, int] = {}
    for number, boxes in enumerate(given):
        for box in boxes:
            sources.setdefault(box, number)  # the first that has it
    targets: dict[Box, list[int]] = {}
    for number, boxes in enumerate(wanted):
        for box in boxes:
            targets.setdefault(box, []).append(number)
    return [
        Leg(tile, held, source, tuple(needing))
        for held, source in sources.items()
        for needed, needing in targets.items()
        if (tile := common(held, needed)) is not None
    ]
