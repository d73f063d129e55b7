"""In which of the loops each per-example value is made, if each is made once.

The loops follow each other, as a sum that is complete may be needed again: a value's *level* is how many loops have to
be over before it can be made. What leads to a sum that examples need early is made in that sum's loop, and what takes
only values of such loops as early as they allow. All else is made in the last loop, so that a model whose examples need
nothing of each other has one loop, and sums such as the count of a mask are complete before it.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property

from atoll.compiler.batch_rules.contraction import contracts
from atoll.compiler.batch_rules.decision import Entry
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.needed_forms import needed_entries
from atoll.compiler.batch_rules.states import SAME, Split, Version
from atoll.compiler.module.graph import bytes_of
from atoll.passes.time.folding.bits import decides
from atoll.passes.time.folding.device_parts import DeviceParts
from atoll.passes.time.folding.loops import is_cut, is_in_loop
from atoll.passes.time.folding.same_everywhere import SameEverywhere


@dataclass(frozen=True)
class Turns:
    """scope: @main, as it was interpreted; entries: all that has to be made, in order."""

    scope: Interpretation
    entries: Sequence[Entry]

    @classmethod
    def of(cls, scope: Interpretation) -> "Turns":
        """The search for what has to be made goes on through sums and what joins them."""
        roots: list[Version] = [(value, scope.own_state(value)) for value in scope.batch.program.body.returned]
        return cls(scope, needed_entries(scope, roots)[0])

    @cached_property
    def returned(self) -> list[Version]:
        """The per-example results that loops have to make."""
        program = self.scope.batch.program
        forms = {value: self.scope.own_state(value) for value in program.body.returned}
        made = ((value, form) for value, form in forms.items() if isinstance(form, Split))
        return [version for version in made if program.producers[version[0]] is not None]

    @cached_property
    def sums(self) -> list[int]:
        """The values that loops have to complete."""
        return [value for value, form in self.scope.completed.items() if (value, form) in self._level]

    @cached_property
    def count(self) -> int:
        """How many loops there are."""
        roots = [*self.returned, *((value, self.scope.completed[value]) for value in self.sums)]
        return 1 + max((self._level[root] for root in roots), default=-1)

    def loop_of(self, version: Version) -> int:
        """The loop in which a form is made; that of a sum which examples need is as early as it can be."""
        value, form = version
        if value in self.early and form == self.scope.completed[value]:
            return self._level[version]
        return self._turns.get(version, self.count - 1)  # what needs no work of a model can be made anywhere

    def kept_before(self, number: int) -> frozenset[Version]:
        """What a loop finds kept by those before it: all else it can make of this and of the arguments. Rows in an
        order of their own microbatch are no parts of a whole, and are made again."""
        kept = (one for one, source in self._sources.items() if source == one and isinstance(one[1], Split))
        return frozenset(version for version in kept if self._turns[version] < number)

    def follows_work(self, value: int) -> bool:
        """Whether work of a model leads to a value that loops complete."""
        return (value, self.scope.completed[value]) in self._turns

    @cached_property
    def _level(self) -> dict[Version, int]:
        level: dict[Version, int] = {}
        completed = self.scope.completed

        def level_of(version: Version) -> int:
            value, form = version
            if form == SAME and value in completed:
                return 1 + level[value, completed[value]]
            return level.get(version, 0)  # an argument needs no sum

        for entry in self.entries:
            deepest = max(map(level_of, entry.needs()), default=0)
            if entry.decision is not None and entry.decision.base is not None and entry.node is not None:
                # What joins the sum has to be there where the sum is complete.
                deepest = max(deepest, level_of((entry.node.operands[entry.decision.base], SAME)) - 1)
            varied = is_in_loop(entry)
            level.update((version, deepest) for version in entry.makes() if version[1] != SAME or not varied)
        return level

    @cached_property
    def early(self) -> Container[int]:
        """The sums that per-example operations need: they have to be complete before the last loop."""
        scope = self.scope
        early: set[int] = set()
        for entry in reversed(self.entries):
            if is_in_loop(entry) or any(value in early for value, _ in entry.makes()):
                early.update(value for value, form in entry.needs() if form == SAME)
            for value, form in entry.makes():
                if value in early and form != SAME:
                    # What joins a sum that is needed early is needed early itself.
                    joined = scope.base_of(value) if value in scope.completed else None
                    if joined is not None:
                        early.add(joined)
        return early & scope.completed.keys()

    @cached_property
    def _forced(self) -> dict[Version, int]:
        """What leads to an early sum, and the first loop in which it does."""
        forced: dict[Version, int] = {}
        for number in range(self.count):
            sums = [(value, self.scope.completed[value]) for value in self.sums if value in self.early]
            roots = [version for version in sums if self._level[version] == number]
            for entry in needed_entries(self.scope, roots, inside_loop=True)[0]:
                for version in entry.makes():
                    forced.setdefault(version, number)
        return forced

    @cached_property
    def _turns(self) -> dict[Version, int]:
        """The loop of all that follows from a model's work."""
        turns: dict[Version, int] = {}
        for entry in filter(is_in_loop, self.entries):
            before = [turns[version] for version in entry.needs() if version in turns]
            if before or _works(entry):
                for version in entry.makes():
                    own = max([self._level.get(version, 0), *before]) if before else self.count - 1
                    turns[version] = self._forced.get(version, own)
        return turns

    @cached_property
    def _sources(self) -> dict[Version, Version]:
        """For what follows from a model's work, what to keep so that it can be made again at little cost.

        That is the one value that it is made of, if it is made of one, element by element, and is no smaller. What is
        made of two is kept itself: else the sum of many layers would be added up again by each loop that takes it.
        """
        sources: dict[Version, Version] = {}
        for entry in filter(is_in_loop, self.entries):
            before = {sources[version] for version in entry.needs() if version in sources}
            for version in entry.makes():
                if version in self._turns:
                    (only,) = before if len(before) == 1 and is_cheap(entry) else (version,)
                    sources[version] = only if self.bytes_of(only[0]) <= self.bytes_of(version[0]) else version
        return sources

    @cached_property
    def same_everywhere(self) -> SameEverywhere:
        """What must have the same bits in all loops that use it."""
        return SameEverywhere(self.scope, self.entries)

    @cached_property
    def device_parts(self) -> DeviceParts:
        """What a device has of a value."""
        return DeviceParts.of(self.scope.batch.program)

    def bytes_of(self, value: int) -> int:
        """The bytes of a value of the whole batch."""
        return bytes_of(self.scope.batch.program.values[value].type)


def _works(entry: Entry) -> bool:
    return entry.node is not None and contracts(entry.node) and not is_cut(entry)


# What takes more than a few operations for each element, though it is no product.
_COSTLY = frozenset(
    f"stablehlo.{name}"
    for name in (
        "case",
        "cholesky",
        "custom_call",
        "fft",
        "gather",
        "if",
        "reduce_window",
        "scatter",
        "select_and_scatter",
        "sort",
        "triangular_solve",
        "while",
    )
)


def is_cheap(entry: Entry) -> bool:
    """Whether something is made again at little cost, and comes out the same."""
    node = entry.node
    return (
        node is None
        or is_cut(entry)
        or not (contracts(node) or node.name in _COSTLY or node.has_effect or decides(node))
    )
