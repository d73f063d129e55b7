"""Pass `drop-empty-values`."""

import logging
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.effects import has_effect
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.pipeline.pass_base import Pass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DropEmptyValues(Pass):
    """Make constants of arrays without elements, whatever they were computed from.

    `jax.lax.associative_scan` pads and slices down to such arrays at the end of its recursion. As results of the model
    they would be free to send, so that stages would be cut as if nothing flowed there, and wait for each other.

    Requires: phase `timed`.

        %0 = slice %x [0:4, 0:0]
        ~~>
        %0 = constant dense<>
    """

    def run(self, module: ir.Module) -> None:
        count = 0
        for operation in reversed(operations_in(module.operation, ir.OpView)):  # inner ones before what holds them
            if _is_replaceable(operation):
                _replace(operation)
                count += 1
        log.info("%d arrays without elements became constants", count)


def _is_replaceable(operation: ir.OpView) -> bool:
    results = operation.operation.results
    if not len(results) or isinstance(operation, stablehlo.ConstantOp):
        return False
    return all(_is_empty(result.type) for result in results) and not has_effect(operation)


def _is_empty(kind: ir.Type) -> bool:
    return isinstance(kind, ir.RankedTensorType) and 0 in kind.shape


def _replace(operation: ir.OpView) -> None:
    for result in operation.operation.results:
        # As text: there is no class in Python for constants of complex numbers.
        kind = result.type
        text = f'"stablehlo.constant"() {{value = dense<> : {kind}}} : () -> {kind} {operation.location}'
        constant = ir.Operation.parse(text, context=operation.context)
        ir.InsertionPoint(operation).insert(constant)
        result.replace_all_uses_with(constant.operation.results[0])
    operation.operation.erase()
