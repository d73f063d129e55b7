"""Pass `verify-stablehlo`."""

from dataclasses import dataclass

from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import func, ir, sdy
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.effects import acts
from atoll.compiler.mlir.functions import (
    argument_attributes,
    arguments_of,
    functions_in,
    is_used,
    operations_in,
)
from atoll.compiler.module.interface import batch_dimension, check_paths
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marking import check_marks
from atoll.compiler.module.marks import PATH, PHASE
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.pipeline.pass_base import Pass

# They act as part of what takes their tokens.
_MAKE_TOKENS = frozenset(("stablehlo.after_all", "stablehlo.create_token"))


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
        _check_arrays(main)
        for argument in arguments_of(main):
            if not is_used(argument):
                what = f"argument {argument.arg_number} of @main is never used"
                raise refuse(argument.location, what, "run drop-dead-arguments")
        check_paths(main, replicas_of(module))
        _check_batch(main)
        module.operation.attributes[PHASE] = ir.StringAttr.get("stablehlo")


def _check_arrays(main: func.FuncOp) -> None:
    """Refuse what is no array, at any depth. It may be a token, which would order what islands do."""
    for argument in arguments_of(main):
        if not isinstance(argument.type, ir.RankedTensorType):
            what = f"argument {argument.arg_number} of @main is a {argument.type}, which no island can hold"
            raise refuse(argument.location, what, "leave only arrays in @main")
    others = [one for one in operations_in(main, ir.OpView) if not all(map(_is_array, one.operation.results))]
    if others:
        # Tokens are made and handed on for an operation that acts on the world: that is the user's line.
        acting = (one for one in others if acts(one) and one.operation.name not in _MAKE_TOKENS)
        one = next(acting, others[0])
        type_ = next(result.type for result in one.operation.results if not _is_array(result))
        in_order = "take it out; what calls Python need not be ordered"
        remedy = in_order if acts(one) else "leave only arrays in @main"
        raise refuse(one.location, f"{one.operation.name} makes a {type_}, which no island can send to another", remedy)


def _is_array(value: "ir.Value[ir.Type]") -> bool:
    return isinstance(value.type, ir.RankedTensorType)


def _check_batch(main: func.FuncOp) -> None:
    sizes: dict[int, str] = {}  # size -> the first argument that has it
    for argument, attribute in zip(arguments_of(main), argument_attributes(main), strict=True):
        dimension = batch_dimension(attribute)
        if dimension is None:
            continue
        type_, path = argument.type, text_attribute(attribute, PATH) or ""  # it has one: `check_paths`
        if not isinstance(type_, ir.RankedTensorType) or not 0 <= dimension < type_.rank:
            what = f"{path} carries the batch but has no axis {dimension}"
            raise refuse(argument.location, what, "leave it out of the batch")
        if type_.is_dynamic_dim(dimension):
            raise refuse(argument.location, f"{path} carries a batch of unknown size", "compile for a fixed shape")
        sizes.setdefault(type_.get_dim_size(dimension), path)
        if len(sizes) > 1:
            (size, first), (other, second) = sizes.items()
            what = f"the batch has {size} examples in {first} and {other} in {second}"
            raise refuse(
                argument.location, what, "let only arguments carry it that have the batch, each along its axis"
            )
