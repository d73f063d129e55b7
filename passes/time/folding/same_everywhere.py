"""Finds what must have the same bits in all loops that use it, and so is made once and kept.

Two things go wrong where a loop makes again what an earlier one has made, and it is rounded otherwise:

- A decision comes out otherwise, such as which expert takes a token, and two loops go on with different ones. A
  decision that only one loop uses, or that makes no jump, does no harm.
- A loop compares what it makes again with a copy of what was made before, such as `x == x.max(0)`, where the maximum is
  one of the numbers that the earlier loop had.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from atoll.compiler.batch_rules.decision import Entry
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.states import ABSENT, SAME, Split, Version
from atoll.passes.time.folding.bits import Bits, bits_of_results
from atoll.passes.time.folding.copied_bits import CopiedBits, Handing
from atoll.passes.time.folding.kinks import is_continuous
from atoll.passes.time.folding.loops import FoldedLoop

_Versions = frozenset[Version]
_NONE: _Versions = frozenset()


@dataclass(frozen=True)
class SameEverywhere:
    """scope: @main, as it was interpreted; entries: all that has to be made, in order."""

    scope: Interpretation
    entries: Sequence[Entry]

    def kept_by(self, loops: Sequence[FoldedLoop]) -> dict[Version, int]:
        """What has to be kept, as these loops would make it several times, and the first loop that makes it."""
        first: dict[Version, int] = {}
        for number, loop in enumerate(loops):
            for entry in loop.entries:
                for version in entry.makes():
                    first.setdefault(version, number)
        found = [*self._used_twice(loops), *(one for pair in enumerate(loops) for one in self._copied(*pair, first))]
        return {version: first[version] for version in found if isinstance(version[1], Split)}

    def _used_twice(self, loops: Sequence[FoldedLoop]) -> Iterator[Version]:
        """Decisions that two loops make and go on with."""
        seen = set[Version]()
        for loop in loops:
            made = {version for entry in loop.entries for version in entry.makes() if version in self.decisions}
            used = {version for entry in loop.entries for version in self.jumps(entry)}
            used.update(loop.kept, ((value, self.scope.completed[value]) for value in loop.sums))
            yield from made & used & seen
            seen |= made & used

    def jumps(self, entry: Entry) -> Iterator[Version]:
        """What an entry takes, but for what it chooses by without a jump."""
        chooses = entry.node is not None and entry.decision is not None and is_continuous(entry.node)
        yield from list(entry.needs())[1 if chooses else 0 :]

    def _copied(self, number: int, loop: FoldedLoop, first: Mapping[Version, int]) -> Iterator[Version]:
        """What a loop makes again, and decides about beside a copy of what an earlier loop has made of it."""
        taken = dict.fromkeys(loop.taken)
        outside = [self._copies_in((value, SAME)) for value in loop.captured]
        outside += [self._origins.get(one, _NONE) | self._copies_in(one) for one in taken]
        copied = _NONE.union(*outside)
        again = {one for entry in loop.entries for one in entry.makes() if one in copied and first[one] < number}
        if not again:
            return
        beside: dict[Version, _Versions] = {}  # of what earlier loops have made there are copies in this
        made_of: dict[Version, _Versions] = {}
        for entry in loop.entries:
            needs = list(entry.needs())
            old = [
                self._copies_in(one) | (self._origins.get(one, _NONE) if one in taken else _NONE)
                if one in taken or one[1] == SAME
                else beside.get(one, _NONE)
                for one in needs
            ]
            both = (_NONE.union(*old) & again, _NONE.union(*(made_of.get(one, _NONE) for one in needs)))
            for version in entry.makes():
                beside[version] = both[0]
                made_of[version] = both[1] | ({version} & again)
                if version in self.decisions and both[0] & both[1]:
                    yield max(both[0] & both[1], key=lambda one: (one[0], str(one[1])))

    def _copies_in(self, version: Version) -> _Versions:
        """What has been made in a loop, and of which copies are in something that loops have made and given."""
        value, form = version
        joined = self.scope.completed.get(value) if form == SAME else None
        if joined is None:
            return self._given.get(version, _NONE)
        own = self._origins.get((value, joined), _NONE)
        if not isinstance(joined, Split) and joined.kind not in ("max", "min"):
            own -= {(value, joined)}  # a part of a sum is not the sum, though what it is of may be
        return own | self._given.get((value, joined), _NONE)

    @cached_property
    def _given(self) -> dict[Version, _Versions]:
        """Of what copies are in a value that are complete before it is made; without those that are in nothing."""
        given: dict[Version, _Versions] = {}
        self.__dict__["_given"] = given  # what is complete is asked for on the way
        for entry in self.entries:
            found = _NONE.union(*map(self._copies_in, entry.needs()))
            if found:
                given.update(dict.fromkeys(entry.makes(), found))
        return given

    @cached_property
    def _origins(self) -> dict[Version, _Versions]:
        """What may be rounded otherwise, and what of that it is, bit by bit: itself, or what it is copied from."""
        origins: dict[Version, _Versions] = {}
        copied = CopiedBits.of(self.scope)
        for entry in self.entries:
            node = entry.node if entry.derived is None else None
            handing = Handing.NOTHING if node is None else copied.of_node(node)
            sources = _NONE.union(*(origins.get(one, _NONE) for one in entry.needs())) if handing else _NONE
            for version in entry.makes():
                own = _NONE if handing == Handing.ALL or version in self.decisions else frozenset((version,))
                if version in self.decisions or self.bits.get(version, Bits.SURE) == Bits.ROUNDED:
                    origins[version] = sources | own
        return origins

    @property
    def bits(self) -> Mapping[Version, Bits]:
        return self._bits_and_decisions[0]

    @property
    def decisions(self) -> _Versions:
        return self._bits_and_decisions[1]

    @cached_property
    def _bits_and_decisions(self) -> tuple[dict[Version, Bits], _Versions]:
        """The bits of what loops make; and the decisions among it, whose bits are sure, as what must be is kept."""
        bits, decisions = dict[Version, Bits](), set[Version]()
        for entry in self.entries:
            node, decision = entry.node, entry.decision
            if node is None or decision is None or entry.derived is not None:
                continue  # it is made once, outside of all loops
            taken = [bits.get(one, Bits.SURE) for one in zip(node.operands, decision.operands, strict=True)]
            inside = {version for body in decision.bodies for version in body.captured}
            captured = {version[0]: bits.get(version, Bits.SURE) for version in inside}
            made = bits_of_results(node, taken, captured)
            for version, found in zip(zip(node.results, decision.results, strict=True), made, strict=True):
                if version[1] not in (SAME, ABSENT):
                    bits[version] = Bits.SURE if found == Bits.DECIDED else found
                    if found == Bits.DECIDED:
                        decisions.add(version)
        return bits, frozenset(decisions)
