"""Writes out loops whose iterations are proved one by one, as if the function had no loop.

In a loop over layers that sort examples, what a layer keeps for its gradient are rows in the order of its own sort.
Stacked, those of each layer are in an order of their own, which no state says. In a loop whose iterations need a sum
over the batch, such as steps of an optimizer, the sum is complete only when the loop is left. Iteration by iteration
all of it is proved as elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from atoll.compiler.batch_rules.counted_loop import CountedLoop, counted, loops_of
from atoll.compiler.batch_rules.decision import Mixed
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.nodes import Node, NodeTree
from atoll.compiler.batch_rules.states import Split
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.effects import erase_unused
from atoll.compiler.mlir.functions import replace_within
from atoll.compiler.mlir.locations import in_iteration

_Value = ir.Value[ir.Type]
# The rows of a stack, in its order.
_Rows = list[_Value]

# Each iteration is compiled by itself, so that very many are better done for the whole batch, or refused.
_MOST_ITERATIONS, _MOST_OPERATIONS = 64, 50_000


def write_out_sorting(program: NodeTree, unproved: Sequence[Node]) -> bool:
    """Write out those loops that are not proved as they are, and whose layers sort; whether there were any."""
    loops = [one for _, one in loops_of(program) if isinstance(one, CountedLoop) and _is_short(one)]
    return _write_out(program, [one for group in _sharing_stacks(loops) if _sorts(group, unproved) for one in group])


def write_out_mixing(scope: Interpretation, mixed: Mixed) -> bool:
    """Write out the loop of @main in which examples are mixed, and those that share its stacks; False if it is left as
    it is, as it is long, or its iterations are the batch.

    scope: @main, as far as it could be interpreted.
    """
    chosen = _mixing(scope, mixed)
    return not any(_is_over_batch(scope, one) for one in chosen) and _write_out(scope.batch.program, chosen)


def write_out_pieces(scope: Interpretation, mixed: Mixed, examples: int) -> bool:
    """Write out the loop of @main in which examples are mixed, if its iterations are pieces of the batch, such as a
    step of an optimizer for each. A microbatch can have some of each piece only if that is more than one example."""
    chosen = _mixing(scope, mixed)
    pieces = [one for one in chosen if _is_over_batch(scope, one)]
    is_shared = all(examples // one.iterations > 1 for one in pieces)
    return bool(pieces) and is_shared and _write_out(scope.batch.program, chosen)


def _mixing(scope: Interpretation, mixed: Mixed) -> list[CountedLoop]:
    """The loop of @main in which examples are mixed, with those that share its stacks; none if it is long."""
    whiles = (node for node in scope.body.nodes if node.name == "stablehlo.while" and not node.has_effect)
    loops = [one for one in map(counted, whiles) if isinstance(one, CountedLoop) and _is_short(one)]
    groups = (group for group in _sharing_stacks(loops) if any(_holds(one.node, mixed.node) for one in group))
    return next(groups, [])


def _holds(loop: Node, node: Node) -> bool:
    return loop is node or any(inner is node for inner in loop.inner())


def _is_over_batch(scope: Interpretation, loop: CountedLoop) -> bool:
    taken = ((scope.own_state(loop.node.operands[slot]), stack) for slot, stack in loop.stacks.items())
    return any(isinstance(state, Split) and state.dimension == stack.dimension for state, stack in taken)


def _is_short(loop: CountedLoop) -> bool:
    operations = sum(1 for _ in loop.node.inner())
    return loop.iterations <= min(_MOST_ITERATIONS, _MOST_OPERATIONS // operations)


def _write_out(program: NodeTree, chosen: Sequence[CountedLoop]) -> bool:
    rows: dict[int, _Rows] = {}  # of each stack that a loop before has written
    for loop in sorted(chosen, key=lambda one: one.node.number):
        _WrittenOut(loop, rows).run()
    for loop in chosen:
        loop.node.operation.erase()
    if chosen:  # stacks that nobody takes whole would be refused, as their rows are in different orders
        erase_unused(program.body.block)
    return bool(chosen)


def _sorts(group: Sequence[CountedLoop], unproved: Sequence[Node]) -> bool:
    is_unproved = any(one.node in unproved for one in group)
    return is_unproved and any(inner.name == "stablehlo.sort" for one in group for inner in one.node.inner())


def _sharing_stacks(loops: Sequence[CountedLoop]) -> Iterator[list[CountedLoop]]:
    """The loops, those together of which one takes what another one has stacked."""
    left = list(loops)
    while left:
        group = [left.pop()]
        while found := [one for one in left if any(_shares(one, other) or _shares(other, one) for other in group)]:
            left = [one for one in left if one not in found]
            group += found
        yield group


def _shares(one: CountedLoop, other: CountedLoop) -> bool:
    taken = {other.node.operands[slot] for slot in other.stacks}
    return one.iterations == other.iterations and any(one.node.results[slot] in taken for slot in one.stacks)


class _WrittenOut:
    """One loop, whose iterations are made in front of it."""

    def __init__(self, loop: CountedLoop, rows: dict[int, _Rows]) -> None:
        self._loop = loop
        self._rows = rows
        self._point = ir.InsertionPoint(loop.node.operation)
        self._accesses = {node.number: (slot, node) for slot, one in loop.stacks.items() for node, _ in one.accesses}

    def run(self) -> None:
        loop, node = self._loop, self._loop.node
        stacked = {slot: self._rows_of(slot) for slot in loop.stacks}
        carried: dict[int, _Value] = {slot: node.operation.operands[slot] for slot in range(len(node.operands))}
        for number in range(loop.iterations):
            for slot, counter in loop.counters.items():
                carried[slot] = self._number(counter.first + number * counter.step, carried[slot].type)
            row = loop.iterations - 1 - number if loop.is_reverse else number
            carried = self._iteration(carried, stacked, row)
        for slot, counter in loop.counters.items():
            carried[slot] = self._number(counter.first + loop.iterations * counter.step, carried[slot].type)
        for slot, one in loop.stacks.items():
            if one.is_written:
                self._rows[node.results[slot]] = stacked[slot]
                carried[slot] = self._create(
                    "stablehlo.concatenate", node.operation.results[slot].type, stacked[slot], _dimension(one.dimension)
                )
        for slot, result in enumerate(node.operation.results):
            result.replace_all_uses_with(carried[slot])

    def _rows_of(self, slot: int) -> _Rows:
        """The rows with which a stack comes in."""
        stack, value = self._loop.stacks[slot], self._loop.node.operands[slot]
        if value in self._rows:
            return list(self._rows[value])
        whole = self._loop.node.operation.operands[slot]
        shape, element = self._loop.node.operand_shape(slot), ir.RankedTensorType(whole.type).element_type
        found = []
        for number in range(self._loop.iterations):
            starts, limits = [0] * len(shape), list(shape)
            starts[stack.dimension] = number * stack.width
            limits[stack.dimension] = (number + 1) * stack.width
            sizes = [limit - start for start, limit in zip(starts, limits, strict=True)]
            attributes = {
                "start_indices": ir.DenseI64ArrayAttr.get(starts),
                "limit_indices": ir.DenseI64ArrayAttr.get(limits),
                "strides": ir.DenseI64ArrayAttr.get([1] * len(shape)),
            }
            kind = ir.RankedTensorType.get(sizes, element)
            found.append(self._create("stablehlo.slice", kind, [whole], attributes))
        return found

    def _iteration(self, carried: Mapping[int, _Value], stacked: Mapping[int, _Rows], number: int) -> dict[int, _Value]:
        """Make one iteration, of what is carried into it; what it hands on. The row it puts takes its place."""
        body = self._loop.node.bodies[1]
        made = {body.block.arguments[slot]: value for slot, value in carried.items()}
        for node in body.nodes:
            if node.number in self._accesses:
                slot, _ = self._accesses[node.number]
                if node.name == "stablehlo.dynamic_update_slice":
                    block = node.operation.operands[1]
                    stacked[slot][number] = made.get(block, block)
                else:
                    made[node.operation.results[0]] = stacked[slot][number]
                continue
            if node.name == "stablehlo.reshape":
                operand = node.operation.operands[0]
                row = _without_unit(made.get(operand, operand), node.operation.results[0].type)
                if row is not None:
                    made[node.operation.results[0]] = row
                    continue
            copy = node.operation.clone(ip=self._point)
            copy.location = in_iteration(node.location, self._loop.node.location, number)
            replace_within(copy.opview, made)
            made.update(zip(node.operation.results, copy.results, strict=True))
        handed = dict(carried)
        *_, terminator = body.block.operations
        for slot, value in enumerate(terminator.operation.operands):
            if slot not in self._loop.stacks and slot not in self._loop.counters:
                handed[slot] = made.get(value, value)
        return handed

    def _number(self, value: int, kind: ir.Type) -> _Value:
        splat = ir.DenseElementsAttr.get_splat(kind, ir.IntegerAttr.get(ir.RankedTensorType(kind).element_type, value))
        return self._create("stablehlo.constant", kind, [], {"value": splat})

    def _create(
        self, name: str, kind: ir.Type, operands: Sequence[_Value], attributes: Mapping[str, ir.Attribute]
    ) -> _Value:
        location = self._loop.node.location
        made = ir.Operation.create(name, [kind], operands, dict(attributes), loc=location, ip=self._point)
        result: _Value = made.results[0]
        return result


def _without_unit(row: _Value, kind: ir.Type) -> _Value | None:
    """What has been made a row by one more dimension, of extent 1, where it is asked for without that again. So what is
    kept of a layer is recognised as what it was, such as the numbers of tokens of each expert."""
    maker = row.owner
    if isinstance(maker, stablehlo.BroadcastInDimOp):
        kept = list(ir.DenseI64ArrayAttr(maker.attributes["broadcast_dimensions"]))
        if kept != sorted(kept):
            return None
    elif not isinstance(maker, stablehlo.ReshapeOp):
        return None
    source: _Value = maker.operation.operands[0]
    is_as_large = prod(ir.RankedTensorType(row.type).shape) == prod(ir.RankedTensorType(source.type).shape)
    return source if source.type == kind and is_as_large else None


def _dimension(number: int) -> dict[str, ir.Attribute]:
    return {"dimension": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), number)}
