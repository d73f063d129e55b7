"""The forward part of a model, in the order in which to cut it."""

from collections.abc import Sequence

from atoll.compiler.mlir.bindings import stablehlo
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.scopes import Role
from atoll.passes.stage.operations.cheap_operations import copied, may_be_copied
from atoll.passes.stage.operations.roles import roles_of


def forward_part(graph: Graph) -> list[int]:
    """The forward operations of the model, in program order, without those that are copied to their users.

    What only prepares parameters and data, such as casts of all weights ahead of the model, counts where it is used.
    """
    is_copied = copied(graph)
    # Where there are loops over microbatches, the model is in them; what stands before goes where it is used.
    forward = [
        index
        for index, role in enumerate(roles_of(graph))
        if role is Role.FORWARD and not is_copied[index] and graph.region[index] in graph.model_regions
    ]
    return sorted(forward, key=_place_in_model(graph, forward).__getitem__)


def _place_in_model(graph: Graph, forward: Sequence[int]) -> dict[int, tuple[int, int]]:
    """The order of the forward operations: those ahead of the first costly ones stand with what uses them first."""
    inside, is_ahead = set(forward), dict.fromkeys(forward, False)
    for index in forward:
        operation = graph.operations[index]
        is_cheap = may_be_copied(operation) or isinstance(operation, stablehlo.ReduceOp)
        producers = (graph.producer[value] for value in graph.operands[index])
        is_ahead[index] = is_cheap and all(is_ahead.get(one, True) for one in producers)
    places: dict[int, tuple[int, int]] = {}
    for index in reversed(forward):
        users = {user for value in graph.results[index] for user in graph.users[value]} & inside
        first = min((places[user][0] for user in users), default=index) if is_ahead[index] else index
        places[index] = first, index
    return places
