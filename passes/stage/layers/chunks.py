"""Makes of a loop over layers one loop for each range of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from atoll.compiler.batch_rules.counted_loop import CountedLoop, Stack
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.effects import erase_unused

_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class Layers:
    """A range of layers."""

    start: int
    stop: int

    @property
    def count(self) -> int:
        return self.stop - self.start


def make_chunk(
    loop: CountedLoop, layers: Layers, operands: Sequence[_Value], types: Sequence[ir.Type], point: ir.InsertionPoint
) -> ir.Operation:
    """The loop for a range of its layers, with the arrays that have only their rows.

    It counts from where the whole loop does, so that ranges of equal length are equal loops. The body finds its rows by
    that count; all else that is computed from the count sees that of the whole loop, which is further on by the
    iterations of the ranges before.
    """
    chunk = loop.node.operation.clone(ip=point)
    for slot, (operand, type_) in enumerate(zip(operands, types, strict=True)):
        chunk.operands[slot] = operand
        chunk.results[slot].set_type(type_)
        for region in chunk.regions:
            region.blocks[0].arguments[slot].set_type(type_)
    condition, body = (region.blocks[0] for region in chunk.regions)
    late = loop.iterations - layers.stop if loop.is_reverse else layers.start
    _end_after(loop, layers.count, condition)
    inside = list(body.operations)
    *_, terminator = inside
    for slot in loop.counters:
        _rebase(loop, slot, late, body, terminator)
    _Rows(loop, layers.count, body).place(inside, types)
    for block in (body, condition):
        erase_unused(block)  # places that nobody asks for any more would keep equal chunks from being equal
    return chunk


def _end_after(loop: CountedLoop, iterations: int, condition: ir.Block) -> None:
    compare, operand = loop.bound
    counter = loop.counters[loop.counting]
    inside = list(condition.operations)[loop.node.bodies[0].nodes.index(compare)]
    type_ = inside.operation.operands[operand].type
    with ir.InsertionPoint(inside), inside.location:
        inside.operation.operands[operand] = _number(counter.first + iterations * counter.step, type_)


def _rebase(loop: CountedLoop, slot: int, late: int, body: ir.Block, terminator: ir.OpView) -> None:
    """Let the chunk count for itself, and let what is computed from the count see that of the whole loop."""
    counter, count = loop.counters[slot], body.arguments[slot]
    with ir.InsertionPoint.at_block_begin(body), terminator.location:
        if late:
            shifted = _computed("stablehlo.add", count, _number(late * counter.step, count.type))
            maker = shifted.owner
            assert isinstance(maker, ir.OpView)
            count.replace_all_uses_except(shifted, maker.operation)
        following = _computed("stablehlo.add", count, _number(counter.step, count.type))
    terminator.operation.operands[slot] = following


@dataclass
class _Rows:
    """Where the rows of each iteration are within a chunk's arrays."""

    loop: CountedLoop
    iterations: int
    body: ir.Block
    starts: dict[tuple[int, str], _Value] = field(default_factory=dict)

    def place(self, inside: Sequence[ir.OpView], types: Sequence[ir.Type]) -> None:
        """Let every operation that takes or puts a row find it in the chunk's array."""
        nodes = self.loop.node.bodies[1].nodes
        for slot, stack in self.loop.stacks.items():
            for node, operand in stack.accesses:
                operation = inside[nodes.index(node)].operation
                type_ = operation.operands[operand].type
                key = stack.width, str(type_)
                if key not in self.starts:
                    self.starts[key] = self._start(stack, type_)
                operation.operands[operand] = self.starts[key]
                if node.name == "stablehlo.dynamic_update_slice":
                    operation.results[0].set_type(types[slot])

    def _start(self, stack: Stack, type_: ir.Type) -> _Value:
        """Where the row of an iteration begins."""
        counter, count = self.loop.counters[self.loop.counting], self.body.arguments[self.loop.counting]
        with ir.InsertionPoint.at_block_begin(self.body), self.loop.node.location:
            row: _Value = count
            if counter.first:
                row = _computed("stablehlo.subtract", row, _number(counter.first, row.type))
            if counter.step != 1:
                row = _computed("stablehlo.divide", row, _number(counter.step, row.type))
            if self.loop.is_reverse:
                row = _computed("stablehlo.subtract", _number(self.iterations - 1, row.type), row)
            if stack.width != 1:
                row = _computed("stablehlo.multiply", row, _number(stack.width, row.type))
            if row.type != type_:
                converted: _Value = ir.Operation.create("stablehlo.convert", [type_], [row]).results[0]
                return converted
        return row


def _number(value: int, type_: ir.Type) -> _Value:
    tensor = ir.RankedTensorType(type_)
    splat = ir.DenseElementsAttr.get_splat(tensor, ir.IntegerAttr.get(tensor.element_type, value))
    made: _Value = ir.Operation.create("stablehlo.constant", [tensor], [], {"value": splat}).results[0]
    return made


def _computed(name: str, one: _Value, other: _Value) -> _Value:
    made: _Value = ir.Operation.create(name, [one.type], [one, other]).results[0]
    return made
