"""Finds what a later loop over microbatches does again, as there was no room to keep it."""

from collections.abc import Hashable

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import named_attributes
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
        one = first.setdefault((taken, _what(operation.operation)), index)
        if one != index:
            for value, before in zip(graph.results[index], graph.results[one], strict=True):
                numbers[value] = numbers[before]
            if graph.region[one] != graph.region[index]:
                found[index] = one
    return found


def _what(operation: ir.Operation) -> Hashable:
    """What an operation does, apart from what it takes."""
    types = tuple(one.type for one in operation.results)
    within = (_what(one.operation) for region in operation.regions for block in region for one in block.operations)
    return operation.name, types, frozenset(named_attributes(operation.attributes).items()), tuple(within)
