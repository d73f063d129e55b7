"""Pass `mark-arguments`."""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import func, ir, sdy
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import (
    argument_attributes,
    arguments_of,
    functions_in,
    is_private,
    operations_in,
    result_attributes,
    set_public,
)
from atoll.compiler.module.main_function import MAIN, entry_function
from atoll.compiler.module.marking import mark_signature
from atoll.compiler.module.marks import BATCH, DONATED, PATH
from atoll.compiler.module.shardings import MESH
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.plan.scope_patterns import ScopePatterns, path_components
from atoll.compiler.plan.stage_text import Pattern
from atoll.compiler.text.language import known_names, shown

log = logging.getLogger(__name__)

# What jax writes of an argument that it donates, and of a result.
_GIVEN_AWAY = ("tf.aliasing_output", "jax.buffer_donor")
_RESULT_INFO = "jax.result_info"
# What XLA writes of all arguments that it donates, as torch-xla has it.
_ALIASES = "mhlo.input_output_alias"
# What `jax.export` says of an argument that callers do not give: the number of a platform, or a size.
_CONSTANT = "jax.global_constant"
# What says in GSPMD's words how a value is divided, and the words for one that is not.
_GSPMD = "mhlo.sharding"
_WHOLE = ("{replicated}", "{maximal device=0}")

