"""Pass `verify-timed`."""

from dataclasses import dataclass

from atoll.compiler.entry import PHASE
from atoll.compiler.mlir import ir
from atoll.compiler.pass_base import Pass


@dataclass(frozen=True)
class VerifyTimed(Pass):
    """Check that the module is in phase `timed`, and record it.

    Requires: phase `stablehlo`.

        module attributes {atoll.phase = "stablehlo"} {...}
        ~~>
        module attributes {atoll.phase = "timed"} {...}
    """

    def run(self, module: ir.Module) -> None:
        module.operation.attributes[PHASE] = ir.StringAttr.get("timed")
