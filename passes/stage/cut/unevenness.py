"""Says of a cut that is uneven what its parts have, and why no other one was better. Pure arithmetic and words."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from atoll.passes.stage.cut.contiguous_cut import smallest_bottleneck
from atoll.passes.stage.cut.even_cut import EvenCut
from atoll.passes.stage.cut.homes import even_share, without_limits

# How far from an even share a part is before anybody is told.
_TOLERANCE = 0.2
# Costs are sums of fractions, so that two ways to add them up may differ a little.
_NEARLY = 1.001


@dataclass(frozen=True)
class Unevenness:
    """shares: of the work, as text. costliest: the element that costs most of those that hold the others up. why: a
    clause, in which {} stands for that element."""

    shares: str
    costliest: int
    why: str


def unevenness_of(cut: EvenCut, work: Sequence[float]) -> Unevenness | None:
    """What is uneven about a cut of this work; None if each part is within a fifth of its share."""
    if cut.parts == 1 or all(abs(load - 1) <= _TOLERANCE for load in cut.loads):
        return None
    pieces = [range(*ends) for ends in pairwise((0, *cut.places, len(work)))]
    piece = max(pieces, key=lambda piece: sum(work[one] for one in piece))
    heaviest, slowest = sum(work[one] for one in piece), max(cut.times)
    if heaviest > (1 + _TOLERANCE) * even_share(work, cut.homes):
        why = f"{{}} and what belongs to it, {_percent(heaviest / sum(work))}, are in one piece"
    elif len(cut.work) < cut.parts:
        why = f"there is no place to cut for more than {len(cut.work)} of the {cut.parts} stages"
    elif slowest > _NEARLY * smallest_bottleneck(work, without_limits(cut.homes), cut.places) and _has_limits(cut):
        why = "the memory of the islands has no room for a more even cut"
    elif slowest <= _NEARLY * smallest_bottleneck(work, cut.homes, cut.places):
        why = f"no other cut of the {len(pieces)} pieces makes the largest part smaller"
    else:
        why = "a more even cut would send more"
    return Unevenness(", ".join(map(_percent, cut.shares)), max(piece, key=lambda one: work[one], default=0), why)


def _has_limits(cut: EvenCut) -> bool:
    return any(home.room < inf for home in cut.homes)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
