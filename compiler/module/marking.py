"""Reads and writes marks."""

from collections.abc import Sequence

from atoll.compiler.mlir.attributes import integer, integer_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.marks import MARKS
from atoll.compiler.module.noting import notes_of
from atoll.compiler.text.language import known_names

_PREFIX = "atoll."
_SIGNATURE = ("arg_attrs", "res_attrs")  # where the marks of arguments and results of functions stand


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
    hand would wait in vain for what it asks for. Notes are read once, as only the report reads them else."""
    notes_of(module)
    known = {mark.name: mark for mark in MARKS}
    for name, operation in standing_marks(module).items():
        if name not in known:
            raise refuse(operation.location, f"there is no mark {name}", known_names(name, known))
        if not known[name].may_stand(phase):
            what = f"{name} is left on {operation.name}, which nothing reads from here on"
            raise refuse(operation.location, what, f"run the passes that lead to phase {phase}, or take it away")
