"""The rule for `shard_map`: what it does to the batch follows from the operations that each device does.

In it a value is one device's part of what is outside. Along a dimension that is divided over devices, such a part is a
block of the whole, one after another. So where a microbatch has its part of each of these blocks, each device has its
part of its own examples, and none of another device. Whatever a device does with its place in the mesh, or learns from
the others, stays as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.control import cut_from_arguments, interpreted, only_same
from atoll.compiler.batch_rules.decision import DecidedBody, Decision, Mixed
from atoll.compiler.batch_rules.interpretation import TAKE_BACK, Interpretation, Rule
from atoll.compiler.batch_rules.local import Values
from atoll.compiler.batch_rules.local_block import LocalBlock
from atoll.compiler.batch_rules.manual_replicas import (
    DeviceBlock,
    ManualDecision,
    States,
    decide_over_replicas,
    of_all_replicas,
    of_one_replica,
    type_of_result,
)
from atoll.compiler.batch_rules.needed_forms import settled
from atoll.compiler.batch_rules.nodes import Body, Node
from atoll.compiler.batch_rules.orders import IN_ORDER
from atoll.compiler.batch_rules.replica_axis import MANUAL, meshes_of_replica
from atoll.compiler.batch_rules.states import ABSENT, SAME, Places, Sorted, Split, Stacked, State, Version
from atoll.compiler.mlir.bindings import ir, sdy
from atoll.compiler.mlir.functions import is_used
from atoll.compiler.module.shardings import undivided


def devices_along(node: Node, whole: int, part: int, dimension: int) -> int:
    """Over how many devices a dimension is divided of a value around a `shard_map`, which sees a part of it."""
    own = node.program.shape(part)[dimension]
    return node.program.shape(whole)[dimension] // own if own else 1


@dataclass(frozen=True)
class ManualRule:
    """A `shard_map`. Its body sees nothing but its arguments."""

    operations: tuple[str, ...] = (MANUAL,)
    says: str = "by what each device does with its own examples; a dimension that is divided over devices is in blocks"
    takes_batch_in_regions: bool = False

    def forward(self, scope: Interpretation, node: Node, states: Sequence[State]) -> Decision:
        axis = scope.batch.axes.get(node.number)
        if axis is not None:
            return decide_over_replicas(scope, node, axis, states)
        found = _decided(scope, node, states, None)
        assert found is not None
        return found

    def backward(self, scope: Interpretation, node: Node, wanted: Mapping[int, Split]) -> Decision | None:
        if node.number in scope.batch.axes:
            return None
        own = scope.decisions.get(node.number)
        states = (SAME,) * len(node.operands) if own is None else _or_same(own.operands)
        return _decided(scope, node, states, tuple(wanted.get(one, ABSENT) for one in range(len(node.results))))

    def without_batch(self, scope: Interpretation, node: Node, decision: Decision) -> Decision:
        axis = scope.batch.axes.get(node.number)
        if axis is not None:
            return decide_over_replicas(scope, node, axis, _or_same(decision.operands), is_without_batch=True)
        found = _decided(scope, node, _or_same(decision.operands), only_same(decision.results))
        assert found is not None
        return found

    def build(self, local: LocalBlock, node: Node, decision: Decision, operands: Values) -> Values:
        (decided,) = decision.bodies
        taken, kept = (
            [one for one, form in enumerate(forms) if form != ABSENT] for forms in (decision.operands, decision.results)
        )
        given, returned = _inside(node, decision)
        arguments: list[Version] = [(decided.body.arguments[one], given[one]) for one in taken]
        # Nothing around it is seen in it: the number of the microbatch, where that is needed, is an argument too.
        number = [] if local.index is None else [local.index]
        unplaced = ir.Module.create(node.location)
        block = ir.Block.create_at_start(unplaced.operation.regions[0], [], [])
        inner = _block(local, decision, block)
        types: list[ir.Type] = [*(inner.type_of(*one) for one in arguments), *(one.type for one in number)]
        for type_ in types:
            block.add_argument(type_, node.location)
        if number:
            inner.count_from(block.arguments[len(taken)])
        inner.values.update(zip(arguments, block.arguments, strict=False))
        inner.make_all(decided.entries)
        values = [inner.get((decided.body.returned[one], returned[one])) for one in kept]
        inner.create("sdy.return", [], values, node.location)
        if isinstance(inner, DeviceBlock):
            inner.number_all_devices()
        if number and not is_used(block.arguments[len(taken)]):
            block.erase_argument(len(taken))
            number = []
        attributes = node.named_attributes()
        over = decision if isinstance(decision, ManualDecision) else None
        if over is None:
            results = [local.type_of(node.results[one], decision.results[one]) for one in kept]
        else:
            results = [type_of_result(local, node, over, one) for one in kept]
            pairs = zip(taken, operands, strict=True)
            operands = [of_one_replica(local, node, over, one, value) for one, value in pairs]
        made = local.create(node.name, results, [*operands, *number], node.location, attributes, regions=1)
        block.append_to(made.regions[0])
        _choose_shardings(made, taken, kept, len(number))
        if over is None:
            return list(made.results)
        over.axis.narrow(made, meshes_of_replica(node.program.module, over.axis))
        return [of_all_replicas(local, node, over, *one) for one in zip(kept, made.results, strict=True)]


def _block(local: LocalBlock, decision: Decision, block: ir.Block) -> LocalBlock:
    if not isinstance(decision, ManualDecision):
        return local.inside(block)
    return DeviceBlock(local, decision, block)


def _inside(node: Node, decision: Decision) -> tuple[States, States]:
    """The forms that the body takes and gives."""
    if isinstance(decision, ManualDecision):
        return decision.given, decision.returned
    (decided,) = decision.bodies
    return (
        within(node, node.operands, decided.body.arguments, decision.operands),
        within(node, node.results, decided.body.returned, decision.results),
    )


def _decided(
    scope: Interpretation, node: Node, states: Sequence[State], wanted: Sequence[State] | None
) -> Decision | None:
    """What is decided if operands come in these states; None if results cannot have the wanted forms."""
    (body,) = node.bodies
    given = within(node, node.operands, body.arguments, states)
    forms = None if wanted is None else within(node, node.results, body.returned, wanted)
    found = _settled(scope, body, given, forms)
    left_whole: set[int] = set()
    while found is not None and (cut := cut_from_arguments(found).keys() - left_whole):
        # Where it can be, a part is taken from outside instead of being cut out by each device.
        parts = cut_from_arguments(found)
        tried = tuple(parts[index] if index in cut else one for index, one in enumerate(given))
        try:
            better = _settled(scope, body, tried, forms)
        except Mixed:
            better = None
        if better is None:
            left_whole |= cut
        else:
            given, found = tried, better
    if found is None:
        return None
    needed = {version for entry in found.entries for version in entry.needs()}
    returned = forms or tuple(found.states.get(value, SAME) for value in body.returned)
    needed.update(zip(body.returned, returned, strict=True))
    given = tuple(
        form if (value, form) in needed else ABSENT for value, form in zip(body.arguments, given, strict=True)
    )
    return Decision(
        _around(node, node.operands, body.arguments, given),
        _around(node, node.results, body.returned, returned),
        bodies=(found,),
    )


def _settled(scope: Interpretation, body: Body, given: States, wanted: States | None) -> DecidedBody | None:
    inner = interpreted(scope, body, given)
    forms = wanted or tuple(inner.state(value) for value in body.returned)
    roots = [version for version in zip(body.returned, forms, strict=True) if version[1] != ABSENT]
    if any(inner.state(value) not in (SAME, form) for value, form in roots):
        return None
    return settled(inner, roots)


def _or_same(states: States) -> States:
    """What is left out is taken for the same, which it may be as well: nothing needs it."""
    return tuple(SAME if one == ABSENT else one for one in states)


def within(node: Node, values: Sequence[int], parts: Sequence[int], states: Sequence[State]) -> States:
    """The forms of what a device has, for those of the whole; raises Mixed if microbatches are not parts of what each
    device has."""
    found = []
    for whole, part, state in zip(values, parts, states, strict=True):
        if isinstance(state, Sorted | Places):
            raise Mixed(node, "takes rows in the order of a sort, which is not that of the devices", IN_ORDER)
        if isinstance(state, Stacked):
            raise Mixed(node, "takes what devices of another mesh have side by side", TAKE_BACK)
        if isinstance(state, Split):
            devices = devices_along(node, whole, part, state.dimension)
            blocks, rest = divmod(state.blocks, devices)
            if rest:
                why = f"divides the examples over {devices} devices, which do not all have some of each microbatch"
                raise Mixed(node, why, "divide the arguments that have them in the same way", wants_blocks=True)
            state = Split(state.dimension, blocks)
        found.append(state)
    return tuple(found)


def _around(node: Node, values: Sequence[int], parts: Sequence[int], states: Sequence[State]) -> States:
    """The forms of the whole, for those of what a device has."""
    return tuple(
        Split(state.dimension, state.blocks * devices_along(node, whole, part, state.dimension))
        if isinstance(state, Split)
        else state
        for whole, part, state in zip(values, parts, states, strict=True)
    )


def _choose_shardings(made: ir.Operation, taken: Sequence[int], kept: Sequence[int], scalars: int) -> None:
    """Keep the shardings of the operands and results that there still are; scalars behind the operands have none."""
    for name, numbers, more in (("in_shardings", taken, scalars), ("out_shardings", kept, 0)):
        given = list(sdy.TensorShardingPerValueAttr(made.attributes[name]).shardings)
        chosen = [sdy.TensorShardingAttr(given[one]) for one in numbers]
        if more:
            either = sdy.TensorShardingPerValueAttr(made.attributes["out_shardings"]).shardings
            chosen += [undivided(sdy.TensorShardingAttr(next(iter(either))))] * more
        made.attributes[name] = sdy.TensorShardingPerValueAttr.get(chosen)


RULES: tuple[Rule, ...] = (ManualRule(),)
