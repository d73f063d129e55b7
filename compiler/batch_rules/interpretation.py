"""Interprets a block: gives every value its state, and every operation that meets the batch its form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from atoll.compiler.batch_rules.decision import Decision, Mixed
from atoll.compiler.batch_rules.local_block import Builder
from atoll.compiler.batch_rules.nodes import Body, Node, NodeTree
from atoll.compiler.batch_rules.orders import IN_ORDER, made_in_order, own_of_microbatch
from atoll.compiler.batch_rules.replica_axis import MANUAL, ReplicaAxis
from atoll.compiler.batch_rules.states import (
    ABSENT,
    DEVICE_OWN,
    OWN,
    SAME,
    Absent,
    Own,
    Partial,
    Places,
    Sorted,
    Split,
    Stacked,
    State,
)
from atoll.compiler.mlir.effects import is_print

BARRIER = "stablehlo.optimization_barrier"

_SIDE_BY_SIDE = "has what devices of a shard_map have side by side, other rows of the whole in each microbatch"
TAKE_BACK = "use it only in a shard_map that divides it in the same way, or set microbatches=1"


class Rule(Builder, Protocol):
    """A row of the table: one half decides, the other makes operations."""

    @property
    def operations(self) -> tuple[str, ...]: ...

    @property
    def says(self) -> str:
        """What happens to the batch, in a sentence for the table in the documents."""

    @property
    def takes_batch_in_regions(self) -> bool:
        """Whether its regions may take values from outside that carry the batch."""

    def forward(self, scope: "Interpretation", node: Node, states: Sequence[State], /) -> Decision:
        """Decide from the states of the operands, at least one of which is not `Same`; raises Mixed."""

    def backward(self, scope: "Interpretation", node: Node, wanted: Mapping[int, Split], /) -> Decision | None:
        """Decide so that results that are the same for all are made in parts; None if they cannot be."""

    def without_batch(self, scope: "Interpretation", node: Node, decision: Decision, /) -> Decision:
        """The operation without anything that carries the batch, to make those of its results that do not carry it."""


@dataclass(frozen=True)
class Batch:
    """What is the same throughout a program: the table of rules, and its values.

    widens: whether floats narrower than 32 bits are summed over microbatches in 32 bits.
    uncut: what to write in the plan so that the batch stays in one piece.
    whole: the operations of @main that are done once, for the whole batch.
    cuts: what these take and give, and in which parts each microbatch takes it.
    joinable: those that may be done for the whole batch, after its examples were joined, if no rule allows them for one
        microbatch.
    axes: the axis that replicas divide, of each `shard_map` that is written for the devices of all of them.
    differing: operations that differ from part to part, whatever they take.
    once: those whose results, the same for all, are made whole alone: parts of them are cut out.
    """

    program: NodeTree
    rules: Mapping[str, Rule]
    widens: bool
    uncut: str
    whole: frozenset[int] = frozenset()
    cuts: Mapping[int, Split] = field(default_factory=dict)
    joinable: frozenset[int] = frozenset()
    axes: Mapping[int, ReplicaAxis] = field(default_factory=dict)
    differing: frozenset[int] = frozenset()
    once: frozenset[int] = frozenset()

    @property
    def parts(self) -> int:
        return self.program.parts


@dataclass
class Interpretation:
    """One block, interpreted.

    states: those of the block's values that are not the same for all.
    decisions: for the operations that take such a value, by number.
    completed: values of @main that are partial in a loop, or of one microbatch, and whole after it.
    joined: the operations of @main that are done for the whole batch, as no rule allows them for one microbatch.
    mixed: the values that follow from these, and from nothing that each microbatch has a part of.
    """

    batch: Batch
    body: Body
    parent: "Interpretation | None" = None
    states: dict[int, State] = field(default_factory=dict)
    decisions: dict[int, Decision] = field(default_factory=dict)
    completed: dict[int, Partial | Split] = field(default_factory=dict)
    joined: list[Node] = field(default_factory=list)
    mixed: set[int] = field(default_factory=set)
    _without_batch: dict[int, Decision] = field(default_factory=dict)
    _derived: dict[tuple[object, ...], Decision | None] = field(default_factory=dict)

    def state(self, value: int) -> State:
        """In which form a value is there for those that take it."""
        if value in self.batch.cuts:
            return self.batch.cuts[value]
        return self.own_state(value)

    def own_state(self, value: int) -> State:
        """In which form a value is made."""
        scope: Interpretation | None = self
        while scope is not None:
            if value in scope.states:
                return scope.states[value]
            scope = scope.parent
        return SAME

    def interpret(self, arguments: Sequence[State] = ()) -> None:
        """Give every value of the block its state; raises Mixed."""
        self.interpret_arguments(arguments)
        for node in self.body.nodes:
            self.visit(node)
        for value in self.body.returned:
            # Behind the block nobody would know by which sort: in a loop it is another one in each iteration.
            state = self.state(value)
            if isinstance(state, Sorted | Places | Stacked | Absent):
                node = self.batch.program.producers[value] or self.body.nodes[-1]
                if isinstance(state, Stacked):
                    raise Mixed(node, _SIDE_BY_SIDE, TAKE_BACK)
                raise Mixed(node, "gives rows in the order of a sort out of the function or loop", IN_ORDER)

    def interpret_arguments(self, states: Sequence[State]) -> None:
        for value, state in zip(self.body.arguments, states, strict=False):
            if state != SAME:
                self.states[value] = state

    def visit(self, node: Node) -> None:
        """Give the results of the block's next operation their states; raises Mixed."""
        if node.number in self.batch.whole:
            return
        states = [self.state(value) for value in node.operands]
        is_varied = node.number in self.batch.differing
        is_varied = is_varied or any(state is not SAME and state != SAME for state in states)
        is_varied = is_varied or any(self.state(value) != SAME for value in node.captured)
        # A region is interpreted only if its operation meets the batch, and so is done for every microbatch: an effect
        # in it is repeated even if it does not itself touch the batch.
        if node.acting is not None and (is_varied or self.parent is not None):
            why = "has an effect outside of the program, which would happen once for every microbatch"
            sums_would_do = node.acting is node and self.parent is None and is_print(node.operation.opview)
            remedy = "print a sum or mean over the examples, or take it out" if sums_would_do else "take it out"
            raise Mixed(node.acting, why, remedy)
        if not is_varied:
            if not self.mixed.isdisjoint((*node.operands, *node.captured)):
                self.mixed.update(node.results)
            return
        try:
            decision = self._decide(node, states)
        except Mixed:
            if not self._may_join(node, states):
                raise
            self._join(node)
            return
        if self._is_whole_anyway(node, decision):
            self.mixed.update(node.results)
            return
        if self.parent is not None:
            # A region has no place after the loop over microbatches: what joins a sum once joins it in the first one.
            decision = replace(decision, base=None)
        self.decisions[node.number] = decision
        for value, state in zip(node.results, decision.results, strict=True):
            if isinstance(state, Partial) and self.parent is None:
                # In @main a sum is complete after its loop, and all that is made from it stands there. So two gradients
                # of one parameter are added after the loop, and each can be accumulated on its own island.
                self.completed[value] = state
            elif state != SAME:
                self.states[value] = state

    def _decide(self, node: Node, states: Sequence[State]) -> Decision:
        if ABSENT in states:
            raise Mixed(node, "needs numbers that a sort has sorted, other ones in each microbatch", IN_ORDER)
        rule = self.rule(node)
        taken = (*states, *map(self.state, node.captured))
        if any(isinstance(state, Stacked) for state in taken) and node.name not in (MANUAL, BARRIER):
            raise Mixed(node, _SIDE_BY_SIDE, TAKE_BACK)
        return rule.forward(self, node, states)

    def _may_join(self, node: Node, states: Sequence[State]) -> bool:
        """Rows in the order of a sort cannot be joined: each microbatch has another order."""
        taken = (*states, *map(self.state, node.captured))
        is_ordered = any(isinstance(one, Sorted | Places | Stacked | Own | Absent) for one in taken)
        return not is_ordered and self.parent is None and node.number in self.batch.joinable

    def _join(self, node: Node) -> None:
        """Have an operation done for the whole batch: what it takes of each microbatch is joined."""
        self.joined.append(node)
        self.mixed.update(node.results)
        taken = ((value, self.own_state(value)) for value in (*node.operands, *node.captured))
        self.completed.update((value, form) for value, form in taken if isinstance(form, Split))

    def _is_whole_anyway(self, node: Node, decision: Decision) -> bool:
        """Whether a sum over the batch takes only what is there whole, mixed examples among it: then it needs no loop,
        which would make it of the parts of what has been joined."""
        taken = (*node.operands, *node.captured)
        is_sum = any(isinstance(form, Partial) for form in decision.results)
        is_there = all(self.own_state(value) == SAME or value in self.completed for value in taken)
        return is_sum and is_there and not self.mixed.isdisjoint(taken)

    def rule(self, node: Node) -> Rule:
        """The row for an operation, or Mixed: without a rule nothing is known."""
        rule = self.batch.rules.get(node.name)
        if rule is None:
            raise Mixed(node, "has no rule that says what it does with a batch")
        if not rule.takes_batch_in_regions and any(self.state(value) != SAME for value in node.captured):
            raise Mixed(node, "takes the batch into its region")
        return rule

    def derived(self, node: Node, wanted: Mapping[int, State]) -> Decision | None:
        """How an operation makes only parts of results that are the same for all; None if these are cut out of the
        whole."""
        if node.has_effect:
            return None  # it happens once, however many forms of its results are needed
        key = (node.number, *wanted.items())
        if key not in self._derived:
            self._derived[key] = self._derive(node, wanted)
        return self._derived[key]

    def _derive(self, node: Node, wanted: Mapping[int, State]) -> Decision | None:
        if DEVICE_OWN in wanted.values():
            return None  # what is the same for all devices, each has as its own
        if OWN in wanted.values():
            return own_of_microbatch(self, node, next(iter(wanted))) if len(wanted) == 1 else None
        ordered = [form for form in wanted.values() if isinstance(form, Sorted)]
        if ordered:
            return made_in_order(self, node, ordered[0]) if len(wanted) == 1 else None
        parts = {index: form for index, form in wanted.items() if isinstance(form, Split)}
        rule = self.batch.rules.get(node.name)
        if node.number in self.batch.once or any(one in self.completed for one in node.results):
            return None  # a sum is whole only after its loop, so its parts can only be cut out of it
        if rule is None or len(parts) < len(wanted) or (node.captured and not rule.takes_batch_in_regions):
            return None
        try:
            return rule.backward(self, node, parts)
        except Mixed:  # no refusal: the whole is made once and cut, which is always right
            return None

    def making_once(self, nodes: frozenset[int]) -> "Interpretation":
        """The same, but for operations of which no parts are made any more."""
        return replace(self, batch=replace(self.batch, once=self.batch.once | nodes), _derived={})

    def origin(self, value: int) -> Node | None:
        """The operation that a partial value comes from; None if it came into the block as an argument."""
        while (node := self.batch.program.producers[value]) is not None:
            partial = [one for one in node.operands if isinstance(self.state(one), Partial)]
            if not partial:
                return node
            value = partial[0]
        return None

    def base_of(self, value: int) -> int | None:
        """The value that joins a sum once, when it is complete; None if there is none."""
        node = self.batch.program.producers[value]
        assert node is not None
        base = self.decisions[node.number].base
        return None if base is None else node.operands[base]

    def without_batch(self, node: Node) -> Decision | None:
        """How an operation of which some results carry the batch makes the others, outside of the loops."""
        own = self.decisions.get(node.number)
        if own is None:
            return None
        if node.number not in self._without_batch:
            self._without_batch[node.number] = self.rule(node).without_batch(self, node, own)
        return self._without_batch[node.number]
