"""Parameters, and what is made of them alone at little cost: casts, transposed tables, normalised weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from atoll.compiler.mlir.bindings import stablehlo
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import BATCH
from atoll.passes.stage.operations.cheap_operations import is_inexact, may_be_copied, sent_operands


class ParameterPart(NamedTuple):
    """An argument, or what slices take of it: layers that a loop in Python goes over have one each.

    bytes: its size. slices: as text, each of what those before it take.
    """

    argument: int
    bytes: int
    slices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parameters:
    """What a model learns, or what is frozen: arguments of floating-point numbers, and without the batch."""

    graph: Graph

    @cached_property
    def prepared(self) -> dict[int, frozenset[ParameterPart]]:
        """The operations that only prepare parameters, and which ones each prepares."""
        sources, found = sent_operands(self.graph), dict[int, frozenset[ParameterPart]]()
        for index, operation in enumerate(self.graph.operations):
            if may_be_copied(operation) or isinstance(operation, stablehlo.ReduceOp):
                made_of = [self._made_of(value, found) for value in sources[index]]
                if made_of and all(made_of):
                    found[index] = frozenset(self._sliced(index, one) for one in frozenset().union(*made_of))
        return found

    def of_value(self, value: int) -> frozenset[ParameterPart]:
        """The parameters that a value is made of, if it is one or only prepares some."""
        return self._made_of(value, self.prepared)

    @cached_property
    def _arguments(self) -> frozenset[int]:
        marks = argument_attributes(entry_function(self.graph.module))
        return frozenset(
            number for number, one in enumerate(marks) if BATCH not in one and is_inexact(self.graph.values[number])
        )

    def _made_of(self, value: int, prepared: Mapping[int, frozenset[ParameterPart]]) -> frozenset[ParameterPart]:
        producer = self.graph.producer[value]
        if producer != ARGUMENT:
            return prepared.get(producer, frozenset())
        return frozenset((ParameterPart(value, self.graph.sizes[value]),)) if value in self._arguments else frozenset()

    def _sliced(self, index: int, whole: ParameterPart) -> ParameterPart:
        operation = self.graph.operations[index]
        if not isinstance(operation, stablehlo.SliceOp):
            return whole
        (result,) = self.graph.results[index]
        taken = f"{operation.start_indices}, {operation.limit_indices}, {operation.strides}"
        return ParameterPart(whole.argument, self.graph.sizes[result], (*whole.slices, taken))
