"""Pass `verify-scheduled`."""

from dataclasses import dataclass

from atoll.compiler.diagnostics import refuse
from atoll.compiler.entry import PATH, PHASE, entry_function, text_attribute
from atoll.compiler.functions import argument_attributes, body_of, result_attributes
from atoll.compiler.mlir import func, ir, mpmd
from atoll.compiler.pass_base import Pass

_ALLOWED = (mpmd.FragmentCallOp, mpmd.TransferOp, func.ReturnOp)


@dataclass(frozen=True)
class VerifyScheduled(Pass):
    """Check that the module is in phase `scheduled`, and record it.

    `@main` holds nothing but fragment calls and transfers, and every argument and result names its pytree path.

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
        for kind, marks in (("argument", argument_attributes(main)), ("result", result_attributes(main))):
            for number, attributes in enumerate(marks):
                if text_attribute(attributes, PATH) is None:
                    raise refuse(main.location, f"{kind} {number} of @main has no {PATH}", "add it")
        module.operation.attributes[PHASE] = ir.StringAttr.get("scheduled")
