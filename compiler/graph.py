"""The body of @main as integers: decide on these, then rewrite the IR once.

Asking the bindings costs microseconds a question; a train step of a large model has 100,000 operations, and its
decisions ask every question many times.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from atoll.compiler.entry import entry_function
from atoll.compiler.functions import body_of, operations_in
from atoll.compiler.mlir import ir

if TYPE_CHECKING:
    from collections.abc import Iterable

# The producer of an argument of @main.
ARGUMENT = -1


@dataclass
class Graph:
    """Operations and values of @main's block by number; what stands in an operation's regions belongs to it."""

    module: ir.Module  # kept alive, as operations and values do not
    operations: list[ir.OpView] = field(default_factory=list)  # in order, without the terminator
    operands: list[list[int]] = field(default_factory=list)  # of each operation, captured ones too, each value once
    results: list[list[int]] = field(default_factory=list)
    values: "list[ir.Value[ir.Type]]" = field(default_factory=list)  # the arguments come first
    producer: list[int] = field(default_factory=list)  # of each value: an operation, or ARGUMENT
    users: list[list[int]] = field(default_factory=list)  # of each value: the operations that take it
    returned: list[int] = field(default_factory=list)  # the values that @main returns, in order

    @classmethod
    def of(cls, module: ir.Module) -> "Graph":
        graph = cls(module)
        numbers: dict[ir.Value[ir.Type], int] = {}
        block = body_of(entry_function(module))
        graph._add_values(block.arguments, ARGUMENT, numbers)
        *body, terminator = list(block.operations)
        for index, operation in enumerate(body):
            taken = dict.fromkeys(numbers[value] for value in _taken(operation) if value in numbers)
            graph.operations.append(operation)
            graph.operands.append(list(taken))
            for value in taken:
                graph.users[value].append(index)
            graph.results.append(graph._add_values(operation.operation.results, index, numbers))
        graph.returned = [numbers[value] for value in terminator.operands]
        return graph

    def _add_values(
        self, values: "Iterable[ir.Value[ir.Type]]", producer: int, numbers: "dict[ir.Value[ir.Type], int]"
    ) -> list[int]:
        added = []
        for value in values:
            numbers[value] = len(self.values)
            added.append(len(self.values))
            self.values.append(value)
            self.producer.append(producer)
            self.users.append([])
        return added

    @cached_property
    def sizes(self) -> list[int]:
        """The bytes of each value."""
        return [bytes_of(value.type) for value in self.values]


def _taken(operation: ir.OpView) -> "Iterable[ir.Value[ir.Type]]":
    """The operands of an operation and of all that its regions hold."""
    yield from operation.operation.operands
    if len(operation.operation.regions):
        for inner in operations_in(operation, ir.OpView):
            yield from inner.operation.operands


def elements_of(type_: ir.Type) -> int:
    """How many elements a value has; a type that is no tensor has none."""
    if not isinstance(type_, ir.RankedTensorType):
        return 0
    count = 1
    for size in type_.shape:
        count *= size
    return count


def bytes_of(type_: ir.Type) -> int:
    """How many bytes a value takes, elements of less than a byte counted as one."""
    if not isinstance(type_, ir.RankedTensorType):
        return 0
    return elements_of(type_) * max(1, _bits(type_.element_type) // 8)


def _bits(element: ir.Type) -> int:
    if isinstance(element, ir.ComplexType):
        return 2 * _bits(element.element_type)
    if isinstance(element, (ir.IntegerType, ir.FloatType)):
        return element.width
    return 0
