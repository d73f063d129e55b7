"""Reads and writes marks."""

from collections.abc import Sequence

from atoll.compiler.mlir.attributes import integer, integer_attribute
from atoll.compiler.module.graph import Graph


def read_marks(graph: Graph, name: str) -> list[int | None]:
    """The value of an integer attribute on each operation, None where it is absent."""
    return [integer_attribute(operation.operation, name) for operation in graph.operations]


def write_marks(graph: Graph, name: str, marks: Sequence[int | None]) -> None:
    """Set an integer attribute on each operation that has a value for it."""
    for operation, mark in zip(graph.operations, marks, strict=True):
        if mark is not None:
            operation.operation.attributes[name] = integer(mark)
