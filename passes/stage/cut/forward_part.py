"""The forward part of a model, in the order in which to cut it."""

from collections.abc import Sequence

from atoll.compiler.mlir.bindings import stablehlo
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.scopes import Role
from atoll.passes.stage.cut.alignment import aligned
from atoll.passes.stage.operations.cheap_operations import copied, may_be_copied
from atoll.passes.stage.operations.roles import roles_of

_PRODUCTS = (stablehlo.DotGeneralOp, stablehlo.ConvolutionOp, stablehlo.WhileOp)


def forward_part(graph: Graph) -> list[int]:
    """The forward operations of the model, in program order, without those that are copied to their users.

    What only prepares parameters and data, such as casts of all weights ahead of the model, counts where it is used.
    Ways over several inputs with the same parameters go side by side. What is made of a gradient and is no way over the
    model, such as a penalty on it, is left out: it stays where the gradient is.
    """
    is_copied, roles, is_penalty = copied(graph), roles_of(graph), _made_of_gradients(graph)
    forward = [
        index
        for index, role in enumerate(roles)
        if role is Role.FORWARD and not is_copied[index] and not is_penalty[index]
    ]
    # Where there are loops over microbatches, the model is in them; what stands before goes where it is used.
    regions = graph.model_regions | {
        graph.region[index]
        for index in forward
        if graph.region[index] % 2 and isinstance(graph.operations[index], _PRODUCTS)
    }
    forward = [index for index in forward if graph.region[index] in regions]
    return aligned(graph, sorted(forward, key=_place_in_model(graph, forward).__getitem__))


def _made_of_gradients(graph: Graph) -> list[bool]:
    """Which forward operations depend on gradients, and are not followed by any product of the model."""
    roles = roles_of(graph)
    is_behind: list[bool] = []
    for role, taken in zip(roles, graph.operands, strict=True):
        producers = [graph.producer[value] for value in taken]
        is_behind.append(role is not Role.FORWARD or any(one != ARGUMENT and is_behind[one] for one in producers))
    is_followed = [isinstance(operation, _PRODUCTS) for operation in graph.operations]
    for index in reversed(range(len(roles))):
        users = (user for value in graph.results[index] for user in graph.users[value])
        is_followed[index] |= any(is_followed[user] and roles[user] is Role.FORWARD for user in users)
    return [behind and not followed for behind, followed in zip(is_behind, is_followed, strict=True)]


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
