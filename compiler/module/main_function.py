"""The entry function of a module."""

from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import functions_in

# What the entry function is called.
MAIN = "main"


def entry_function(module: ir.Module) -> func.FuncOp:
    """`@main`, which has exactly one block; an error at the module if there is none such."""
    main = functions_in(module).get(MAIN)
    if main is None:
        raise refuse(module.operation.location, "the module has no function @main", "name the entry function @main")
    if len(list(main.regions[0].blocks)) != 1:
        raise refuse(main.location, "@main must have one block", "use structured control flow")
    return main
