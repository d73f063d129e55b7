"""To which part of a model everything else belongs: backward operations, parameters, and sums over microbatches."""

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import stablehlo
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.scopes import Role
from atoll.passes.stage.cut.work import owners_of
from atoll.passes.stage.measured.parts import Parts
from atoll.passes.stage.operations.roles import roles_of

_PRODUCTS = (stablehlo.DotGeneralOp, stablehlo.ConvolutionOp, stablehlo.WhileOp)
_BEHIND = (Role.BACKWARD, Role.REMATERIALISED)


@dataclass(frozen=True)
class Owners:
    """For each operation the parts that share it, and what it is for.

    is_update: it comes after the last microbatch, or before the first. is_weight: no backward task of an earlier layer
    needs it.
    """

    parts: Sequence[Sequence[int]]
    roles: Sequence[Role]
    is_update: Sequence[bool]
    is_weight: Sequence[bool]


def layer_owners(graph: Graph, parts: Parts) -> Owners:
    """Everything belongs to what the cut would put it beside; what that leaves open, to the last part."""
    roles, regions = roles_of(graph), graph.model_regions
    is_update = [
        graph.region[index] not in regions or (role is Role.UPDATE and not graph.loops)
        for index, role in enumerate(roles)
    ]
    owners = owners_of(graph, parts.steps.forward)
    last = [parts.count - 1]
    found = [last if owner is None else parts.of_operation(owner) for owner in owners]
    return Owners(found, roles, is_update, _weights(graph, roles, regions))


def _weights(graph: Graph, roles: Sequence[Role], regions: frozenset[int]) -> list[bool]:
    """Which backward operations lead to no further product: they make gradients of parameters."""
    leads = [False] * len(roles)
    for index in reversed(range(len(roles))):
        users = [user for value in graph.results[index] for user in graph.users[value]]
        leads[index] = any(
            leads[user] or isinstance(graph.operations[user], _PRODUCTS)
            for user in users
            if graph.region[user] in regions and roles[user] in _BEHIND
        )
    loops = [isinstance(operation, stablehlo.WhileOp) for operation in graph.operations]  # do both, and stay whole
    return [
        role is Role.BACKWARD and not lead and not loop for role, lead, loop in zip(roles, leads, loops, strict=True)
    ]
