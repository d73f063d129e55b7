"""Pass `show-microbatch-index`."""

from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir, mpmd, stablehlo
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import INDEX
from atoll.compiler.pipeline.pass_base import Pass


@dataclass(frozen=True)
class ShowMicrobatchIndex(Pass):
    """Put the number of the microbatch back where a constant stood for it.

    Requires: `hide-microbatch-index` before.

        %c = constant {atoll.index} 0
        mpmd.for (%sum) {...} (%s: tensor<f32>, %index: tensor<ui32>) { %0 = convert %c
        ~~>
        mpmd.for (%sum) {...} (%s: tensor<f32>, %index: tensor<ui32>) { %0 = convert %index
    """

    def run(self, module: ir.Module) -> None:
        hidden = []
        for operation in operations_in(entry_function(module), ir.OpView):
            if isinstance(operation, stablehlo.ConstantOp) and INDEX in operation.operation.attributes:
                hidden.append(operation)
            elif isinstance(operation, mpmd.ForOp):
                # A constant stands in front of its own loop, and after the loop before that.
                *_, index = operation.operation.regions[0].blocks[0].arguments
                for constant in hidden:
                    constant.result.replace_all_uses_with(index)
                    constant.operation.erase()
                hidden.clear()
