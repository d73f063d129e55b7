"""What a `shard_map` does to the batch that is written for the devices of all replicas.

Of the axis that replicas divide each replica has some devices, one after another, and with them a part of the batch in
one piece. Two proofs make one: what the devices of a replica do is a part of what all devices do; and of what devices
do, a microbatch is a part, if there are several to a replica. Each holds whatever the other says, so a sum over
replicas and microbatches is one over both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from atoll.compiler.batch_rules.decision import DecidedBody, Decision, Entry, Mixed
from atoll.compiler.batch_rules.devices import (
    DeviceBuilders,
    DeviceRules,
    check_joined_once,
    devices_that_differ,
    summed_again,
)
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.local import Local, resized
from atoll.compiler.batch_rules.local_block import LocalBlock
from atoll.compiler.batch_rules.needed_forms import settled
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.replica_axis import PARTITION_ID, ReplicaAxis, specs_of
from atoll.compiler.batch_rules.states import ABSENT, DEVICE_OWN, SAME, Partial, Same, Split, Stacked, State
from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.effects import erase_unused
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.shardings import Spec

States = tuple[State, ...]
_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class ManualDecision(Decision):
    """The decision about such a `shard_map`.

    given, returned: the forms that its body takes and gives; `ABSENT` for what it does not.
    again: the sums over all devices of what is such a sum already.
    """

    axis: ReplicaAxis = field(kw_only=True)
    given: States = ()
    returned: States = ()
    again: frozenset[int] = frozenset()


def decide_over_replicas(
    scope: Interpretation, node: Node, axis: ReplicaAxis, states: Sequence[State], is_without_batch: bool = False
) -> ManualDecision:
    """What is decided if operands come in these states; raises Mixed.

    is_without_batch: only results that are the same for all are made.
    """
    (body,) = node.bodies
    inner = interpretations(scope, node, axis, states)
    for one in inner:
        one.interpret()
    ins, outs = specs_of(node)
    results = [_around(node, axis, number, inner, outs[number]) for number in range(len(node.results))]
    if is_without_batch:
        results = [SAME if form == SAME else ABSENT for form in results]
    found, returned = list[DecidedBody](), States()
    for one in inner:
        returned = tuple(map(partial(_returned, one, one is not inner[0]), body.returned, results))
        roots = zip(body.returned, returned, strict=True)
        found.append(settled(one, [version for version in roots if version[1] != ABSENT]))
    check_joined_once(found[0])
    needed = {value for entry in found[-1].entries for value, _ in entry.needs()}
    needed.update(value for value, form in zip(body.returned, returned, strict=True) if form != ABSENT)
    given = tuple(inner[-1].own_state(value) if value in needed else ABSENT for value in body.arguments)
    operands = [form if form in (ABSENT, SAME) else _outside(axis, spec) for form, spec in zip(given, ins, strict=True)]
    return ManualDecision(
        tuple(operands),
        tuple(results),
        bodies=(found[-1],),
        axis=axis,
        given=given,
        returned=returned,
        again=summed_again(found[0], axis),
    )


def _returned(inner: Interpretation, is_by_example: bool, value: int, result: State) -> State:
    """The form in which the body gives a value, for that around it."""
    state = inner.state(value)
    if result == ABSENT:
        return ABSENT
    # What a device makes of nothing that differs from microbatch to microbatch, it cuts.
    return Split(result.dimension) if is_by_example and isinstance(result, Split) and state == SAME else state


def interpretations(
    scope: Interpretation, node: Node, axis: ReplicaAxis, states: Sequence[State]
) -> list[Interpretation]:
    """The body, to be interpreted by what each device of a replica has; and, if a replica has several microbatches, by
    what a microbatch has of that. Arguments have their forms. Raises Mixed if operands do not come device by device.
    """
    forms = [_taken(scope, node, axis, number, state) for number, state in enumerate(states)]
    (body,) = node.bodies
    rules, differing = DeviceRules(scope.batch.rules, axis), devices_that_differ(axis, node.inner())
    by_device = Interpretation(replace(scope.batch, rules=rules, differing=differing), body, scope)
    by_device.interpret_arguments([DEVICE_OWN if isinstance(form, Split) else form for form in forms])
    if axis.microbatches == 1:
        return [by_device]
    _check_places(node, axis)
    by_example = Interpretation(scope.batch, body, scope)
    by_example.interpret_arguments([Split(form.dimension) if isinstance(form, Split) else form for form in forms])
    return [by_device, by_example]


def _taken(scope: Interpretation, node: Node, axis: ReplicaAxis, number: int, state: State) -> State:
    """The form in which an operand is taken that comes in this state."""
    spec, operand = specs_of(node)[0][number], node.operands[number]
    form = _outside(axis, spec)
    if isinstance(form, Split):
        _check_order(node, axis, spec[form.dimension])
        if state == SAME and _is_alike(scope, operand):
            return SAME
        _check_size(node, axis, node.bodies[0].arguments[number], form.dimension)
    if isinstance(form, Stacked) and state != form:
        why = f"divides a dimension over {axis.name} and other axes, whose devices would have other rows"
        raise Mixed(node, why, f"divide it over {axis.name} alone, or set microbatches=1")
    if isinstance(state, Split) and state != form:
        why = f"takes examples that are not divided over {axis.name}, along which replicas have devices of their own"
        raise Mixed(node, why, f"divide the dimension of the batch over {axis.name}, as one batch")
    return form


def _is_alike(scope: Interpretation, value: int) -> bool:
    """Whether devices of all replicas have the same of a value that they have one after another: a `shard_map` before
    has given it so, as it does what its gradient needs."""
    node = scope.batch.program.producers[value]
    decision = None if node is None else scope.decisions.get(node.number)
    return node is not None and isinstance(decision, ManualDecision) and scope.own_state(value) == SAME


def _check_order(node: Node, axis: ReplicaAxis, axes: Sequence[str]) -> None:
    """A replica takes what its devices have in one piece."""
    if not axis.is_first(axes):
        why = f"divides a dimension over {axis.name} behind another axis, so that replicas have rows of several places"
        raise Mixed(node, why, f"divide it over {axis.name} alone, or make {axis.name} the first axis")


def _check_size(node: Node, axis: ReplicaAxis, part: int, dimension: int) -> None:
    """Microbatches take equal parts of what a device has."""
    size = node.program.shape(part)[dimension]
    if size % axis.microbatches:
        shared = f"which {axis.microbatches} microbatches cannot share evenly"
        why = f"gives each device {size} rows along {axis.name}, {shared}"
        raise Mixed(node, why, "choose microbatches that divide what each device has")


def _outside(axis: ReplicaAxis, spec: Spec) -> State:
    """The form around the `shard_map` of what is divided so."""
    dimension = axis.divides(spec)
    if dimension is None:
        return SAME
    is_in_order = axis.microbatches == 1 or axis.is_alone(spec[dimension])
    return Split(dimension) if is_in_order else Stacked(dimension, axes=spec[dimension])


def _check_places(node: Node, axis: ReplicaAxis) -> None:
    """Devices that share each microbatch of a replica may not ask where they are among its devices."""
    if axis.places_are_known:
        return
    nodes = list(node.inner())
    taken = {value: one for one in nodes for value in one.operands}
    for one in nodes:
        if one.name == PARTITION_ID:
            asked = next((taken[value] for value in one.results if value in taken), None)
            ends = [other for other in nodes if asked is not None and set(asked.results) & set(other.operands)]
            if not ends or not all(map(axis.asks_for_another_axis, ends)):
                why = f"asks for the place of a device along {axis.name}, over which a replica divides each microbatch"
                raise Mixed(one, why, f"give islands one device along {axis.name}, or set microbatches=1")


def _around(node: Node, axis: ReplicaAxis, number: int, inner: Sequence[Interpretation], spec: Spec) -> State:
    """The form of a result, for those in the body."""
    value, form = node.bodies[0].returned[number], _outside(axis, spec)
    by_device, *rest = (one.own_state(value) for one in inner)
    if not isinstance(form, Split):
        if isinstance(by_device, Same | Partial) and all(one == by_device for one in rest):
            return by_device
        why = f"gives each device along {axis.name} a result of its own, as if it were the same for all"
        raise Mixed(node, why, f"sum it over {axis.name}, or say in out_specs that it is divided over {axis.name}")
    _check_order(node, axis, spec[form.dimension])
    if all(one == SAME for one in (by_device, *rest)):
        return SAME
    _check_size(node, axis, value, form.dimension)
    allowed = (Split(form.dimension), SAME) if axis.places_are_known else (Split(form.dimension),)
    if isinstance(by_device, Partial) or any(one not in allowed for one in rest):
        why = f"gives a result that is divided over {axis.name}, and does not consist of examples"
        raise Mixed(node, why, f"give it once, by out_specs without {axis.name}, or set microbatches=1")
    return form


def of_one_replica(local: Local, node: Node, decision: ManualDecision, index: int, operand: _Value) -> _Value:
    """Of an operand that all devices have alike, one after another, what those of one replica have."""
    dimension = decision.axis.divides(specs_of(node)[0][index])
    if dimension is None or decision.operands[index] != SAME:
        return operand
    type_ = _of_replica(operand.type, dimension, decision.axis)
    attributes: dict[str, ir.Attribute] = {
        "start_indices": ir.DenseI64ArrayAttr.get([0] * type_.rank),
        "limit_indices": ir.DenseI64ArrayAttr.get(list(type_.shape)),
        "strides": ir.DenseI64ArrayAttr.get([1] * type_.rank),
    }
    return local.one("stablehlo.slice", type_, [operand], node.location, attributes)


def type_of_result(local: Local, node: Node, decision: ManualDecision, index: int) -> ir.RankedTensorType:
    """The type of a result where only the devices of one replica give it."""
    type_, dimension = local.type_of(node.results[index], decision.results[index]), _repeated(node, decision, index)
    return type_ if dimension is None else _of_replica(type_, dimension, decision.axis)


def of_all_replicas(local: Local, node: Node, decision: ManualDecision, index: int, made: _Value) -> _Value:
    """A result as all devices give it, where those of all replicas give the same."""
    dimension = _repeated(node, decision, index)
    if dimension is None:
        return made
    along: dict[str, ir.Attribute] = {"dimension": integer(dimension, bits=64)}
    whole = node.program.tensor(node.results[index])
    return local.one("stablehlo.concatenate", whole, [made] * decision.axis.replicas, node.location, along)


def _repeated(node: Node, decision: ManualDecision, index: int) -> int | None:
    """The dimension along which a result has the same for each replica; None if there is none."""
    return decision.axis.divides(specs_of(node)[1][index]) if decision.results[index] == SAME else None


def _of_replica(type_: ir.Type, dimension: int, axis: ReplicaAxis) -> ir.RankedTensorType:
    whole = ir.RankedTensorType(type_)
    return resized(whole, dimension, whole.get_dim_size(dimension) // axis.replicas)


class DeviceBlock(LocalBlock):
    """The body of such a `shard_map`, for the devices of one replica and one of its microbatches.

    replica: the number of the replica; None outside of a loop.
    """

    def __init__(self, parent: LocalBlock, decision: ManualDecision, block: ir.Block) -> None:
        # What devices have is in other parts than what is around it.
        program = parent.program.in_parts(decision.axis.microbatches)
        builders = DeviceBuilders(parent.builders) if decision.axis.microbatches == 1 else parent.builders
        super().__init__(program, builders, block, parent)
        self.decision = decision
        self.axis = decision.axis
        self.block = block
        self.replica: _Value | None = None

    def count_from(self, number: _Value) -> None:
        """Know the number of the part, counted over all replicas."""
        self.index = self.replica = number
        if self.axis.microbatches > 1:
            type_, location = ir.RankedTensorType(number.type), number.location
            count = self.number(self.axis.microbatches, type_, location)
            self.replica = self.one("stablehlo.divide", type_, [number, count], location)
            self.index = self.one("stablehlo.remainder", type_, [number, count], location)

    def make(self, entry: Entry) -> None:
        super().make(entry)
        if entry.derived is None and entry.node is not None and entry.node.number in self.decision.again:
            for version in entry.makes():
                made, location = self.values[version], entry.node.location
                type_ = ir.RankedTensorType(made.type)
                times = self.constant(splat(self.axis.replicas, type_), location)
                self.values[version] = self.one("stablehlo.multiply", type_, [made, times], location)

    def number_all_devices(self) -> None:
        """Where a device asks for its number, give that among the devices of all replicas."""
        for asked in [one for view in self.block.operations for one in operations_in(view, stablehlo.PartitionIdOp)]:
            _count_all_devices(asked.operation, self.axis, self.replica)
        erase_unused(self.block)

    def inside(self, block: ir.Block, index: _Value | None = None) -> "DeviceBlock":
        inner = DeviceBlock(self, self.decision, block)
        inner.builders, inner.index, inner.replica = self.builders, index or self.index, self.replica
        return inner

    def offset(self, size: int, location: ir.Location) -> _Value:
        if not self.axis.places_are_known:
            what = f"devices along {self.axis.name} count the examples, and share those of each microbatch"
            remedy = f"give islands one device along {self.axis.name}, or set microbatches=1"
            raise refuse(location, what, remedy)
        return super().offset(size, location)


def splat(number: int, type_: ir.RankedTensorType) -> ir.DenseElementsAttr:
    element = type_.element_type
    is_float = isinstance(element, ir.FloatType)
    return ir.DenseElementsAttr.get_splat(
        type_, ir.FloatAttr.get(element, number) if is_float else ir.IntegerAttr.get(element, number)
    )


def _count_all_devices(asked: ir.Operation, axis: ReplicaAxis, replica: _Value | None) -> None:
    """Make the number that a device has among all of those on its replica's mesh."""
    point = ir.InsertionPoint(asked)
    own = asked.clone(ip=point)
    type_ = ir.RankedTensorType(own.results[0].type)

    def number(value: int) -> _Value:
        splat = ir.DenseElementsAttr.get_splat(type_, ir.IntegerAttr.get(type_.element_type, value))
        made = ir.Operation.create("stablehlo.constant", [type_], [], {"value": splat}, loc=asked.location, ip=point)
        constant: _Value = made.results[0]
        return constant

    def combined(name: str, one: _Value, other: _Value) -> _Value:
        made = ir.Operation.create(f"stablehlo.{name}", [type_], [one, other], loc=asked.location, ip=point)
        value: _Value = made.results[0]
        return value

    row = number(axis.own * axis.within)
    before = combined("divide", own.results[0], row)
    whole = combined("multiply", before, number(axis.own * axis.within * axis.replicas))
    whole = combined("add", whole, combined("remainder", own.results[0], row))
    if replica is not None:
        whole = combined("add", whole, combined("multiply", replica, row))
    asked.results[0].replace_all_uses_with(whole)
    asked.erase()
