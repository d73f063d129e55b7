"""What an operation costs, counted from its types: floating-point operations, or elements where there are none."""

from collections.abc import Iterator
from math import prod

from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.module.graph import elements_of


def cost_of(operation: ir.OpView) -> int:
    """The cost of one operation; a loop's body counts once for each iteration, if the number of these is known."""
    if isinstance(operation, stablehlo.WhileOp):
        condition, body = operation.operation.regions
        return trip_count(operation) * (_cost_of_region(condition) + _cost_of_region(body))
    if isinstance(operation, stablehlo.CaseOp):
        return max(map(_cost_of_region, operation.operation.regions))
    if isinstance(operation, stablehlo.DotGeneralOp):
        return 2 * _result_elements(operation) * _contracted(operation)
    if isinstance(operation, stablehlo.ConvolutionOp):
        return 2 * _result_elements(operation) * _kernel_elements(operation)
    if isinstance(operation, (stablehlo.ReduceOp, stablehlo.ReduceWindowOp, stablehlo.SortOp)):
        return sum(elements_of(operand.type) for operand in operation.operation.operands)
    return _result_elements(operation)


def costs_within(operation: ir.OpView, times: int = 1) -> Iterator[tuple[ir.OpView, int]]:
    """The same for each operation that stands in no other's stead; together they are what the outer one costs."""
    if isinstance(operation, stablehlo.WhileOp):
        regions = list(operation.operation.regions)
        times *= trip_count(operation)
    elif isinstance(operation, stablehlo.CaseOp):
        regions = [max(operation.operation.regions, key=_cost_of_region)]
    else:
        yield operation, times * cost_of(operation)
        return
    for region in regions:
        for inner in (inner for block in region.blocks for inner in block.operations):
            yield from costs_within(inner, times)


def _cost_of_region(region: ir.Region) -> int:
    return sum(cost_of(operation) for block in region.blocks for operation in block.operations)


def _result_elements(operation: ir.OpView) -> int:
    return sum(elements_of(result.type) for result in operation.operation.results)


def _contracted(operation: stablehlo.DotGeneralOp) -> int:
    numbers = stablehlo.DotDimensionNumbers(operation.attributes["dot_dimension_numbers"])
    shape = ir.RankedTensorType(operation.operation.operands[0].type).shape
    return prod(shape[dimension] for dimension in numbers.lhs_contracting_dimensions)


def _kernel_elements(operation: stablehlo.ConvolutionOp) -> int:
    """How many elements of the kernel one element of the result takes."""
    numbers = stablehlo.ConvDimensionNumbers(operation.attributes["dimension_numbers"])
    shape = ir.RankedTensorType(operation.operation.operands[1].type).shape
    return prod(shape) // max(1, shape[numbers.kernel_output_feature_dimension])


def trip_count(loop: stablehlo.WhileOp) -> int:
    """The constant that the loop's counter is compared with, as `lax.scan` and `fori_loop` write it; 1 if unknown."""
    condition = loop.operation.regions[0].blocks[0]
    for comparison in condition.operations:
        if not isinstance(comparison, stablehlo.CompareOp):
            continue
        bound = comparison.operation.operands[1].owner
        if isinstance(bound, ir.OpView) and isinstance(bound, stablehlo.ConstantOp):
            value = bound.attributes["value"]
            if isinstance(value, ir.DenseIntElementsAttr) and value.is_splat:
                return max(1, int(value[0]))
    return 1
