"""Interprets a block: gives every value its state, and finds which forms of which values are needed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from atoll.compiler.batch.nodes import Body, Node, Program
from atoll.compiler.batch.rule import Decision, Mixed, Rule
from atoll.compiler.batch.states import ABSENT, SAME, Partial, Split, State, Version


@dataclass(frozen=True)
class Batch:
    """What is the same throughout a program: the table of rules, and its values."""

    program: Program
    rules: Mapping[str, Rule]

    @property
    def parts(self) -> int:
        return self.program.parts


@dataclass(frozen=True)
class Entry:
    """An operation to be made, once.

    decision: in which form; None if it is the same for every microbatch.
    derived: behind the operation, a form that is made from a value which is the same for all: its block, cut out of
        it, or what it is in the first microbatch and the identity in the others.
    """

    node: Node | None
    decision: Decision | None = None
    derived: Version | None = None

    def needs(self) -> "Iterable[Version]":
        if self.derived is not None:
            return ((self.derived[0], SAME),)
        assert self.node is not None
        if self.decision is None:
            return ((value, SAME) for value in (*self.node.operands, *self.node.captured))
        return needs_of(self.node, self.decision)

    def makes(self) -> "Iterable[Version]":
        if self.derived is not None:
            return (self.derived,)
        assert self.node is not None
        if self.decision is None:
            return ((value, SAME) for value in self.node.results)
        made = zip(self.node.results, self.decision.results, strict=True)
        return (version for version in made if version[1] != ABSENT)


def needs_of(node: Node, decision: Decision) -> "Iterable[Version]":
    """The forms of values that an operation takes; not that which joins after the loop."""
    for index, version in enumerate(zip(node.operands, decision.operands, strict=True)):
        if index != decision.base and version[1] != ABSENT:
            yield version
    if decision.scopes:
        for scope in decision.scopes:
            yield from scope.captured
    else:
        yield from ((value, SAME) for value in node.captured)


@dataclass
class Scope:
    """One block, interpreted.

    states: of the values of the block that are not the same for all.
    decisions: of the operations that take such a value, by number.
    completed: values of @main that are partial in a loop, and the same for all behind it.
    entries, captured: what `settle` found to be needed, in order, and from outside.
    """

    batch: Batch
    body: Body
    parent: "Scope | None" = None
    states: dict[int, State] = field(default_factory=dict)
    decisions: dict[int, Decision] = field(default_factory=dict)
    completed: dict[int, Partial] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    captured: dict[Version, None] = field(default_factory=dict)
    _derived: dict[Version, Decision | None] = field(default_factory=dict)

    def state(self, value: int) -> State:
        scope: Scope | None = self
        while scope is not None:
            if value in scope.states:
                return scope.states[value]
            scope = scope.parent
        return SAME

    def interpret(self, arguments: Sequence[State] = ()) -> None:
        """Give every value of the block its state; raises Mixed."""
        for value, state in zip(self.body.arguments, arguments, strict=False):
            if state != SAME:
                self.states[value] = state
        for node in self.body.nodes:
            self._visit(node)

    def _visit(self, node: Node) -> None:
        states = [self.state(value) for value in node.operands]
        is_varied = any(state is not SAME and state != SAME for state in states)
        if not is_varied and all(self.state(value) == SAME for value in node.captured):
            return
        decision = self.rule(node).forward(self, node, states)
        self.check_even(node, decision)
        if self.parent is not None:
            # Nothing stands behind a loop in here: what joins once does so in the first microbatch.
            decision = replace(decision, base=None)
        self.decisions[node.number] = decision
        for value, state in zip(node.results, decision.results, strict=True):
            if isinstance(state, Partial) and self.parent is None:
                # In @main a sum is complete behind the loop, and everything made from it stands there.
                self.completed[value] = state
            elif state != SAME:
                self.states[value] = state

    def rule(self, node: Node) -> Rule:
        """The row for an operation, or Mixed: without a rule nothing is known."""
        rule = self.batch.rules.get(node.name)
        if rule is None:
            raise Mixed(node, "has no rule that says what it does with a batch")
        if not rule.takes_batch_in_regions and any(self.state(value) != SAME for value in node.captured):
            raise Mixed(node, "takes the batch into its region")
        return rule

    def check_even(self, node: Node, decision: Decision) -> None:
        """Mixed where a dimension that carries the batch does not divide into parts."""
        for value, state in (
            *zip(node.operands, decision.operands, strict=True),
            *zip(node.results, decision.results, strict=True),
        ):
            if isinstance(state, Split) and self.batch.program.shape(value)[state.dimension] % self.batch.parts:
                raise Mixed(node, "does not keep the microbatches apart")

    def derived(self, value: int, form: State) -> Decision | None:
        """How the producer of a value that is the same for all makes its block; None if that is cut out of the value."""
        key = (value, form)
        if key not in self._derived:
            self._derived[key] = self._derive(value, form)
        return self._derived[key]

    def _derive(self, value: int, form: State) -> Decision | None:
        node = self.batch.program.producers[value]
        if node is None or not isinstance(form, Split):
            return None
        rule = self.batch.rules.get(node.name)
        if rule is None or (node.captured and not rule.takes_batch_in_regions):
            return None
        try:
            decision = rule.backward(self, node, node.results.index(value), form.dimension)
            if decision is not None:
                self.check_even(node, decision)
        except Mixed:
            return None
        return decision

    def sweep(self, roots: "Iterable[Version]", inside_loop: bool = False) -> "tuple[list[Entry], dict[Version, None]]":
        """What has to be made for the roots, in order, and what is taken from outside of the block.

        inside_loop: what is the same for all comes from outside as well.
        """
        wanted: dict[int, dict[State, None]] = {}
        outside: dict[Version, None] = {}

        def want(version: Version) -> None:
            value, form = version
            if self.batch.program.homes[value] is not self.body or (inside_loop and form == SAME):
                outside[version] = None
            elif form == SAME and value in self.completed:
                self._want_complete(value, want)
            else:
                wanted.setdefault(value, {})[form] = None

        def cut(value: int) -> list[Entry]:
            """The forms of a value that are made from the whole."""
            producer = self.batch.program.producers[value]
            made = [Entry(producer, derived=(value, form)) for form in wanted[value] if self._is_cut(value, form)]
            if made:
                want((value, SAME))
            return made

        for root in roots:
            want(root)
        backwards: list[Entry] = []
        for node in reversed(self.body.nodes):
            for value in node.results:
                if value in wanted:
                    backwards += cut(value)
            for entry in self._entries(node, wanted):
                backwards.append(entry)
                for version in entry.needs():
                    want(version)
        for value in reversed(self.body.arguments):
            if value in wanted:
                backwards += cut(value)
        return backwards[::-1], outside

    def _want_complete(self, value: int, want: "Callable[[Version], None]") -> None:
        """A sum is complete when a loop has made its parts, and what joins it once is there."""
        want((value, self.completed[value]))
        node = self.batch.program.producers[value]
        assert node is not None
        base = self.decisions[node.number].base
        if base is not None:
            want((node.operands[base], SAME))

    def _is_cut(self, value: int, form: State) -> bool:
        is_own = form == self.states.get(value, SAME) or form == self.completed.get(value)
        return not is_own and self.derived(value, form) is None

    def _entries(self, node: Node, wanted: dict[int, dict[State, None]]) -> list[Entry]:
        """The forms in which an operation has to be made, each once."""
        entries: dict[tuple[State, ...], Entry] = {}
        for value in node.results:
            for form in wanted.get(value, ()):
                own = self.decisions.get(node.number)
                if form in (self.states.get(value, SAME), self.completed.get(value)):
                    decision = self._without_batch(node) if form == SAME and self.parent is None else own
                else:
                    decision = self.derived(value, form)
                    if decision is None:
                        continue
                entries.setdefault(decision.results if decision else (), Entry(node, decision))
        return list(entries.values())

    def _without_batch(self, node: Node) -> Decision | None:
        """How a result that is the same for all is made outside of the loops, where other results carry the batch."""
        own = self.decisions.get(node.number)
        return None if own is None else self.rule(node).without_batch(self, node, own)

    def settle(self, roots: "Iterable[Version]") -> None:
        """Find what the block has to make for what it returns."""
        self.entries, self.captured = self.sweep(roots)
