"""Pass `verify-stablehlo`."""

from dataclasses import dataclass

from atoll.compiler.mlir.bindings import func, ir, sdy
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import (
    argument_attributes,
    arguments_of,
    body_of,
    functions_in,
    operations_in,
)
from atoll.compiler.module.interface import check_paths
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marking import check_marks
from atoll.compiler.module.marks import BATCH, PHASE
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.pipeline.pass_base import Pass


@dataclass(frozen=True)
class VerifyStablehlo(Pass):
    """Check that the module is in phase `stablehlo`, and record it.

    One function `@main`, without calls, and nothing beside it but meshes; every value in it an array; no dead
    arguments; every argument and result names its pytree path, each path once; the arguments that carry the batch agree
    on its size.

    Requires: nothing.

        module { func.func @main(...) {...} }
        ~~>
        module attributes {atoll.phase = "stablehlo"} { func.func @main(...) {...} }
    """

    def run(self, module: ir.Module) -> None:
        main = entry_function(module)
        check_marks(module, "stablehlo")
        for name, function in functions_in(module).items():
            if name != "main":
                raise refuse(function.location, f"@{name} is left beside @main", "run inline-calls and symbol-dce")
        for operation in module.body.operations:
            if not isinstance(operation, (func.FuncOp, sdy.MeshOp)):
                what = f"{operation.operation.name} stands beside @main"
                raise refuse(operation.location, what, "leave only @main, and meshes, in the module")
        for call in operations_in(main, func.CallOp):
            raise refuse(call.location, "a call is left in @main", "run inline-calls")
        for operation in body_of(main).operations:
            for result in operation.operation.results:
                if not isinstance(result.type, ir.RankedTensorType):
                    # A token would order what different islands do.
                    what = f"{operation.operation.name} makes a {result.type}, which no island can send to another"
                    raise refuse(operation.location, what, "leave only arrays in @main")
        for argument in arguments_of(main):
            if not list(argument.uses):
                what = f"argument {argument.arg_number} of @main is never used"
                raise refuse(argument.location, what, "run drop-dead-arguments")
        check_paths(main, replicas_of(module))
        _check_batch(main)
        module.operation.attributes[PHASE] = ir.StringAttr.get("stablehlo")


def _check_batch(main: func.FuncOp) -> None:
    sizes: dict[int, int] = {}  # size -> the first argument that has it
    for argument, attribute in zip(arguments_of(main), argument_attributes(main), strict=True):
        if BATCH not in attribute:
            continue
        type_ = argument.type
        if not isinstance(type_, ir.RankedTensorType) or not type_.rank:
            what = f"argument {argument.arg_number} carries the batch but has no axis 0"
            raise refuse(argument.location, what, f"remove {BATCH} from it")
        if type_.is_dynamic_dim(0):
            what = f"argument {argument.arg_number} carries a batch of unknown size"
            raise refuse(argument.location, what, "compile for a fixed shape")
        sizes.setdefault(type_.get_dim_size(0), argument.arg_number)
        if len(sizes) > 1:
            (size, first), (other, second) = sizes.items()
            what = f"the batch has {size} examples in argument {first} and {other} in argument {second}"
            raise refuse(argument.location, what, f"mark with {BATCH} only what has the batch on axis 0")
