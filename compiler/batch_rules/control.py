"""Rules for loops and branches: what they do to the batch follows from the operations in their regions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.counted_loop import CountedLoop, read_loop
from atoll.compiler.batch_rules.decision import DecidedBody, Decision, Mixed
from atoll.compiler.batch_rules.grids import build_grid, decide_grid
from atoll.compiler.batch_rules.interpretation import Interpretation, Rule
from atoll.compiler.batch_rules.local import Values
from atoll.compiler.batch_rules.local_block import LocalBlock
from atoll.compiler.batch_rules.needed_forms import settled
from atoll.compiler.batch_rules.nodes import Body, Node
from atoll.compiler.batch_rules.states import ABSENT, SAME, Split, State
from atoll.compiler.batch_rules.trips import build_trips, decide_trips, loop_over_batch
from atoll.compiler.mlir.bindings import ir, sdy
from atoll.compiler.module.shardings import SHARDING


def _join(node: Node, one: State, other: State) -> State:
    """The form for two values that arrive at the same place."""
    if one == other or other == SAME:
        return one
    if one == SAME:
        return other
    raise Mixed(node, f"carries the batch now in one way, now in another ({one} and {other})")


def only_same(states: tuple[State, ...]) -> tuple[State, ...]:
    """The forms without anything that carries the batch."""
    return tuple(SAME if one == SAME else ABSENT for one in states)


def interpreted(scope: Interpretation, body: Body, states: Sequence[State]) -> Interpretation:
    """A block in a region, with these states of its arguments; raises Mixed."""
    inner = Interpretation(scope.batch, body, scope)
    inner.interpret(states)
    return inner


@dataclass(frozen=True)
class WhileRule:
    """A loop. What it carries has one form in all iterations; it is interpreted until these forms no longer change."""

    operations: tuple[str, ...] = ("stablehlo.while",)
    says: str = (
        "what it carries keeps its form from iteration to iteration, sums included; or its iterations are the batch, "
        "or go over blocks of it"
    )
    takes_batch_in_regions: bool = True

    def forward(self, scope: Interpretation, node: Node, states: Sequence[State]) -> Decision:
        trips = loop_over_batch(node, states)
        if trips is not None:
            return decide_trips(trips, states, [scope.state(value) for value in node.captured])
        try:
            return self._with_parts(scope, node, tuple(states))
        except Mixed:
            decision = decide_grid(node, states, [scope.state(value) for value in node.captured])
            if decision is None:
                raise
            return decision

    def backward(self, scope: Interpretation, node: Node, wanted: Mapping[int, Split]) -> Decision | None:
        own = scope.decisions.get(node.number)
        states: list[State] = list(own.results) if own is not None else [SAME] * len(node.results)
        for index, form in wanted.items():
            states[index] = form
        decision = self._with_parts(scope, node, tuple(states))
        return decision if all(decision.results[index] == form for index, form in wanted.items()) else None

    def without_batch(self, scope: Interpretation, node: Node, decision: Decision) -> Decision:
        forms = only_same(decision.results)
        # Trips and grids have no decided bodies: of what is the same for all they make nothing.
        return self._settled(scope, node, decision.results, forms) if decision.bodies else Decision(forms, forms)

    def _with_parts(self, scope: Interpretation, node: Node, states: tuple[State, ...]) -> Decision:
        """The loop, so that where it can it carries parts instead of cutting them out in every iteration."""
        decision = self._fixed(scope, node, states)
        left_whole: set[int] = set()
        while cut := cut_from_arguments(decision.bodies[1]).keys() - left_whole:
            forms = cut_from_arguments(decision.bodies[1])
            wanted = tuple(forms[index] if index in cut else one for index, one in enumerate(decision.results))
            try:
                decision = self._fixed(scope, node, wanted)
            except Mixed:  # carried as parts they would be mixed, so they are cut in each iteration after all
                left_whole |= cut
        return decision

    def _fixed(self, scope: Interpretation, node: Node, states: tuple[State, ...]) -> Decision:
        body = node.bodies[1]
        # This ends: joining either raises, or leaves a form as it is, or replaces `Same`, at most once for each value.
        while True:
            inner = interpreted(scope, body, states)
            joined = tuple(
                _join(node, state, inner.state(value)) for state, value in zip(states, body.returned, strict=True)
            )
            if joined == states:
                return self._settled(scope, node, states)
            states = joined

    def _settled(
        self, scope: Interpretation, node: Node, states: tuple[State, ...], kept: tuple[State, ...] | None = None
    ) -> Decision:
        kept = kept or states
        condition, body = (interpreted(scope, one, states) for one in node.bodies)
        (predicate,) = node.bodies[0].returned
        if condition.state(predicate) != SAME:
            raise Mixed(node, "goes on or ends by what is in the batch")
        returned = zip(node.bodies[1].returned, kept, strict=True)
        bodies = (
            settled(condition, [(predicate, SAME)]),
            settled(body, [version for version in returned if version[1] != ABSENT]),
        )
        return Decision(kept, kept, bodies=bodies)

    def build(self, local: LocalBlock, node: Node, decision: Decision, operands: Values) -> Values:
        if not decision.bodies:
            build = build_trips if isinstance(read_loop(node), CountedLoop) else build_grid
            return build(local, node, decision, operands)
        kept = [index for index, form in enumerate(decision.results) if form != ABSENT]
        types: list[ir.Type] = [local.type_of(node.results[one], decision.results[one]) for one in kept]
        loop = local.create(node.name, types, operands, node.location, regions=2)
        copy_attributes(node.operation, loop, kept)
        for region, decided in zip(loop.regions, decision.bodies, strict=True):
            block = region.blocks.append(*types, arg_locs=[node.location] * len(types))
            inner = local.inside(block)
            for index, value in zip(kept, block.arguments, strict=True):
                inner.values[decided.body.arguments[index], decision.results[index]] = value
            inner.make_all(decided.entries)
            if decided is decision.bodies[0]:
                returned = [inner.get((value, SAME)) for value in decided.body.returned]
            else:
                returned = [inner.get((decided.body.returned[index], decision.results[index])) for index in kept]
            inner.create("stablehlo.return", [], returned, node.location)
        return list(loop.results)


def cut_from_arguments(decided: DecidedBody) -> dict[int, Split]:
    """The block's arguments, by number, out of which parts of the batch are cut; each with the form of the part."""
    position = {value: index for index, value in enumerate(decided.body.arguments)}
    found = {}
    for entry in decided.entries:
        if entry.derived is not None and entry.derived[0] in position and isinstance(entry.derived[1], Split):
            found[position[entry.derived[0]]] = entry.derived[1]
    return found


