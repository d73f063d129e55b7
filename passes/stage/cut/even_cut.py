"""Cuts where blocks end if that is even enough, and otherwise wherever it has to be. Pure arithmetic on lists."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import inf

from atoll.passes.stage.cut.contiguous_cut import FLOORS, contiguous_cut, places_between_blocks, smallest_bottleneck
from atoll.passes.stage.cut.homes import Home, even_share

# How many times an even share, or the best that is possible, the costliest part may cost before it counts as uneven.
UNEVEN = 1.2


@dataclass(frozen=True)
class EvenCut:
    """Where to cut, and what it gives.

    cuts: a part begins at each of them. places: where they could have been.
    work: what each part costs; fewer than there are homes, if there are too few places.
    homes: where parts go, as many as were asked for.
    """

    cuts: tuple[int, ...]
    places: tuple[int, ...]
    work: tuple[float, ...]
    homes: tuple[Home, ...]

    @property
    def parts(self) -> int:
        """How many were asked for."""
        return len(self.homes)

    @property
    def times(self) -> tuple[float, ...]:
        """What each part takes in its home; nothing for parts that are empty."""
        work = (*self.work, *(0,) * (self.parts - len(self.work)))
        return tuple(one * home.pace for one, home in zip(work, self.homes, strict=True))

    @property
    def shares(self) -> tuple[float, ...]:
        """The work of each part as a share of the whole; nothing for parts that are empty."""
        whole = sum(self.work) or 1
        return tuple(one / whole for one in self.work) + (0,) * (self.parts - len(self.work))

    @property
    def loads(self) -> tuple[float, ...]:
        """How many times an even share each part takes."""
        share = even_share(self.work, self.homes) or 1
        return tuple(time / share for time in self.times)

    @property
    def is_even(self) -> bool:
        """Whether no part is idle most of the time, or holds the others up."""
        return FLOORS[0] <= min(self.loads) and max(self.loads) <= UNEVEN

    def has_room(self) -> bool:
        """Whether each part fits its home."""
        ends = (0, *self.cuts, None)
        return all(
            home.room == inf or sum(home.needs[begin:end]) <= home.room
            for home, (begin, end) in zip(self.homes, pairwise(ends), strict=False)
        )


def even_cut(
    work: Sequence[float], crossing: Sequence[float], closed: Collection[int], homes: Sequence[Home]
) -> EvenCut:
    """The best cut between blocks. Where that leaves a part idle or uneven, or without room: the best of all, if it is
    clearly better.

    crossing: what crosses a cut before each element; infinite where there can be none.
    closed: where a cut would cost more than what crosses. So there is none, unless there are too few other places.
    """
    between = places_between_blocks(crossing)
    first = _cut(work, crossing, [place for place in between if place not in closed], homes)
    if first.is_even and first.has_room():
        return first
    wherever = [place for place in range(1, len(work)) if place not in closed and crossing[place] < inf]
    enough = wherever if len(wherever) >= len(homes) - 1 else sorted({*between, *wherever})
    second = _cut(work, crossing, enough, homes)
    if first.has_room() != second.has_room():
        return second
    is_idle = min(first.loads) < FLOORS[0]
    is_busier = is_idle and min(second.loads) > 2 * min(first.loads)
    is_worse = max(first.times) > UNEVEN * smallest_bottleneck(work, homes, second.places)
    return second if is_busier or is_worse else first


def _cut(work: Sequence[float], crossing: Sequence[float], places: Sequence[int], homes: Sequence[Home]) -> EvenCut:
    cuts = contiguous_cut(work, crossing, homes, places)
    sums = [0, *accumulate(work)]
    found = tuple(sums[end] - sums[start] for start, end in pairwise((0, *cuts, len(work))))
    return EvenCut(tuple(cuts), tuple(places), found, tuple(homes))
