"""Parameters, and what is made of them alone at little cost: casts, transposed tables, normalised weights."""

from dataclasses import dataclass
from functools import cached_property

from atoll.compiler.mlir.bindings import stablehlo
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import BATCH
from atoll.passes.stage.operations.cheap_operations import copied, is_inexact, may_be_copied, sent_operands


@dataclass(frozen=True)
class Parameters:
    """The arguments that a model learns, or that are frozen: of floating-point numbers, and without the batch."""

    graph: Graph

    @cached_property
    def values(self) -> frozenset[int]:
        marks = argument_attributes(entry_function(self.graph.module))
        return frozenset(
            number for number, one in enumerate(marks) if BATCH not in one and is_inexact(self.graph.values[number])
        )

    @cached_property
    def prepared(self) -> dict[int, frozenset[int]]:
        """The operations that only prepare parameters, and which ones each prepares."""
        sources, found = sent_operands(self.graph, copied(self.graph)), dict[int, frozenset[int]]()
        for index, operation in enumerate(self.graph.operations):
            if may_be_copied(operation) or isinstance(operation, stablehlo.ReduceOp):
                made_of = [self._made_of(value, found) for value in sources[index]]
                if made_of and all(made_of):
                    found[index] = frozenset[int]().union(*made_of)
        return found

    def behind(self, value: int) -> frozenset[int]:
        """The parameters that a value is made of, if it is one or only prepares some."""
        return self._made_of(value, self.prepared)

    def _made_of(self, value: int, prepared: dict[int, frozenset[int]]) -> frozenset[int]:
        producer = self.graph.producer[value]
        if producer != ARGUMENT:
            return prepared.get(producer, frozenset())
        return frozenset((value,)) if value in self.values else frozenset()