def copy_attributes(source: ir.Operation, target: ir.Operation, kept: list[int]) -> None:
    """Copy attributes to an operation that has only some of the results; `kept` are their numbers."""
    for name in source.attributes:
        target.attributes[name] = source.attributes[name]
    if SHARDING in source.attributes:
        shardings = list(sdy.TensorShardingPerValueAttr(source.attributes[SHARDING]).shardings)
        chosen = [sdy.TensorShardingAttr(shardings[index]) for index in kept]
        target.attributes[SHARDING] = sdy.TensorShardingPerValueAttr.get(chosen)


@dataclass(frozen=True)
class CaseRule:
    """A choice between branches; all of them give their results in the same forms."""

    operations: tuple[str, ...] = ("stablehlo.case", "stablehlo.if")
    says: str = "branch by branch, if the choice does not depend on the batch"
    takes_batch_in_regions: bool = True

    def forward(self, scope: Interpretation, node: Node, states: Sequence[State]) -> Decision:
        if states[0] != SAME:
            raise Mixed(node, "chooses by what is in the batch")
        # Branches have no arguments: whatever they use, they capture.
        branches = [interpreted(scope, body, ()) for body in node.bodies]
        forms: list[State] = [SAME] * len(node.results)
        for branch in branches:
            forms = [
                _join(node, form, branch.state(value)) for form, value in zip(forms, branch.body.returned, strict=True)
            ]
        return _branching(branches, tuple(forms))

    def backward(self, scope: Interpretation, node: Node, wanted: Mapping[int, Split]) -> Decision | None:
        branches = [interpreted(scope, body, ()) for body in node.bodies]
        forms = tuple(wanted.get(index, ABSENT) for index in range(len(node.results)))
        return _branching(branches, forms)

    def without_batch(self, scope: Interpretation, node: Node, decision: Decision) -> Decision:
        branches = [interpreted(scope, body, ()) for body in node.bodies]
        return _branching(branches, only_same(decision.results))

    def build(self, local: LocalBlock, node: Node, decision: Decision, operands: Values) -> Values:
        kept = [index for index, form in enumerate(decision.results) if form != ABSENT]
        types: list[ir.Type] = [local.type_of(node.results[one], decision.results[one]) for one in kept]
        choice = local.create(node.name, types, operands, node.location, regions=len(node.bodies))
        copy_attributes(node.operation, choice, kept)
        for region, decided in zip(choice.regions, decision.bodies, strict=True):
            inner = local.inside(region.blocks.append())
            inner.make_all(decided.entries)
            returned = [inner.get((decided.body.returned[index], decision.results[index])) for index in kept]
            inner.create("stablehlo.return", [], returned, node.location)
        return list(choice.results)


def _branching(branches: list[Interpretation], forms: tuple[State, ...]) -> Decision:
    bodies = []
    for branch in branches:
        returned = zip(branch.body.returned, forms, strict=True)
        bodies.append(settled(branch, [version for version in returned if version[1] != ABSENT]))
    return Decision((SAME,), forms, bodies=tuple(bodies))


@dataclass(frozen=True)
class BarrierRule:
    """A barrier that values pass together; each keeps its own form."""

    operations: tuple[str, ...] = ("stablehlo.optimization_barrier",)
    says: str = "each value by itself"
    takes_batch_in_regions: bool = False

    def forward(self, _scope: Interpretation, _node: Node, states: Sequence[State]) -> Decision:
        return Decision(tuple(states), tuple(states))

    def backward(self, _scope: Interpretation, node: Node, wanted: Mapping[int, Split]) -> Decision | None:
        forms = tuple(wanted.get(index, ABSENT) for index in range(len(node.results)))
        return Decision(forms, forms)

    def without_batch(self, _scope: Interpretation, _node: Node, decision: Decision) -> Decision:
        forms = only_same(decision.results)
        return Decision(forms, forms)

    def build(self, local: LocalBlock, node: Node, _decision: Decision, operands: Values) -> Values:
        barrier = local.create(node.name, [one.type for one in operands], operands, node.location)
        return list(barrier.results)


RULES: tuple[Rule, ...] = (WhileRule(), CaseRule(), BarrierRule())
