"""What becomes of a float32 before anything is computed of it, on devices that multiply in bfloat16."""

from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.functions import operations_in

_Value = ir.Value[ir.Type]

# What only chooses or moves elements of its first operand.
_VIEWS = frozenset(
    (
        "sdy.sharding_constraint",
        "stablehlo.broadcast_in_dim",
        "stablehlo.dynamic_slice",
        "stablehlo.gather",
        "stablehlo.reshape",
        "stablehlo.reverse",
        "stablehlo.slice",
        "stablehlo.transpose",
    )
)
_DEFAULT = "#stablehlo<precision DEFAULT>"


def is_float32(value: "_Value") -> bool:
    return isinstance(value.type, ir.RankedTensorType) and isinstance(value.type.element_type, ir.F32Type)


def takes_rounded(user: ir.OpView, value: "_Value") -> bool:
    """Whether an operation, with all that its regions hold, takes of a float32 value no more than bfloat16 has.

    So does a conversion; and a product of float32 in the default precision, as TPUs round both sides of it.
    """
    return all(
        _rounds(inner, number)
        for inner in operations_in(user, ir.OpView)
        for number, operand in enumerate(inner.operation.operands)
        if operand == value
    )


def _rounds(user: ir.OpView, number: int) -> bool:
    if user.operation.name in _VIEWS:
        return number == 0 and _all_round(user.operation.results[0])
    match user:
        case stablehlo.OptimizationBarrierOp():
            return _all_round(user.operation.results[number])
        case stablehlo.ConvertOp():
            return isinstance(ir.ShapedType(user.operation.results[0].type).element_type, ir.BF16Type)
        case stablehlo.DotGeneralOp() | stablehlo.ConvolutionOp():
            floats = all(map(is_float32, user.operation.operands))
            return floats and _is_default(user.operation) and _is_for_matrices(user)
        case stablehlo.WhileOp():
            return _loop_rounds(user, number)
    return False


def _is_default(product: ir.Operation) -> bool:
    attributes = product.attributes
    if "algorithm" in attributes:
        return False
    return "precision_config" not in attributes or all(
        str(one) == _DEFAULT for one in ir.ArrayAttr(attributes["precision_config"])
    )


def _is_for_matrices(product: stablehlo.DotGeneralOp | stablehlo.ConvolutionOp) -> bool:
    """Whether the units that multiply matrices do it. What multiplies by vectors, or channel by channel, XLA may do
    elsewhere, where nothing is rounded."""
    if isinstance(product, stablehlo.ConvolutionOp):
        groups = ("feature_group_count", "batch_group_count")
        return all(ir.IntegerAttr(product.attributes[one]).value == 1 for one in groups)
    numbers = stablehlo.DotDimensionNumbers(product.attributes["dot_dimension_numbers"])
    sides = zip(
        product.operation.operands,
        (numbers.lhs_batching_dimensions, numbers.rhs_batching_dimensions),
        (numbers.lhs_contracting_dimensions, numbers.rhs_contracting_dimensions),
        strict=True,
    )
    return all(
        any(size > 1 for one, size in enumerate(ir.RankedTensorType(side.type).shape) if one not in {*batch, *summed})
        for side, batch, summed in sides
    )


def _loop_rounds(loop: stablehlo.WhileOp, number: int) -> bool:
    """Whether each iteration hands a value on to the next as it is, and otherwise rounds it."""
    blocks = [region.blocks[0] for region in loop.operation.regions]
    body = blocks[1]
    *_, end = body.operations
    return (
        end.operation.operands[number] == body.arguments[number]
        and not list(loop.operation.results[number].uses)
        and all(_all_round(block.arguments[number], kept=(end.operation, number)) for block in blocks)
    )


def _all_round(value: "_Value", kept: "tuple[ir.Operation, int] | None" = None) -> bool:
    """kept: the one use that need not round, as it hands the value on."""
    uses = [(use.owner.operation, use.operand_number) for use in value.uses]
    return all(use == kept or _rounds(use[0].opview, use[1]) for use in uses)
