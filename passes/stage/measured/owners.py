"""To which part of a model everything else belongs: backward operations, parameters, and sums over microbatches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import stablehlo
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.scopes import Role
from atoll.passes.stage.measured.parts import Parts
from atoll.passes.stage.operations.backward_partners import with_companions
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


def owners_of(graph: Graph, parts: Parts) -> Owners:
    """Follow everything from what it takes."""
    roles = roles_of(graph)
    inside = set(parts.steps.forward)
    regions = graph.model_regions
    is_update = [
        graph.region[index] not in regions or (role is Role.UPDATE and not graph.loops)
        for index, role in enumerate(roles)
    ]
    found: list[Sequence[int]] = [parts.of_operation(index) if index in inside else () for index in range(len(roles))]
    partners = with_companions(graph, [one[0] if len(set(one)) == 1 else None for one in found])
    loops = _loops_by_stack(graph, parts)
    last = [parts.count - 1]
    for index, role in enumerate(roles):
        if index in inside:
            continue
        partner = partners[index]
        if partner is not None:
            found[index] = [partner]
        elif isinstance(graph.operations[index], stablehlo.WhileOp) and role in _BEHIND:
            found[index] = _parts_of_loop(graph, index, loops) or _inherited(graph, index, roles, found) or last
        else:
            found[index] = _inherited(graph, index, roles, found) or last
    return Owners(found, roles, is_update, _weights(graph, roles, regions))


def _inherited(graph: Graph, index: int, roles: Sequence[Role], found: Sequence[Sequence[int]]) -> Sequence[int]:
    """What is computed backward goes on to earlier layers; all else stands behind all that it takes. What is made of
    the layers of one loop alone, as a whole stack is, belongs to all of these."""
    makers = [graph.producer[value] for value in graph.operands[index]]
    makers = [one for one in makers if one != ARGUMENT and found[one]]
    if len({tuple(found[one]) for one in makers}) == 1:
        return found[makers[0]]
    behind = [min(found[one]) for one in makers if roles[one] in _BEHIND]
    if roles[index] in _BEHIND and behind:
        return [min(behind)]
    return [max(max(found[one]) for one in makers)] if makers else []


def _loops_by_stack(graph: Graph, parts: Parts) -> dict[int, Sequence[int]]:
    """For the values that loops over layers take or make, the parts of their layers."""
    found: dict[int, Sequence[int]] = {}
    for index in parts.steps.loops:
        spread = parts.of_operation(index)
        found.update(dict.fromkeys(graph.results[index], spread))
        found.update(dict.fromkeys([_source(graph, value) for value in graph.operands[index]], spread))
    return found


def _source(graph: Graph, value: int) -> int:
    """What a value is made of, seen through what takes one value and makes one."""
    while (producer := graph.producer[value]) != ARGUMENT and len(graph.operands[producer]) == 1:
        if len(graph.results[producer]) != 1:
            break
        (value,) = graph.operands[producer]
    return value


def _parts_of_loop(graph: Graph, index: int, loops: Mapping[int, Sequence[int]]) -> Sequence[int]:
    """The parts of the forward loop that has most of its stacks in common with a backward one."""
    weights: dict[tuple[int, ...], int] = {}
    for value in graph.operands[index]:
        spread = loops.get(value) or loops.get(_source(graph, value))
        if spread:
            weights[tuple(spread)] = weights.get(tuple(spread), 0) + graph.sizes[value]
    return max(weights, key=weights.__getitem__, default=())


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
