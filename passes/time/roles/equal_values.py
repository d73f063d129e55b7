"""Which values are equal whatever the arguments are, and which operations compute once more what is there already.

What `jax.checkpoint` rematerialises is the same computation, behind barriers that keep XLA from sharing the two.
"""

from dataclasses import dataclass, field

from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.constants import comparable_attributes
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.graph import Graph

# What an operation computes: its name, its attributes, what is in its regions, and the numbers of what it takes.
_Key = tuple[object, ...]


@dataclass
class EqualValues:
    """number: of each value of the graph; equal ones have the same.

    is_constant: whether a value depends on no argument.
    is_again: whether an operation computes what an earlier one does, and that is no constant.
    """

    number: list[int]
    is_constant: list[bool]
    is_again: list[bool] = field(default_factory=list)

    @classmethod
    def of(cls, graph: Graph) -> "EqualValues":
        found = cls(list(range(len(graph.values))), [False] * len(graph.values))
        first: dict[_Key, int] = {}
        for index, operation in enumerate(graph.operations):
            results, operands = graph.results[index], _operands(graph, index)
            if isinstance(operation, stablehlo.OptimizationBarrierOp):
                for result, operand in zip(results, operands, strict=True):
                    found.number[result] = found.number[operand]
                    found.is_constant[result] = found.is_constant[operand]
                found.is_again.append(False)
                continue
            known = first.setdefault(_key(operation, [found.number[one] for one in operands]), index)
            constant = all(found.is_constant[one] for one in operands)
            for result, same in zip(results, graph.results[known], strict=True):
                found.number[result] = found.number[same]
                found.is_constant[result] = constant
            found.is_again.append(known != index and not constant)
        return found


def _operands(graph: Graph, index: int) -> list[int]:
    """The operands of an operation in their places, where the graph has each value once; then what it captures."""
    taken = graph.operands[index]
    places = list(dict.fromkeys(graph.operations[index].operation.operands))
    by_value = dict(zip(places, taken, strict=False))
    return [by_value[value] for value in graph.operations[index].operation.operands] + taken[len(places) :]


def _key(operation: ir.OpView, numbers: list[int]) -> _Key:
    inner = operations_in(operation, ir.OpView) if len(operation.operation.regions) else [operation]
    described = tuple((one.operation.name, comparable_attributes(one.operation)) for one in inner)
    types = tuple(result.type for result in operation.operation.results)
    return (described, types, *numbers)
