"""What a fragment does on each device of an island: operations, bytes through its memory, bytes between devices.

Only what the arguments of a fragment say of how they are divided is known; its compiler divides the rest. So values are
followed from the arguments on, as the partitioners of XLA do in the plain cases: along equal dimensions. A product over
a dimension that is divided leaves a part on each device, and a collective sums these up; where one axis divides
several things that meet, the smaller operand is gathered.

Values of elementwise operations are made where they are used. What goes through memory is what products, reductions and
other operations with an order of their own take and make, the arguments of the fragment and its results.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any

from atoll.compiler.cost.operations import cost_of, trip_count
from atoll.compiler.cost.reorders import Reordered, made_of, reordered_operands, takes_several
from atoll.compiler.cost.stored_values import NO_WORK, SLICES, STORED, is_written, reads_whole
from atoll.compiler.mlir.bindings import func, ir, sdy, stablehlo
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, body_of
from atoll.compiler.module.graph import bytes_of
from atoll.compiler.module.shardings import SHARDING, Spec, on_island, result_specs, spec_of
from atoll.compiler.topology.island import Island
from atoll.compiler.topology.rates import REORDERING

_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class Work:
    """On each device: operations, the bytes through its memory, and the bytes that it sends to others of its island.

    convolved: those of the operations that are a convolution's.
    hosted: the bytes that come from the memory of the host, and go there.
    reordered: what CPU devices compute in another order, to multiply it; compilers of others choose orders that fit.
    """

    operations: float = 0.0
    moved: float = 0.0
    exchanged: float = 0.0
    convolved: float = 0.0
    hosted: float = 0.0
    reordered: tuple[Reordered, ...] = ()

    def __add__(self, other: "Work") -> "Work":
        return Work(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Work)))

    def __mul__(self, times: float) -> "Work":
        reordered = tuple(one._replace(times=times * one.times) for one in self.reordered)
        amounts: dict[str, Any] = {name: times * getattr(self, name) for name in AMOUNTS}
        return Work(**amounts, reordered=reordered)


# The fields of work that are one number each.
AMOUNTS = tuple(one.name for one in fields(Work) if one.name != "reordered")


def work_of(function: func.FuncOp, island: Island) -> Work:
    """The work of a fragment's function, once."""
    counter = WorkCounter(island)
    counter.note_arguments(function)
    return counter.block(body_of(function), is_stored=True)


