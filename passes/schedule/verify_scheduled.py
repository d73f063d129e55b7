"""Pass `verify-scheduled`."""

from dataclasses import dataclass

from atoll.compiler.diagnostics import refuse
from atoll.compiler.entry import PHASE, check_paths, entry_function
from atoll.compiler.functions import body_of
from atoll.compiler.mlir import func, ir, mpmd
from atoll.compiler.pass_base import Pass

_ALLOWED = (mpmd.FragmentCallOp, mpmd.TransferOp, func.ReturnOp)


@dataclass(frozen=True)
class VerifyScheduled(Pass):
    """Check that the module is in phase `scheduled`, and record it.

    `@main` holds nothing but fragment calls and transfers, and every argument and result names its pytree
    path, each path once.

    Requires: phase `placed`.

        module attributes {atoll.phase = "placed"} {...}
        ~~>
        module attributes {atoll.phase = "scheduled"} {...}
    """

    def run(self, module: ir.Module) -> None:
        main = entry_function(module)
        for operation in body_of(main).operations:
            if not isinstance(operation, _ALLOWED):
                what = f"{operation.operation.name} stands in @main, outside of every fragment"
                raise refuse(operation.location, what, "run outline-fragments")
        check_paths(main)
        module.operation.attributes[PHASE] = ir.StringAttr.get("scheduled")
