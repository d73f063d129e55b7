"""Finds what a later loop over microbatches does again, as there was no room to keep it."""

from collections.abc import Hashable, Iterable

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.constants import comparable_attributes
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.graph import Graph


def done_before(graph: Graph) -> dict[int, int]:
    """Each operation of a loop that an earlier loop does too, with the same values, and the one there.

    Their lines would not tell them apart: layers that a loop in Python makes have all of these in common.
    """
    if len(graph.loops) < 2:
        return {}
    numbers = list(range(len(graph.values)))  # equal ones of values that are equal
    for loop in graph.loops:
        numbers[loop.index] = numbers[graph.loops[0].index]
    first: dict[Hashable, int] = {}
    found: dict[int, int] = {}
    for index, operation in enumerate(graph.operations):
        taken = tuple(numbers[value] for value in graph.operands[index])
        one = first.setdefault((taken, _what(operation)), index)
        if one != index:
            for value, before in zip(graph.results[index], graph.results[one], strict=True):
                numbers[value] = numbers[before]
            if graph.region[one] != graph.region[index]:
                found[index] = one
    return found


def _what(operation: ir.OpView) -> Hashable:
    """What an operation does, apart from what it takes: all values, those within its regions too, are numbered as they
    come."""
    numbers: dict[ir.Value[ir.Type], int] = {}

    def numbered(values: Iterable[ir.Value[ir.Type]]) -> Hashable:
        return tuple((numbers.setdefault(one, len(numbers)), one.type) for one in values)

    def row(one: ir.Operation) -> Hashable:
        blocks = tuple(numbered(block.arguments) for region in one.regions for block in region)
        return one.name, comparable_attributes(one), numbered(one.operands), blocks, numbered(one.results)

    return tuple(row(one.operation) for one in operations_in(operation, ir.OpView))
