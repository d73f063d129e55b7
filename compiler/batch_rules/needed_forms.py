"""Finds what has to be made in a block: which forms of which values, going back from what is returned."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from atoll.compiler.batch_rules.decision import DecidedBody, Decision, Entry
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.states import SAME, State, Version


def settled(scope: Interpretation, roots: Iterable[Version]) -> DecidedBody:
    """What was decided about a block in a region that returns these forms."""
    entries, captured = needed_entries(scope, roots)
    return DecidedBody(scope.body, scope.states, scope.decisions, entries, captured)


def needed_entries(
    scope: Interpretation, roots: Iterable[Version], inside_loop: bool = False, given: Collection[Version] = ()
) -> tuple[list[Entry], dict[Version, None]]:
    """What has to be made for the roots, in order, and what is taken from outside of the block.

    inside_loop: what is made stands in a loop over microbatches: what is the same for all is then taken from outside,
        so that it is made once and not in every iteration.
    given: what is not made, as an earlier loop has kept it; it is taken from outside too.
    """
    wanted = _Wanted(scope, inside_loop, given)
    for root in roots:
        wanted.add(root)
    backwards: list[Entry] = []
    # From the last to the first: all that take a value have then asked for their forms before what makes it is reached.
    for node in reversed(scope.body.nodes):
        # An effect happens although nobody takes a result: once, around the loops. With results, it is made below.
        if node.has_effect and scope.parent is None and not inside_loop:
            for value in node.results:
                wanted.add((value, SAME))
            if not node.results:
                backwards.append(Entry(node))
                for version in backwards[-1].needs():
                    wanted.add(version)
        if any(value in wanted.forms for value in node.results):
            # Cuts first: they want the whole too, and once the list is turned round they come after it.
            for value in node.results:
                backwards += wanted.cut(value)
            for entry in wanted.entries(node):
                backwards.append(entry)
                for version in entry.needs():
                    wanted.add(version)
    for value in reversed(scope.body.arguments):
        backwards += wanted.cut(value)
    return backwards[::-1], wanted.outside


@dataclass
class _Wanted:
    """The forms in which values are taken by what comes later in the block, or outside of it."""

    scope: Interpretation
    inside_loop: bool
    given: Collection[Version] = ()
    forms: dict[int, dict[State, None]] = field(default_factory=dict)
    outside: dict[Version, None] = field(default_factory=dict)

    def add(self, version: Version) -> None:
        value, form = version
        is_made_here = self.scope.batch.program.homes[value] is self.scope.body
        if not is_made_here or (self.inside_loop and form == SAME) or version in self.given:
            self.outside[version] = None
        elif form == SAME and value in self.scope.completed:
            self._add_complete(value)
        else:
            self.forms.setdefault(value, {})[form] = None

    def _add_complete(self, value: int) -> None:
        """A complete sum takes its parts, which a loop makes, and what joins it once."""
        self.add((value, self.scope.completed[value]))
        base = self.scope.base_of(value)
        if base is not None:
            self.add((base, SAME))

    def cut(self, value: int) -> list[Entry]:
        """Entries for the forms of a value that are cut out of the whole, which is then wanted too."""
        producer = self.scope.batch.program.producers[value]
        forms = [form for form in self.forms.get(value, ()) if self._is_cut(value, form)]
        if forms:
            self.add((value, SAME))
        return [Entry(producer, derived=(value, form)) for form in forms]

    def _is_cut(self, value: int, form: State) -> bool:
        if form in self._own(value):
            return False
        producer = self.scope.batch.program.producers[value]
        return producer is None or self.scope.derived(producer, {producer.results.index(value): form}) is None

    def _own(self, value: int) -> tuple[State | None, ...]:
        """The forms that a value has anyway, as found by going forward from the batch."""
        return (self.scope.states.get(value, SAME), self.scope.completed.get(value))

    def entries(self, node: Node) -> list[Entry]:
        """The forms in which an operation has to be made, each once."""
        decisions: dict[tuple[State, ...], Decision | None] = {}
        # One operation that makes the parts of all its results if its rule can, rather than one for each.
        parts = self._parts(node)
        together = self.scope.derived(node, parts) if len(parts) > 1 else None
        for index, form in parts.items():
            decision = together or self.scope.derived(node, {index: form})
            if decision is not None:
                decisions[decision.results] = decision
        for index, form in self._wanted(node):
            # In @main what is the same for all is made outside of the loops, by an operation of its own. In a region it
            # may come from the operation that makes the other results.
            is_around = form == SAME and self.scope.parent is None
            if is_around or not any(results[index] == form for results in decisions):
                decision = self._decision(node, index, form)
                decisions[decision.results if decision else (SAME,) * len(node.results)] = decision
        return [Entry(node, decision) for decision in decisions.values()]

    def _wanted(self, node: Node) -> list[tuple[int, State]]:
        """The results that are wanted, and in which form.

        Those that are the same for all come last: by then an operation made for another form may give them too.
        """
        wanted = [
            (index, form)
            for index, value in enumerate(node.results)
            for form in self.forms.get(value, ())
            if not self._is_cut(value, form)
        ]
        return sorted(wanted, key=lambda one: one[1] == SAME)

    def _parts(self, node: Node) -> dict[int, State]:
        """The parts that are wanted of results that are the same for all, except those cut out of the whole."""
        parts: dict[int, State] = {}
        for index, value in enumerate(node.results):
            for form in self.forms.get(value, ()):
                if form not in self._own(value) and not self._is_cut(value, form):
                    parts.setdefault(index, form)
        return parts

    def _decision(self, node: Node, index: int, form: State) -> Decision | None:
        if form not in self._own(node.results[index]):
            return self.scope.derived(node, {index: form})
        if form == SAME:
            return self.scope.without_batch(node)
        return self.scope.decisions.get(node.number)
