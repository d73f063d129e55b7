"""What an operation costs, counted from its types: floating-point operations, or elements where there are none.

`tests/compiler/test_counts.py` compares it with what XLA counts, and says where they differ and why.
"""

from collections.abc import Iterator
from math import prod

from atoll.compiler.cost.windows import meetings
from atoll.compiler.mlir.bindings import chlo, ir, stablehlo
from atoll.compiler.mlir.constants import splat_integer
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
    if isinstance(operation, chlo.RaggedDotOp):
        return 2 * _elements_of_groups(operation)
    if isinstance(operation, stablehlo.ConvolutionOp):
        return _cost_of_convolution(operation)
    if isinstance(operation, stablehlo.ReduceOp):
        return _given_elements(operation) - _result_elements(operation)
    if isinstance(operation, stablehlo.ReduceWindowOp):
        return _cost_of_windows(operation)
    if isinstance(operation, stablehlo.SortOp):
        return _cost_of_sort(operation)
    if isinstance(operation, (stablehlo.DynamicUpdateSliceOp, stablehlo.ScatterOp)):
        return _updated_elements(operation)
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


def _elements_of_groups(operation: chlo.RaggedDotOp) -> int:
    """How many pairs of elements are multiplied: each row with the weights of its group alone."""
    numbers = chlo.RaggedDotDimensionNumbers(operation.attributes["ragged_dot_dimension_numbers"])
    shape = ir.RankedTensorType(operation.operation.operands[0].type).shape
    contracted = prod(shape[dimension] for dimension in numbers.lhs_contracting_dimensions)
    is_by_group = set(numbers.lhs_ragged_dimensions) <= set(numbers.lhs_contracting_dimensions)
    groups = ir.RankedTensorType(operation.operation.operands[2].type).shape[-1] if is_by_group else 1
    return _result_elements(operation) * contracted // groups


def _cost_of_convolution(operation: stablehlo.ConvolutionOp) -> int:
    """Two for each element of the image that meets one of the kernel; padding and gaps meet none."""
    image, kernel, result = (
        ir.RankedTensorType(value.type).shape for value in (*operation.operation.operands, operation.result)
    )
    numbers = stablehlo.ConvDimensionNumbers(operation.attributes["dimension_numbers"])
    dimensions = zip(
        numbers.input_spatial_dimensions,
        numbers.kernel_spatial_dimensions,
        numbers.output_spatial_dimensions,
        strict=True,
    )
    met = 2 * result[numbers.output_batch_dimension] * prod(kernel)
    for number, (of, window, made) in enumerate(dimensions):
        met = (met // kernel[window] if kernel[window] else 0) * meetings(
            image[of],
            kernel[window],
            result[made],
            stride=_window_number(operation, "window_strides", number, 1),
            low=_window_number(operation, "padding", 2 * number, 0),
            between=_window_number(operation, "lhs_dilation", number, 1),
            apart=_window_number(operation, "rhs_dilation", number, 1),
        )
    return met


def _window_number(operation: stablehlo.ConvolutionOp, name: str, number: int, usual: int) -> int:
    if name not in operation.attributes:
        return usual
    attribute = operation.attributes[name]
    if isinstance(attribute, ir.DenseIntElementsAttr):
        return attribute[number]
    return ir.DenseI64ArrayAttr(attribute)[number]


def _given_elements(operation: ir.OpView) -> int:
    """The elements of the first half of the operands; the second half is what a reduction begins with."""
    operands = list(operation.operation.operands)
    return sum(elements_of(one.type) for one in operands[: len(operands) // 2])


def _cost_of_windows(operation: stablehlo.ReduceWindowOp) -> int:
    """Each result combines a window. One as long as its dimension makes a running sum, by halves, there and back."""
    first = ir.RankedTensorType(operation.operation.operands[0].type).shape
    sizes = [
        2 * size.bit_length() if size == length > 1 else size
        for size, length in zip(ir.DenseI64ArrayAttr(operation.attributes["window_dimensions"]), first, strict=True)
    ]
    return _result_elements(operation) * max(1, prod(sizes) - 1)


def _cost_of_sort(operation: stablehlo.SortOp) -> int:
    """Each element is compared as often as its row can be halved."""
    operands = list(operation.operation.operands)
    length = ir.RankedTensorType(operands[0].type).shape[ir.IntegerAttr(operation.attributes["dimension"]).value]
    return sum(elements_of(one.type) for one in operands) * max(1, (length - 1).bit_length())


def _updated_elements(operation: ir.OpView) -> int:
    """Those that are written; the others stay where they are."""
    operands = list(operation.operation.operands)
    if isinstance(operation, stablehlo.DynamicUpdateSliceOp):
        return elements_of(operands[1].type)
    return sum(elements_of(one.type) for one in operands[len(operands) // 2 + 1 :])


def trip_count(loop: stablehlo.WhileOp) -> int:
    """The constant that the loop's counter is compared with, as `lax.scan` and `fori_loop` write it; 1 if unknown."""
    condition = loop.operation.regions[0].blocks[0]
    for comparison in condition.operations:
        if not isinstance(comparison, stablehlo.CompareOp):
            continue
        bound = comparison.operation.operands[1].owner
        if isinstance(bound, ir.OpView) and isinstance(bound, stablehlo.ConstantOp):
            number = splat_integer(bound.operation)
            if number is not None:
                return max(1, number)
    return 1
