"""Which values are in memory: those of elementwise operations are made where they are used."""

from atoll.compiler.mlir.bindings import func, ir, stablehlo

# Operations whose operands and results are in memory. All others are fused with what makes or uses their values.
STORED = (
    stablehlo.DotGeneralOp,
    stablehlo.ConvolutionOp,
    stablehlo.SortOp,
    stablehlo.FftOp,
    stablehlo.ScatterOp,
    stablehlo.ReduceWindowOp,
    stablehlo.SelectAndScatterOp,
    stablehlo.CustomCallOp,
    stablehlo.RngBitGeneratorOp,
)
# These read of their first operand only what they make.
SLICES = (stablehlo.DynamicSliceOp, stablehlo.SliceOp, stablehlo.GatherOp)
NO_WORK = (stablehlo.ConstantOp, stablehlo.ReshapeOp, stablehlo.ReturnOp, func.ReturnOp, stablehlo.IotaOp)


def reads_whole(operation: ir.OpView) -> bool:
    """Whether an operation reads all of what it takes without counting that, as values are made where they are used."""
    counts = (*STORED, stablehlo.WhileOp, stablehlo.CaseOp, *SLICES, *NO_WORK, stablehlo.DynamicUpdateSliceOp)
    return not isinstance(operation, counts)


def is_written(value: ir.Value[ir.Type]) -> bool:
    """Whether what makes a value counts that it writes it; another order of its elements is written at once."""
    owner = value.owner
    if isinstance(owner, (stablehlo.TransposeOp, stablehlo.ReshapeOp)):
        return is_written(owner.operation.operands[0])
    return isinstance(owner, (*STORED, stablehlo.WhileOp, stablehlo.DynamicUpdateSliceOp))
