"""Parts a `shard_map` where it needs sums over the batch to be complete: what devices do with these stands behind it.

In @main what follows from a complete sum stands behind the loop over microbatches. What a `shard_map` does is one
operation there, which stands in the loop. So a step that takes its gradients in it, and goes on with an optimizer, is
made two: one that gives what devices have of the sums, and one that takes them.
"""

import re
from collections.abc import Sequence
from math import prod

from atoll.compiler.batch_rules.decision import Mixed
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.manual import within
from atoll.compiler.batch_rules.manual_replicas import interpretations
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.replica_axis import MANUAL, ReplicaAxis
from atoll.compiler.batch_rules.states import SAME, DeviceOwn, Partial, Split
from atoll.compiler.mlir.bindings import ir, sdy
from atoll.compiler.mlir.effects import erase_unused
from atoll.compiler.mlir.functions import is_used, operations_in
from atoll.compiler.module.shardings import name_of_mesh

_Value = ir.Value[ir.Type]
_Stack = tuple[ir.Type, ir.Attribute]  # with its sharding
_SHARDINGS = ("in_shardings", "out_shardings")


def part_behind_sums(scope: Interpretation, mixed: Mixed) -> bool:
    """Part the `shard_map` of @main in which examples are mixed, if all that is wrong is that a sum in it is not
    complete; False if it is left as it is.

    scope: @main, as far as it could be interpreted.
    """
    nodes = (one for one in scope.body.nodes if one.name == MANUAL and not one.has_effect and _mesh(one))
    node = next((one for one in nodes if any(inner is mixed.node for inner in one.inner())), None)
    found = None if node is None else _behind(scope, node)
    if node is None or found is None:
        return False
    _part(node, scope.batch.axes.get(node.number), *found)
    return True


def _behind(scope: Interpretation, node: Node) -> tuple[Sequence[Interpretation], set[int]] | None:
    """The operations of a `shard_map` that need a sum to be complete, and all that need these; None if another thing is
    wrong as well. What stands before them is interpreted, once for each proof that is needed."""
    (body,) = node.bodies
    behind, made = set[int](), set[int]()
    try:
        found = _interpretations(scope, node)
        for one in body.nodes:
            if made.isdisjoint((*one.operands, *one.captured)) and not any(_waits(inner, one) for inner in found):
                for inner in found:
                    inner.visit(one)
            else:
                behind.add(one.number)
                made.update(one.results)
    except Mixed:
        return None
    return (found, behind) if behind else None


def _interpretations(scope: Interpretation, node: Node) -> Sequence[Interpretation]:
    """Its body with the forms of its arguments."""
    states, axis = [scope.state(value) for value in node.operands], scope.batch.axes.get(node.number)
    if axis is not None:
        return interpretations(scope, node, axis, states)
    (body,) = node.bodies
    inner = Interpretation(scope.batch, body, scope)
    inner.interpret_arguments(within(node, node.operands, body.arguments, states))
    return [inner]


def _waits(inner: Interpretation, node: Node) -> bool:
    """Whether an operation takes a part of a sum that has to be complete, or is to be joined by what is the same."""
    taken = (*node.operands, *node.captured)
    if not any(isinstance(inner.state(value), Partial) for value in taken):
        return False
    try:
        decision = inner.rule(node).forward(inner, node, [inner.state(value) for value in node.operands])
    except Mixed:
        return True
    forms = zip(node.operands, decision.operands, strict=True)
    joined = [value for value, form in forms if isinstance(form, Partial) and inner.state(value) == SAME]
    return any(not node.program.is_identity(value, "add") for value in joined)


def _part(node: Node, axis: ReplicaAxis | None, found: Sequence[Interpretation], behind: set[int]) -> None:
    """Make two or three of one: what gives the sums, what gives all else that is needed, and what takes these."""
    (body,) = node.bodies
    late = {value for one in body.nodes if one.number in behind for value in one.results}
    taken = {value for one in body.nodes if one.number in behind for value in (*one.operands, *one.captured)}
    crossing = [value for one in body.nodes for value in one.results if value in taken and value not in late]
    kept = [index for index, value in enumerate(body.returned) if value not in late]
    rest = [index for index in range(len(body.returned)) if index not in kept]
    givers = [(crossing, kept)]
    sums = [value for value in crossing if all(isinstance(inner.state(value), Partial) for inner in found)]
    if any(isinstance(inner.state(value), Split | DeviceOwn) for value in taken - late for inner in found):
        # The examples need the sums. By itself what gives these can be done in a loop before.
        givers = [(sums, []), ([value for value in crossing if value not in sums], kept)]
    # Along an axis that replicas divide the sums are over all devices, so that each of these has the same.
    alike = "" if axis is None else axis.name
    stacks = {value: _stack(node, node.program.tensor(value), alike if value in sums else "") for value in crossing}
    source, given = node.operation, dict[int, _Value]()
    for values, numbers in givers:
        copy = _Copy(node)
        copy.give(values, numbers)
        made = copy.make(list(source.operands), numbers, [stacks[value] for value in values])
        given.update(zip(values, made.results, strict=False))
        _replace(source, numbers, list(made.results)[len(values) :])
    copy = _Copy(node)
    for value in crossing:
        copy.take(value)
    copy.give([], rest)
    operands = [*source.operands, *(given[value] for value in crossing)]
    made = copy.make(operands, rest, places=[stacks[value][1] for value in crossing])
    _replace(source, rest, list(made.results))
    source.erase()


