"""The IR of each phase as graphs that Google's Model Explorer opens: `model-explorer view.json`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atoll.compiler.errors import PATH_FAULTS, UsageError, path_fault
from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.functions import body_of, functions_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.mlir.locations import name_stack, place
from atoll.compiler.view.history import INPUT
from atoll.compiler.view.view_data import Viewed

_LONGEST = 200  # characters of an attribute; constants are longer than anybody reads

_Value = ir.Value[ir.Type]


def write_graphs(viewed: Viewed, path: str | Path) -> None:
    """Write the graphs of a program; UsageError if there is no IR, or the file cannot be written."""
    if not viewed.dumps:
        raise UsageError("a saved program has no IR to make graphs of", remedy="name the job that it was made from")
    graphs = [graph for phase, code in viewed.dumps.items() if phase != INPUT for graph in graphs_of(phase, code)]
    text = json.dumps([{"label": viewed.title, "graphs": graphs}])
    try:
        Path(path).write_text(text, encoding="utf-8")
    except PATH_FAULTS as error:
        raise path_fault("write", path, error, "name another file") from None


def graphs_of(phase: str, code: bytes) -> Iterator[dict[str, Any]]:
    """A graph for each function of a module; fragments and loops are layers that open."""
    module = parse_text(code)
    for name, function in functions_in(module).items():
        yield {"id": f"{phase}/{name}", "nodes": list(_Nodes(function).nodes())}


class _Nodes:
    """Numbers the operations of a function, and the arguments of its blocks, as nodes."""

    def __init__(self, function: func.FuncOp) -> None:
        self._function = function
        self._names: dict[_Value, tuple[str, str]] = {}  # the node and the output that a value is
        self._count = 0

    def nodes(self) -> Iterator[dict[str, Any]]:
        yield from self._block(body_of(self._function), "")

    def _block(self, block: ir.Block, inside: str) -> Iterator[dict[str, Any]]:
        for argument in block.arguments:
            node = self._new()
            self._names[argument] = node, "0"
            attributes = [{"key": "type", "value": str(argument.type)}]
            yield {"id": node, "label": f"argument {argument.arg_number}", "namespace": inside, "attrs": attributes}
        for operation in block.operations:
            yield from self._operation(operation, inside)

    def _operation(self, operation: ir.OpView, inside: str) -> Iterator[dict[str, Any]]:
        node = self._new()
        edges = []
        for number, operand in enumerate(operation.operation.operands):
            if operand in self._names:
                source, output = self._names[operand]
                edges.append({"sourceNodeId": source, "sourceNodeOutputId": output, "targetNodeInputId": str(number)})
        for number, result in enumerate(operation.operation.results):
            self._names[result] = node, str(number)
        label = operation.operation.name
        inner = f"{inside}/{label} {node}".lstrip("/")
        yield {
            "id": node,
            "label": label,
            "namespace": inner if len(operation.operation.regions) else inside,
            "attrs": _attributes(operation),
            "incomingEdges": edges,
            "outputsMetadata": [
                {"id": str(number), "attrs": [{"key": "tensor_shape", "value": str(result.type)}]}
                for number, result in enumerate(operation.operation.results)
            ],
        }
        for region in operation.operation.regions:
            for block in region.blocks:
                yield from self._block(block, inner)

    def _new(self) -> str:
        self._count += 1
        return str(self._count)


def _attributes(operation: ir.OpView) -> list[dict[str, str]]:
    attributes = operation.operation.attributes
    told: Mapping[str, str] = {
        "where": place(operation.location),
        "scope": name_stack(operation.location),
        **{name: str(attributes[name]) for name in attributes},
    }
    return [{"key": name, "value": text[:_LONGEST]} for name, text in told.items() if text]
