"""Chooses what to keep for later loops where there is no room for all of it: what is dearest to make again."""

from collections import Counter
from collections.abc import Collection, Sequence
from fractions import Fraction

from atoll.compiler.batch_rules.contraction import contracts
from atoll.compiler.batch_rules.decision import Entry
from atoll.compiler.batch_rules.states import Version
from atoll.compiler.cost.operations import cost_of
from atoll.passes.time.folding.loops import FoldedLoop
from atoll.passes.time.folding.turns import Turns


def dearest(turns: Turns, loops: Sequence[FoldedLoop], kept: Collection[Version], room: int) -> frozenset[Version]:
    """Of what the loops would keep, as much as there is room for, beside what is kept anyhow.

    Those come first that save most work for each byte: what leads to them from others that may be kept, once for each
    loop that takes them. Of equals the first come first, so that what is made again is made of the nearest.
    """
    takers = Counter(version for loop in loops for version in loop.taken)
    work = _work(turns, takers.keys())
    chosen = set[Version]()
    candidates = [version for version in takers if version not in kept]
    for version in sorted(candidates, key=lambda one: _worth(turns, one, work[one] * takers[one])):
        size = turns.device_parts.bytes_on_device(version)
        if work[version] and size <= room:
            chosen.add(version)
            room -= size
    return frozenset(chosen)


def _worth(turns: Turns, version: Version, saved: int) -> tuple[Fraction, int]:
    return -Fraction(saved, max(1, turns.device_parts.bytes_on_device(version))), version[0]


def _work(turns: Turns, candidates: Collection[Version]) -> dict[Version, int]:
    """What each of them costs from the nearest others on, along the dearest way."""
    work: dict[Version, int] = {}
    for entry in turns.entries:
        before = max((0 if one in candidates else work.get(one, 0) for one in entry.needs()), default=0)
        for version in entry.makes():
            work[version] = before + _own(entry)
    return work


def _own(entry: Entry) -> int:
    return cost_of(entry.node.operation.opview) if entry.node is not None and contracts(entry.node) else 0
