"""Pass `chain-scalars`."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.operations.cheap_operations import is_scalar

log = logging.getLogger(__name__)

_Value = ir.Value[ir.Type]

# For integers and booleans these give the same bits in any order.
_ANY_ORDER = frozenset(f"stablehlo.{name}" for name in ("add", "and", "maximum", "minimum", "or", "xor"))
_SPREADS = (stablehlo.BroadcastInDimOp, stablehlo.ReshapeOp)


@dataclass(frozen=True)
class ChainScalars(Pass):
    """Combine scalars one by one, instead of stacking them first, where the order does not matter.

    Take the question whether all gradients are finite: stacked, every scalar would be sent to where the stack is. One
    by one, a stage combines its own scalars, and sends one on.

    Requires: phase `timed`.

          %0 = concatenate %a, %b, dim = 0 : (tensor<1xi1>, tensor<1xi1>) -> tensor<2xi1>
          %1 = reduce(%0 init: %true) applies and across dimensions = [0]
        ~~>
          %0 = and %a, %b : tensor<i1>
          %1 = and %true, %0 : tensor<i1>
    """

    def run(self, module: ir.Module) -> None:
        found = 0
        for reduce in operations_in(entry_function(module), stablehlo.ReduceOp):
            scalars = _stacked(reduce)
            if scalars and _may_reorder(reduce):
                found += 1
                _chain(reduce, scalars)
        if not found:
            log.info("nothing to do: no stacked scalars are combined")


def _stacked(reduce: stablehlo.ReduceOp) -> list[_Value]:
    """The scalars that are combined, if nothing but scalars is; an empty list otherwise."""
    operation = reduce.operation
    if len(operation.results) != 1 or not is_scalar(operation.results[0]):
        return []
    found = list(_parts(operation.operands[0]))
    scalars = [value for value in found if value is not None]
    return scalars if len(scalars) == len(found) > 1 else []


def _parts(value: _Value) -> Iterator[_Value | None]:
    """What a stack is made of, in order; None for what is no scalar."""
    left = [value]
    while left:
        one = left.pop()
        maker = one.owner
        if isinstance(maker, stablehlo.ConcatenateOp):
            left += reversed(list(maker.operation.operands))
        elif isinstance(maker, _SPREADS) and is_scalar(maker.operation.operands[0]) and is_scalar(one):
            yield maker.operation.operands[0]
        else:
            yield None


def _may_reorder(reduce: stablehlo.ReduceOp) -> bool:
    combine, *others = reduce.operation.regions[0].blocks[0].operations
    element = ir.RankedTensorType(reduce.operation.results[0].type).element_type
    return not others[1:] and isinstance(element, ir.IntegerType) and combine.operation.name in _ANY_ORDER


def _chain(reduce: stablehlo.ReduceOp, scalars: list[_Value]) -> None:
    operation = reduce.operation
    name = operation.regions[0].blocks[0].operations[0].operation.name
    kind = operation.results[0].type
    with ir.InsertionPoint(reduce), reduce.location:
        so_far = _as(kind, scalars[0])
        for scalar in (*scalars[1:], operation.operands[1]):
            so_far = ir.Operation.create(name, [kind], [so_far, _as(kind, scalar)]).result
    operation.results[0].replace_all_uses_with(so_far)
    operation.erase()


def _as(kind: ir.Type, value: _Value) -> _Value:
    """A scalar of that type, which has the same element."""
    if value.type == kind:
        return value
    made: _Value = ir.Operation.create("stablehlo.reshape", [kind], [value]).result
    return made