_RESULT = "result"
# A path as jax writes it: the name of an argument, and the keys that lead to a leaf.
_PATH = re.compile(r"[^\W\d]\w*(\[[^\]]*\]|\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class MarkArguments(Pass):
    """Say of the arguments and results of @main what they are called, and which are donated or carry the batch.

    A module that atoll exported says all of this. One that jax or another program wrote says what is donated; names are
    in the locations of its arguments, if it was written with these. An argument without a name is called `arg0`, by its
    number, and a result `result[0]`. If there is no @main, the only public function becomes it.

    The options name arguments by path, by the pytree that they are in, or by a pattern, as a plan does.

    Requires: nothing.

        func.func @main(%w: tensor<4xf32> {tf.aliasing_output = 0 : i32} loc("w"), %x: tensor<8xf32>)
            -> (tensor<4xf32> {jax.result_info = "result"})
        ~~>
        func.func @main(%w: tensor<4xf32> {atoll.donated, atoll.path = "w"}, %x: tensor<8xf32> {atoll.path = "arg1"})
            -> (tensor<4xf32> {atoll.path = "result"})
    """

    batch: tuple[str, ...] = ()
    donate: tuple[str, ...] = ()

    def run(self, module: ir.Module) -> None:
        main = _main(module)
        attributes = [*argument_attributes(main), *result_attributes(main)]
        is_named = any(PATH in one for one in attributes)
        if is_named and not self.batch and not self.donate:
            log.info("nothing to do: the module says what its arguments are called")
            return
        if not is_named:
            _check_plain(module, main)
            _hide_others(module)
        paths = _paths(main) if is_named else _new_paths(main)
        batch, donated = _chosen(main, paths, self.batch), _chosen(main, paths, self.donate) | _donated(module, main)
        arguments = [_marks(path, number in batch, number in donated) for number, path in enumerate(paths)]
        results: list[dict[str, ir.Attribute]] = [{}] * len(result_attributes(main))
        if not is_named:
            named = _result_paths(main, is_paired=all(_name_of(main, number) for number in donated))
            results = [_marks(path) for path in named]
        mark_signature(module, arguments, results)


def _marks(path: str, is_batch: bool = False, is_donated: bool = False) -> dict[str, ir.Attribute]:
    marks: dict[str, ir.Attribute] = {PATH: ir.StringAttr.get(path)}
    if is_batch:
        marks[BATCH] = ir.UnitAttr.get()
    if is_donated:
        marks[DONATED] = ir.UnitAttr.get()
    return marks


def _main(module: ir.Module) -> func.FuncOp:
    """@main, or the one public function that is run, which is called so from here on."""
    functions = functions_in(module)
    if MAIN not in functions:
        public = [name for name, function in functions.items() if not is_private(function)]
        if len(public) > 1:
            what = f"the module has no @main, and {len(public)} functions that could be it: @{', @'.join(public)}"
            raise refuse(module.operation.location, what, "name the one to run @main, and make the others private")
        for name in public:
            ir.SymbolTable.replace_all_symbol_uses(name, MAIN, module.operation)
            set_public(functions[name], MAIN)
    return entry_function(module)


def _hide_others(module: ir.Module) -> None:
    """Nobody calls the other functions from outside, so those that @main does not need may go."""
    for name, function in functions_in(module).items():
        if name != MAIN:
            function.attributes["sym_visibility"] = ir.StringAttr.get("private")


def _check_plain(module: ir.Module, main: func.FuncOp) -> None:
    """Refuse what other programs write and no later pass would say anything helpful about."""
    for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
        if (constant := text_attribute(marks, _CONSTANT)) is not None:
            what = f"argument {argument.arg_number} of @main is {constant}, which jax computes when it calls the module"
            raise refuse(argument.location, what, "export the function for one platform, and for shapes of numbers")
        _check_shape(argument.location, f"argument {argument.arg_number} of @main", argument.type)
    for operation in operations_in(module.operation, ir.OpView):
        for result in operation.operation.results:
            _check_shape(operation.location, f"the result of {operation.operation.name}", result.type)
    for kind, found in (("argument", argument_attributes(main)), ("result", result_attributes(main))):
        for number, one in enumerate(found):
            if (text_attribute(one, _GSPMD) or _WHOLE[0]) not in _WHOLE:
                what = f"{kind} {number} of @main is divided as GSPMD says it, by {_GSPMD}"
                remedy = "let jax use Shardy: jax.config.update('jax_use_shardy_partitioner', True)"
                raise refuse(main.location, what, remedy)
    for mesh in operations_in(module.operation, sdy.MeshOp):
        name = ir.StringAttr(mesh.attributes["sym_name"]).value
        if sdy.MeshAttr(mesh.attributes["mesh"]).axes and name != MESH:
            what = f"the module has a mesh @{name}, and islands take the axes of one mesh, @{MESH}"
            raise refuse(mesh.location, what, f"call it @{MESH} if it is the only one")


def _check_shape(location: ir.Location, what: str, type_: ir.Type) -> None:
    if isinstance(type_, ir.RankedTensorType) and not type_.has_static_shape:
        raise refuse(location, f"{what} has no fixed shape: {type_}", "export the function for shapes of numbers")


def _donated(module: ir.Module, main: func.FuncOp) -> set[int]:
    """The arguments of which the module itself says that their memory may be reused."""
    attributes = argument_attributes(main)
    found = {number for number, one in enumerate(attributes) if any(name in one for name in _GIVEN_AWAY)}
    aliases = module.operation.attributes
    for alias in ir.ArrayAttr(aliases[_ALIASES]) if _ALIASES in aliases else ():
        found.add(ir.IntegerAttr(ir.DictAttr(ir.DictAttr(alias)["alias"])["parameter_number"]).value)
    return found


def _paths(main: func.FuncOp) -> list[str]:
    return [text_attribute(one, PATH) or "" for one in argument_attributes(main)]


def _new_paths(main: func.FuncOp) -> list[str]:
    """The arguments' own names; all are numbered if two would have the same."""
    count = len(arguments_of(main))
    numbered = [f"arg{number}" for number in range(count)]
    paths = [_name_of(main, number) or numbered[number] for number in range(count)]
    return paths if len(set(paths)) == count else numbered


def _name_of(main: func.FuncOp, number: int) -> str:
    """The name in an argument's location; empty if there is none, or one that is no path."""
    location = arguments_of(main)[number].location
    name = location.name_str if isinstance(location, ir.NameLoc) else ""
    return name if _PATH.fullmatch(name) else ""


def _result_paths(main: func.FuncOp, is_paired: bool) -> list[str]:
    """What jax says of the results; all are numbered if it does not.

    is_paired: the paths of donated arguments tell which results replace them. Those that have only a number are
        replaced by the first result of their type that has only a number too.
    """
    attributes = result_attributes(main)
    numbered = [f"{_RESULT}[{number}]" for number in range(len(attributes))] if len(attributes) != 1 else [_RESULT]
    known = [text_attribute(one, _RESULT_INFO) or "" for one in attributes]
    paths = [one if one.startswith(_RESULT) else _RESULT + one for one in known]
    is_told = is_paired and all(map(_PATH.fullmatch, paths)) and max(Counter(paths).values(), default=1) == 1
    return paths if is_told else numbered


def _chosen(main: func.FuncOp, paths: Sequence[str], names: Sequence[str]) -> set[int]:
    """The arguments that some names stand for; a name that stands for none is refused."""
    found: set[int] = set()
    for name in names:
        numbers = {number for number, path in enumerate(paths) if _stands_for(name, path)}
        if not numbers:
            raise refuse(main.location, f"no argument is called {shown(name)}", known_names(name, paths))
        found |= numbers
    return found


def _stands_for(name: str, path: str) -> bool:
    keys, asked = path_components(path), path_components(name)
    if name == path or (asked and keys[: len(asked)] == asked):
        return True
    try:
        pattern = Pattern.parse(name)
    except PlanError:  # it is a path
        return False
    return ScopePatterns([[pattern]]).stage_of(keys) is not None
