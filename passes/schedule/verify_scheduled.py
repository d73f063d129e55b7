"""Pass `verify-scheduled`."""

from dataclasses import dataclass

from atoll.compiler.entry import PHASE, check_paths, entry_function
from atoll.compiler.mlir import ir, mpmd
from atoll.compiler.pass_base import Pass
from atoll.compiler.tasks import check_dataflow


@dataclass(frozen=True)
class VerifyScheduled(Pass):
    """Check that the module is in phase `scheduled`, and record it.

    `@main` and the functions of microbatches hold nothing but fragment calls, transfers and loops, and every argument
    and result of `@main` names its pytree path, each path once.

    Requires: phase `placed`.

        module attributes {atoll.phase = "placed"} {...}
        ~~>
        module attributes {atoll.phase = "scheduled"} {...}
    """

    def run(self, module: ir.Module) -> None:
        main = entry_function(module)
        check_dataflow(module, mpmd.FragmentCallOp, "run outline-fragments")
        check_paths(main)
        module.operation.attributes[PHASE] = ir.StringAttr.get("scheduled")