class WorkCounter:
    """Counts on one island, and knows how values are divided there."""

    def __init__(self, island: Island) -> None:
        self._island = island
        self._sizes = {axis.name: axis.size for axis in island.axes}
        self._is_divided = island.size > 1
        self._held: set[_Value] = set()
        self.specs: dict[_Value, Spec] = {}

    def hold(self, values: Iterable[_Value]) -> None:
        """Note what is kept in memory from one task to another."""
        self._held.update(values)

    def note_arguments(self, function: func.FuncOp) -> None:
        """Note what the arguments of a function say of how they are divided."""
        for argument, marks in zip(arguments_of(function), argument_attributes(function), strict=True):
            if SHARDING in marks:
                self.note(argument, spec_of(marks[SHARDING]))

    def block(self, block: ir.Block, is_stored: bool) -> Work:
        """The work of a block. is_stored: whether its arguments and results are in memory of their own."""
        total = Work()
        read: set[_Value] = set()
        given = set(block.arguments) if is_stored else set()
        for operation in block.operations:
            total += self.operation(operation)
            if not reads_whole(operation):
                continue
            fresh = {one for one in operation.operation.operands if one in given and one not in read}
            read |= fresh
            total += Work(moved=sum(map(self.local_bytes, fresh)))
        if is_stored:
            *_, end = block.operations
            made = {one for one in end.operation.operands if one not in given and not is_written(one)}
            total += Work(moved=sum(map(self.local_bytes, made)))
        return total

    def operation(self, operation: ir.OpView) -> Work:
        """The work of one operation whose operands come before it; what it fuses with moves nothing."""
        if isinstance(operation, stablehlo.WhileOp):
            return self._loop(operation)
        if isinstance(operation, stablehlo.CaseOp):
            branches = [self.block(region.blocks[0], is_stored=False) for region in operation.operation.regions]
            return max(branches, key=lambda one: (one.operations, one.moved), default=Work())
        if isinstance(operation, stablehlo.DotGeneralOp):
            return self._product(operation)
        if isinstance(operation, sdy.ShardingConstraintOp):
            self.note(operation.operation.results[0], result_specs(operation)[0])
            return Work()
        self._follow(operation)
        if isinstance(operation, NO_WORK):
            return Work()
        results = list(operation.operation.results)
        parts = self._parts(self.specs.get(results[0], ())) if results else 1
        if isinstance(operation, stablehlo.ReduceOp):
            return self._reduction(operation)
        cost = cost_of(operation) / parts
        work = Work(operations=cost, convolved=cost if isinstance(operation, stablehlo.ConvolutionOp) else 0.0)
        if isinstance(operation, STORED):
            work += Work(moved=sum(map(self.local_bytes, (*operation.operation.operands, *results))))
        elif isinstance(operation, SLICES):
            work += Work(moved=sum(map(self.local_bytes, results)))
        elif isinstance(operation, stablehlo.DynamicUpdateSliceOp):
            work += Work(moved=2 * self.local_bytes(operation.operation.operands[1]))
        return work

    def _loop(self, loop: stablehlo.WhileOp) -> Work:
        body = loop.operation.regions[1].blocks[0]
        *_, end = body.operations
        rows = list(
            zip(loop.operation.operands, body.arguments, end.operation.operands, loop.operation.results, strict=True)
        )
        for operand, argument, *_ in rows:
            self.note(argument, self.specs.get(operand, ()))
        once = self.block(body, is_stored=False)
        if self._is_divided and self.specs:
            # What the body makes may be divided although what it begins with is not, such as zeros.
            for operand, argument, made, result in rows:
                spec = self.specs.get(operand) or self.specs.get(made, ())
                self.note(argument, spec)
                self.note(result, spec)
            once = self.block(body, is_stored=False)
        return once * trip_count(loop)

    def _product(self, operation: stablehlo.DotGeneralOp) -> Work:
        left, right = operation.operation.operands
        result = operation.operation.results[0]
        numbers = stablehlo.DotDimensionNumbers(operation.attributes["dot_dimension_numbers"])
        specs = [self._spec(one) for one in (left, right)]
        batch = [
            specs[0][one] or specs[1][other]
            for one, other in zip(numbers.lhs_batching_dimensions, numbers.rhs_batching_dimensions, strict=True)
        ]
        contracted = [
            set(specs[0][one]) | set(specs[1][other])
            for one, other in zip(numbers.lhs_contracting_dimensions, numbers.rhs_contracting_dimensions, strict=True)
        ]
        free = [
            [specs[side][one] for one in range(len(specs[side])) if one not in {*batching, *contracting}]
            for side, batching, contracting in (
                (0, numbers.lhs_batching_dimensions, numbers.lhs_contracting_dimensions),
                (1, numbers.rhs_batching_dimensions, numbers.rhs_contracting_dimensions),
            )
        ]
        spec, taken = _once([*batch, *free[0], *free[1]])
        self.note(result, spec)
        summed = set().union(*contracted) - taken
        gathered = {
            axis for axes in free for one in axes for axis in one if _count(axis, [*batch, *free[0], *free[1]]) > 1
        }
        gathered |= set().union(*contracted) & taken
        parts = self._parts(self.specs.get(result, ())) * self._size(summed)
        local = self.local_bytes(result)
        exchanged = 2 * _around(self._size(summed)) * local
        if gathered:
            smaller = min((left, right), key=lambda one: bytes_of(one.type))
            exchanged += _around(self._size(gathered)) * self.local_bytes(smaller) * self._size(gathered)
        moved = local + sum(map(self.local_bytes, (left, right)))
        return Work(cost_of(operation) / parts, moved, exchanged, reordered=self._reordered(operation))

    def _reordered(self, operation: stablehlo.DotGeneralOp) -> tuple[Reordered, ...]:
        if self._island.kind not in REORDERING:
            return ()
        sources = {one: made_of(one, self._held) for one in reordered_operands(operation)}
        return tuple(
            Reordered(self.local_bytes(one), sum(map(self.local_bytes, some)))
            for one, some in sources.items()
            if takes_several(one, some)
        )

    def _reduction(self, operation: stablehlo.ReduceOp) -> Work:
        operands = list(operation.operation.operands)
        value = operands[0]
        parts = self._parts(self.specs.get(value, ()))
        left = {axis for axes in self.specs.get(operation.operation.results[0], ()) for axis in axes}
        summed = {axis for axes in self.specs.get(value, ()) for axis in axes} - left
        local = sum(map(self.local_bytes, operation.operation.results))
        return Work(cost_of(operation) / parts, local, 2 * _around(self._size(summed)) * local)

    def _follow(self, operation: ir.OpView) -> None:
        """Note how the results of an operation are divided, where that follows from its operands."""
        if not self._is_divided or not self.specs:
            return
        operands = [one for one in operation.operation.operands if self.specs.get(one)]
        if not operands:
            return
        first = operands[0]
        if isinstance(operation, stablehlo.GatherOp):
            first = operation.operation.operands[1]
        spec = self.specs.get(first, ())
        for result in operation.operation.results:
            self.note(result, _followed(operation, first, result, spec))

    def note(self, value: _Value, spec: Spec) -> None:
        """Note how a value is divided."""
        if self._is_divided and any(spec) and isinstance(value.type, ir.RankedTensorType):
            self.specs[value] = on_island(spec, value.type.shape, self._island)

    def _spec(self, value: _Value) -> Spec:
        return self.specs.get(value) or ((),) * len(ir.RankedTensorType(value.type).shape)

    def _parts(self, spec: Spec) -> int:
        return prod(self._sizes[axis] for axes in spec for axis in axes)

    def _size(self, axes: set[str]) -> int:
        return prod(self._sizes[axis] for axis in axes)

    def local_bytes(self, value: _Value) -> float:
        """The bytes of a value on each device."""
        return bytes_of(value.type) / self._parts(self.specs.get(value, ()))


