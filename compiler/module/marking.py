"""Reads and writes marks."""

from collections.abc import Mapping, Sequence

from atoll.compiler.mlir.attributes import integer, integer_attribute
from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import (
    argument_attributes,
    arguments_of,
    named_attributes,
    result_attributes,
    set_argument_attributes,
    set_result_attributes,
)
from atoll.compiler.mlir.memory_kinds import HOST, kind_in
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.mark_table import MARKS
from atoll.compiler.module.marks import ON_HOST
from atoll.compiler.module.noting import notes_of
from atoll.compiler.module.shardings import MESH, SHARDING, sharding_of
from atoll.compiler.text.language import known_names

_PREFIX = "atoll."
_SIGNATURE = ("arg_attrs", "res_attrs")  # where the marks of arguments and results of functions stand

# Attributes of jax's and XLA's that are dropped: marks, the topology and the plan say the same in atoll's own way.
_OURS_INSTEAD = frozenset(
    (
        "jax.buffer_donor",
        "jax.result_info",
        "mhlo.input_output_alias",
        "mhlo.memory_kind",
        "mhlo.num_partitions",
        "mhlo.num_replicas",
        "mhlo.sharding",
        "tf.aliasing_output",
    )
)

_Marks = Mapping[str, ir.Attribute]


def read_marks(graph: Graph, name: str) -> list[int | None]:
    """The value of an integer attribute on each operation, None where it is absent."""
    return [integer_attribute(operation.operation, name) for operation in graph.operations]


def write_marks(graph: Graph, name: str, marks: Sequence[int | None]) -> None:
    """Set an integer attribute on each operation that has a value for it."""
    for operation, mark in zip(graph.operations, marks, strict=True):
        if mark is not None:
            operation.operation.attributes[name] = integer(mark)


def standing_marks(module: ir.Module) -> dict[str, ir.Operation]:
    """The names of all marks on a module, each with the first operation that has it, or an argument or a result."""
    found: dict[str, ir.Operation] = {}

    def note(operation: ir.Operation) -> ir.WalkResult:
        attributes = operation.attributes
        for name in attributes:
            if name.startswith(_PREFIX):
                found.setdefault(name, operation)
            elif name in _SIGNATURE:
                for one in map(ir.DictAttr, ir.ArrayAttr(attributes[name])):
                    for number in range(len(one)):
                        found.setdefault(one[number].name, operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(note, ir.WalkOrder.PRE_ORDER)
    return {name: operation for name, operation in found.items() if name.startswith(_PREFIX)}


def check_marks(module: ir.Module, phase: str) -> None:
    """Refuse what looks like a mark and is none, and marks that nothing reads from this phase on: whoever wrote one by
    hand would wait in vain for what it asks for. Notes are read here too, as otherwise only the report would find one
    that cannot be read."""
    notes_of(module)
    known = {mark.name: mark for mark in MARKS}
    for name, operation in standing_marks(module).items():
        if name not in known:
            raise refuse(operation.location, f"there is no mark {name}", known_names(name, known))
        if not known[name].may_stand(phase):
            what = f"{name} is left on {operation.name}, which nothing reads from here on"
            raise refuse(operation.location, what, f"run the passes that lead to phase {phase}, or take it away")


def mark_signature(module: ir.Module, arguments: Sequence[_Marks], results: Sequence[_Marks]) -> None:
    """Add marks to the arguments and results of @main, and keep what stands there that later phases need, such as
    shardings."""
    main = entry_function(module)

    def merged(old: ir.DictAttr, new: _Marks) -> ir.DictAttr:
        kept = {name: value for name, value in named_attributes(old).items() if name not in _OURS_INSTEAD}
        if kind_in(old) == HOST:
            kept[ON_HOST] = ir.UnitAttr.get(old.context)
        return ir.DictAttr.get({**kept, **new})

    set_argument_attributes(main, list(map(merged, argument_attributes(main), arguments)))
    set_result_attributes(main, list(map(merged, result_attributes(main), results)))
    if MESH in ir.SymbolTable(module.operation):
        _replicate_the_rest(main)
    attributes = module.operation.attributes
    for name in [name for name in attributes if name in _OURS_INSTEAD]:
        del attributes[name]


def _replicate_the_rest(main: func.FuncOp) -> None:
    """Say of every argument without a sharding that it is replicated, lest propagation divide it."""
    marks = []
    for argument, old in zip(arguments_of(main), argument_attributes(main), strict=True):
        replicated = sharding_of(((),) * ir.RankedTensorType(argument.type).rank, main.context)
        marks.append(ir.DictAttr.get({SHARDING: replicated, **named_attributes(old)}))
    set_argument_attributes(main, marks)
