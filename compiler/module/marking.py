"""Reads and writes marks: numbers on operations, texts on the module."""

from collections.abc import Sequence

from atoll.compiler.mlir.attributes import integer, integer_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.graph import Graph


def texts_of(module: ir.Module, name: str) -> tuple[str, ...]:
    """The texts that passes have noted on the module."""
    attributes = module.operation.attributes
    return tuple(ir.StringAttr(one).value for one in ir.ArrayAttr(attributes[name])) if name in attributes else ()


def add_texts(module: ir.Module, name: str, texts: Sequence[str]) -> None:
    """Note texts on the module, behind those that are there."""
    if texts:
        found = [*texts_of(module, name), *texts]
        module.operation.attributes[name] = ir.ArrayAttr.get([ir.StringAttr.get(one) for one in found])


def read_marks(graph: Graph, name: str) -> list[int | None]:
    """The value of an integer attribute on each operation, None where it is absent."""
    return [integer_attribute(operation.operation, name) for operation in graph.operations]


def write_marks(graph: Graph, name: str, marks: Sequence[int | None]) -> None:
    """Set an integer attribute on each operation that has a value for it."""
    for operation, mark in zip(graph.operations, marks, strict=True):
        if mark is not None:
            operation.operation.attributes[name] = integer(mark)