def _around(devices: int) -> float:
    """How many times its bytes a device sends so that each of some devices gets what all have."""
    return (devices - 1) / devices


def _count(axis: str, dimensions: Sequence[Sequence[str]]) -> int:
    return sum(axis in axes for axes in dimensions)


def _once(dimensions: Sequence[tuple[str, ...]]) -> tuple[Spec, set[str]]:
    """The dimensions with each axis only where it comes first; and all axes."""
    taken: set[str] = set()
    spec = []
    for axes in dimensions:
        spec.append(tuple(axis for axis in axes if axis not in taken))
        taken.update(axes)
    return tuple(spec), taken


def _followed(operation: ir.OpView, operand: _Value, result: _Value, spec: Spec) -> Spec:
    """How a result is divided if an operand is; empty if that does not follow."""
    if not isinstance(result.type, ir.RankedTensorType):
        return ()
    before, after = ir.RankedTensorType(operand.type).shape, result.type.shape
    if isinstance(operation, stablehlo.TransposeOp):
        return tuple(spec[one] for one in operation.permutation)
    if isinstance(operation, stablehlo.BroadcastInDimOp):
        places = {one: number for number, one in enumerate(operation.broadcast_dimensions)}
        return tuple(spec[places[one]] if one in places else () for one in range(len(after)))
    if isinstance(operation, stablehlo.ReduceOp):
        gone = set(operation.dimensions)
        return tuple(axes for one, axes in enumerate(spec) if one not in gone)
    if isinstance(operation, stablehlo.GatherOp):  # of what is looked up, as many rows as there are numbers of rows
        offsets = set(stablehlo.GatherDimensionNumbers(operation.attributes["dimension_numbers"]).offset_dims)
        rows = iter(spec)
        return tuple(() if one in offsets else next(rows, ()) for one in range(len(after)))
    if isinstance(operation, stablehlo.ReshapeOp):
        return _reshaped(before, after, spec)
    if len(before) == len(after):
        return tuple(axes if size == now else () for axes, size, now in zip(spec, before, after, strict=True))
    return ()


def _reshaped(before: Sequence[int], after: Sequence[int], spec: Spec) -> Spec:
    """A divided dimension stays so where as much stands in front of it as before."""
    in_front, total = {}, 1
    for size, axes in zip(before, spec, strict=True):
        if axes:
            in_front[total] = axes
        total *= size
    found: list[tuple[str, ...]] = []
    total = 1
    for size in after:
        found.append(in_front.pop(total, ()) if size > 1 else ())
        total *= size
    return tuple(found)