def _replace(source: ir.Operation, numbers: Sequence[int], values: Sequence[_Value]) -> None:
    for number, value in zip(numbers, values, strict=True):
        source.results[number].replace_all_uses_with(value)


def _mesh(node: Node) -> str:
    """The name of its mesh; empty if it writes the mesh out."""
    attributes = node.operation.attributes
    ins, outs = (list(sdy.TensorShardingPerValueAttr(attributes[name]).shardings) for name in _SHARDINGS)
    return name_of_mesh((ins + outs)[0]) if ins or outs else ""


def _stack(node: Node, local: ir.RankedTensorType, alike: str) -> _Stack:
    """For what devices have, one after another along the first dimension.

    alike: an axis along which they have the same.
    """
    mesh, named = _mesh(node), re.findall(r'"([^"]*)"', str(node.operation.attributes["manual_axes"]))
    axes = [axis for axis in named if axis != alike]
    sizes = {
        axis.name: axis.size
        for one in operations_in(node.program.module.operation, sdy.MeshOp)
        if ir.StringAttr(one.attributes["sym_name"]).value == mesh
        for axis in map(sdy.MeshAxisAttr, sdy.MeshAttr(one.attributes["mesh"]).axes)
    }
    count, shape = prod(sizes[axis] for axis in axes), list(local.shape) or [1]
    first = "{" + ", ".join(f'"{axis}"' for axis in axes) + "}"
    text = ", ".join([first, *["{}"] * (len(shape) - 1)])
    sharding = ir.Attribute.parse(f"#sdy.sharding<@{mesh}, [{text}]>")
    return ir.RankedTensorType.get([shape[0] * count, *shape[1:]], local.element_type), sharding


class _Copy:
    """A copy of a `shard_map`, of which only what it gives is left."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._point = ir.InsertionPoint(node.operation)
        self._copy = node.operation.clone(ip=self._point)
        self._block = self._copy.regions[0].blocks[0]
        self._end = list(self._block.operations)[-1].operation
        (body,) = node.bodies
        self._values: dict[int, _Value] = dict(zip(body.arguments, self._block.arguments, strict=True))
        for one, copied in zip(body.nodes, list(self._block.operations)[:-1], strict=True):
            self._values.update(zip(one.results, copied.operation.results, strict=True))

    def take(self, value: int) -> None:
        """Take as an argument what the copy has made itself."""
        own, type_ = self._values[value], self._node.program.tensor(value)
        kind = ir.RankedTensorType.get(list(type_.shape) or [1], type_.element_type)
        argument: _Value = self._block.add_argument(kind, own.location)
        point = ir.InsertionPoint.at_block_begin(self._block)
        own.replace_all_uses_with(argument if type_.rank else self._reshaped(argument, [], type_, point))

    def _reshaped(self, value: _Value, shape: list[int], like: ir.RankedTensorType, point: ir.InsertionPoint) -> _Value:
        kind = ir.RankedTensorType.get(shape, like.element_type)
        made = ir.Operation.create("stablehlo.reshape", [kind], [value], loc=self._node.location, ip=point)
        result: _Value = made.results[0]
        return result

    def give(self, values: Sequence[int], kept: Sequence[int]) -> None:
        """Return these values and then some of the results, and leave out what only led to others."""
        point = ir.InsertionPoint(self._end)
        returned = [self._stacked(value, point) for value in values]
        returned += [self._end.operands[index] for index in kept]
        ir.Operation.create("sdy.return", [], returned, loc=self._end.location, ip=point)
        self._end.erase()
        erase_unused(self._block)

    def _stacked(self, value: int, point: ir.InsertionPoint) -> _Value:
        """A value as it can be stacked: a scalar has one place."""
        own, type_ = self._values[value], self._node.program.tensor(value)
        return own if type_.rank else self._reshaped(own, [1], type_, point)

    def make(
        self,
        operands: Sequence[_Value],
        kept: Sequence[int],
        given: Sequence[_Stack] = (),
        places: Sequence[ir.Attribute] = (),
    ) -> ir.Operation:
        """The copy with those of these operands that it needs.

        kept: the results that it gives, after what is given stacked.
        places: the shardings of the last operands, which the original does not have.
        """
        source = self._node.operation
        ins, outs = (list(sdy.TensorShardingPerValueAttr(source.attributes[name]).shardings) for name in _SHARDINGS)
        ins += places
        needed = [index for index, one in enumerate(self._block.arguments) if is_used(one)]
        for index in reversed(range(len(operands))):
            if index not in needed:
                self._block.erase_argument(index)
        attributes = self._node.named_attributes()
        chosen = [ins[index] for index in needed], [*(place for _, place in given), *(outs[index] for index in kept)]
        for name, shardings in zip(_SHARDINGS, chosen, strict=True):
            attributes[name] = sdy.TensorShardingPerValueAttr.get([sdy.TensorShardingAttr(one) for one in shardings])
        types = [*(kind for kind, _ in given), *(source.results[index].type for index in kept)]
        taken = [operands[index] for index in needed]
        made = ir.Operation.create(MANUAL, types, taken, attributes, regions=1, loc=source.location, ip=self._point)
        self._block.append_to(made.regions[0])
        self._copy.erase()
        return made
