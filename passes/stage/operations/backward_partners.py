"""Backward contractions follow the forward ones that they belong to, and so do the gradients of lookups in a table: a
stage's gradients are its own work.

Left to the least traffic alone, a small model's gradients may be computed on another island, for a few bytes less.
"""

from collections.abc import Mapping, Sequence

from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.scopes import Role
from atoll.passes.stage.operations.roles import roles_of

_CONTRACTIONS = (stablehlo.DotGeneralOp, stablehlo.ConvolutionOp)
# The gradient of a table is scattered by the numbers by which its rows were gathered.
_LOOKUPS = (stablehlo.GatherOp, stablehlo.ScatterOp)
# A contraction of what these make counts as one of what they take.
_SEEN_THROUGH = (stablehlo.ConvertOp, stablehlo.ReshapeOp, stablehlo.ReverseOp, stablehlo.TransposeOp)


def with_companions(graph: Graph, is_copied: Sequence[bool], stages: Sequence[int | None]) -> list[int | None]:
    """The stages, with one for each backward contraction or lookup that had none and takes what only one stage's
    forward ones take: a parameter, an activation or the numbers of rows. What is copied tells nothing, such as a
    constant that stands for the number of a row: it is wherever it is used."""
    roles = roles_of(graph)
    found = list(stages)
    if _goes_back_and_forth(graph, roles):
        return found
    followers = [index for index, one in enumerate(graph.operations) if isinstance(one, (*_CONTRACTIONS, *_LOOKUPS))]
    taken_on: dict[int, set[int]] = {}
    for index in followers:
        stage = stages[index]
        if roles[index] is Role.FORWARD and stage is not None:
            for source in _telling(graph, index):
                if graph.producer[source] == ARGUMENT or not is_copied[graph.producer[source]]:
                    taken_on.setdefault(source, set()).add(stage)
    for index in followers:
        if found[index] is None and roles[index] in (Role.BACKWARD, Role.REMATERIALISED):
            found[index] = _common_stage(graph, index, taken_on)
    return found


def _common_stage(graph: Graph, index: int, taken_on: Mapping[int, set[int]]) -> int | None:
    """The one stage where forward operations take all that tells where an operation belongs; None if there is none."""
    known = [taken_on[source] for source in _telling(graph, index) if source in taken_on]
    common = set.intersection(*known) if known else set()
    return common.pop() if len(common) == 1 else None


def _telling(graph: Graph, index: int) -> list[int]:
    """What tells where an operation belongs: all that is contracted, and the numbers of the rows that are looked up,
    since a table may be used elsewhere too."""
    operation, values = graph.operations[index], graph.operands[index]
    if isinstance(operation, _LOOKUPS):
        is_simple = len(values) == len(operation.operation.operands)  # one table, and nothing captured
        values = values[1:2] if is_simple else []
    return [source_of(graph, value) for value in values]


def source_of(graph: Graph, value: int) -> int:
    """What a value is made of, seen through changes of its type and shape."""
    value = before_barriers(graph, value)
    while isinstance(_maker(graph, value), _SEEN_THROUGH):
        (taken,) = graph.operands[graph.producer[value]]
        value = before_barriers(graph, taken)
    return value


def before_barriers(graph: Graph, value: int) -> int:
    """What went in, where a value has passed an `optimization_barrier`; or else the value itself."""
    while isinstance(barrier := _maker(graph, value), stablehlo.OptimizationBarrierOp):
        producer, operands = graph.producer[value], barrier.operation.operands
        held_back = operands[graph.results[producer].index(value)]
        value = graph.operands[producer][list(dict.fromkeys(operands)).index(held_back)]
    return value


def _maker(graph: Graph, value: int) -> ir.OpView | None:
    return None if graph.producer[value] == ARGUMENT else graph.operations[graph.producer[value]]


def _goes_back_and_forth(graph: Graph, roles: Sequence[Role]) -> bool:
    """Whether the model needs gradients of its own. On one stage such a program takes two sweeps; on several, more than
    a schedule of forward and backward tasks has."""
    is_behind: list[bool] = []
    for index, role in enumerate(roles):
        producers = [graph.producer[value] for value in graph.operands[index]]
        is_behind.append(role is Role.BACKWARD or any(one != ARGUMENT and is_behind[one] for one in producers))
        if role is Role.FORWARD and is_behind[index]:
            return True
    return False
