"""Finds what loops have to cut out of the whole, though they could make their parts of it by themselves.

A value that is the same for all microbatches, such as the similarities of all examples, is made around the loops; where
a loop needs a part alone, a rule may make that there. Such a value then stands in the program several times, each
time among other operations, and is rounded otherwise. As with what several loops make (see `same_everywhere`), two
things go wrong: a decision comes out otherwise here and there; and a part is compared with a copy of something in the
whole, such as `s == s.max(0)`.
"""

from collections import Counter
from collections.abc import Collection

from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.states import SAME, Version
from atoll.passes.time.folding.bits import Bits
from atoll.passes.time.folding.loops import is_cut
from atoll.passes.time.folding.turns import Turns

_NONE: frozenset[int] = frozenset()


def made_in_parts(turns: Turns) -> dict[int, Node]:
    """What is the same for all and is made in several forms, whole and in parts, and the operation that makes it."""
    scope, makers = turns.scope, turns.scope.batch.program.producers
    made = Counter(value for entry in turns.entries if not is_cut(entry) for value, _ in entry.makes())
    several = (value for value, count in made.items() if count > 1 and scope.own_state(value) == SAME)
    return {value: node for value in several if (node := makers[value]) is not None}


def needed_whole(turns: Turns) -> frozenset[int]:
    """The operations whose parts have to have the bits of the whole, or of other parts."""
    parted = made_in_parts(turns)
    if not parted:
        return _NONE
    found = {value for value in _decided(turns) if value in parted}
    found.update(_compared(turns, parted.keys()))
    return frozenset(parted[value].number for value in found)


def _decided(turns: Turns) -> set[int]:
    """The decisions that loops make and go on with."""
    same = turns.same_everywhere
    return {value for entry in turns.entries for value, form in same.jumps(entry) if (value, form) in same.decisions}


def _compared(turns: Turns, parted: Collection[int]) -> set[int]:
    """What a loop makes parts of, and decides about beside something that is made of the whole.

    Of several such values on the way to a decision it is the last, as what leads to that is not made in parts then.
    """
    same, found = turns.same_everywhere, set[int]()
    of_whole: dict[Version, frozenset[int]] = {}
    of_parts: dict[Version, frozenset[int]] = {}
    for entry in turns.entries:
        needs = list(entry.needs())
        whole = _NONE.union(*(of_whole.get(one, _NONE) for one in needs))
        parts = _NONE.union(*(of_parts.get(one, _NONE) for one in needs))
        for version in entry.makes():
            value, form = version
            own = frozenset((value,)) if value in parted and not is_cut(entry) else _NONE
            is_rounded = same.bits.get(version, Bits.SURE) == Bits.ROUNDED
            of_whole[version] = whole | (own if form == SAME else _NONE)
            of_parts[version] = parts | (own if form != SAME and is_rounded else _NONE)
            both = whole & parts if version in same.decisions else _NONE
            if both:
                found.add(max(both))
    return found
