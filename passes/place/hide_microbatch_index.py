"""Pass `hide-microbatch-index`."""

from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir, mpmd, stablehlo
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import INDEX
from atoll.compiler.pipeline.pass_base import Pass


@dataclass(frozen=True)
class HideMicrobatchIndex(Pass):
    """Let a constant stand for the number of the microbatch while shardings are propagated.

    Shardy follows the arguments of a loop's body to the loop's results. The index has none, and Shardy's propagation
    ends the process at the first operation that takes it. `show-microbatch-index` puts it back.

    Requires: phase `staged`.

        mpmd.for (%sum) {...} (%s: tensor<f32>, %index: tensor<ui32>) { %0 = convert %index
        ~~>
        %c = constant {atoll.index} 0
        mpmd.for (%sum) {...} (%s: tensor<f32>, %index: tensor<ui32>) { %0 = convert %c
    """

    def run(self, module: ir.Module) -> None:
        for loop in operations_in(entry_function(module), mpmd.ForOp):
            *_, index = loop.operation.regions[0].blocks[0].arguments
            uses = [(use.owner, use.operand_number) for use in index.uses]
            if not uses:
                continue
            zero = ir.IntegerAttr.get(ir.RankedTensorType(index.type).element_type, 0)
            with ir.InsertionPoint(loop):
                value = ir.DenseElementsAttr.get_splat(index.type, zero)
                constant = stablehlo.ConstantOp(value, loc=loop.location)
            constant.operation.attributes[INDEX] = ir.UnitAttr.get()
            for user, number in uses:
                user.operation.operands[number] = constant.result
