"""Which values a product takes in another order than that in which they are made.

XLA multiplies matrices: of several dimensions that are summed up, or that are left, it makes one. In the first operand
those that are summed up come last, and in the second one first, so where they do not, the value is written in that
order before, as for the gradient of weights that many positions of each example share. A matrix is taken in either
order. Elementwise operations are done on the way, and where they take several values, all of these are read across
their order, one element here and one there. A single value is copied block by block, which takes next to nothing.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from atoll.compiler.cost.stored_values import NO_WORK, STORED, reads_whole
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.module.graph import elements_of

_Value = ir.Value[ir.Type]

# Fused with nothing that comes behind them, beside those that are in memory.
_ENDS = (stablehlo.ReduceOp, stablehlo.ConcatenateOp)


class Reordered(NamedTuple):
    """Values that are computed of several others in another order than these have.

    made: the bytes of one on each device. read: those of what it is made of. times: how many there are.
    """

    made: float
    read: float
    times: float = 1.0


def reordered_operands(product: stablehlo.DotGeneralOp) -> list[_Value]:
    """The operands that are put in another order first."""
    left, right = product.operation.operands
    numbers = stablehlo.DotDimensionNumbers(product.attributes["dot_dimension_numbers"])
    found = []
    if _is_out_of_order(left, numbers.lhs_batching_dimensions, numbers.lhs_contracting_dimensions, is_left=True):
        found.append(left)
    if _is_out_of_order(right, numbers.rhs_batching_dimensions, numbers.rhs_contracting_dimensions, is_left=False):
        found.append(right)
    return found


def _is_out_of_order(value: _Value, batching: Iterable[int], contracting: Iterable[int], is_left: bool) -> bool:
    shape = ir.RankedTensorType(value.type).shape
    batch, summed = ([one for one in some if shape[one] > 1] for some in (batching, contracting))
    free = [one for one, size in enumerate(shape) if size > 1 and one not in {*batch, *summed}]
    order = [*batch, *free, *summed] if is_left else [*batch, *summed, *free]
    is_matrix = len(free) <= 1 and len(summed) <= 1 and batch == sorted(order)[: len(batch)]
    keeps_rows = order[-1:] == sorted(order)[-1:]  # what is together stays so, and that is fast
    return not (is_matrix or keeps_rows)


def takes_several(value: _Value, sources: Iterable[_Value]) -> bool:
    """Whether a value is computed of more than one that has as many elements."""
    count = elements_of(value.type)
    return sum(elements_of(one.type) == count for one in sources) > 1


def made_of(value: _Value, held: Collection[_Value]) -> set[_Value]:
    """What is in memory of that which a value is computed of. held: what is kept there beside what operations store."""
    found: set[_Value] = set()
    seen, pending = {value}, [value]
    while pending:
        one = pending.pop()
        owner = one.owner
        if isinstance(owner, (stablehlo.ConstantOp, stablehlo.IotaOp)):
            continue
        if isinstance(owner, ir.Block) or _is_stored_by(owner) or (one != value and (one in held or _is_stored(one))):
            found.add(one)
            continue
        fresh = [operand for operand in owner.operation.operands if operand not in seen]
        seen.update(fresh)
        pending += fresh
    return found


def _is_stored_by(maker: ir.OpView) -> bool:
    return isinstance(maker, _ENDS) or not (reads_whole(maker) or isinstance(maker, NO_WORK))


def _is_stored(value: _Value) -> bool:
    """Whether one of those that use a value takes it from memory."""
    return any(isinstance(use.owner, STORED) for use in value.uses)
