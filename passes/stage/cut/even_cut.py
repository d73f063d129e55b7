"""Cuts where blocks end if that is even enough, and otherwise wherever it has to be. Pure arithmetic on lists."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import inf

from atoll.passes.stage.cut.contiguous_cut import FLOORS, contiguous_cut, places_between_blocks, smallest_bottleneck

# How many times an even share, or the best that is possible, the costliest part may cost before it counts as uneven.
UNEVEN = 1.2


@dataclass(frozen=True)
class EvenCut:
    """Where to cut, and what it gives.

    cuts: a part begins at each of them. places: where they could have been.
    work: what each part costs; fewer than `parts`, which were asked for, if there are too few places.
    """

    cuts: tuple[int, ...]
    places: tuple[int, ...]
    work: tuple[float, ...]
    parts: int

    @property
    def shares(self) -> tuple[float, ...]:
        """The work of each part as a share of the whole; nothing for parts that are empty."""
        whole = sum(self.work) or 1
        return tuple(one / whole for one in self.work) + (0,) * (self.parts - len(self.work))

    @property
    def is_even(self) -> bool:
        """Whether no part is idle most of the time, or holds the others up."""
        return FLOORS[0] <= min(self.shares) * self.parts and max(self.shares) * self.parts <= UNEVEN


def even_cut(work: Sequence[float], crossing: Sequence[float], closed: Collection[int], parts: int) -> EvenCut:
    """The best cut between blocks. Where that leaves a part idle or uneven: the best of all, if it is clearly better.

    crossing: what crosses a cut before each element; infinite where there can be none.
    closed: where a cut inside of blocks would cost more than what crosses.
    """
    between = places_between_blocks(crossing)
    first = _cut(work, crossing, between, parts)
    if first.is_even:
        return first
    inside = (place for place in range(1, len(work)) if place not in closed and crossing[place] < inf)
    second = _cut(work, crossing, sorted({*between, *inside}), parts)
    is_idle = min(first.shares) * parts < FLOORS[0]
    is_busier = is_idle and min(second.shares) > 2 * min(first.shares)
    is_worse = max(first.work) > UNEVEN * smallest_bottleneck(work, parts, second.places)
    return second if is_busier or is_worse else first


def _cut(work: Sequence[float], crossing: Sequence[float], places: Sequence[int], parts: int) -> EvenCut:
    cuts = contiguous_cut(work, crossing, parts, places)
    sums = [0, *accumulate(work)]
    found = tuple(sums[end] - sums[start] for start, end in pairwise((0, *cuts, len(work))))
    return EvenCut(tuple(cuts), tuple(places), found, parts)
