"""Pass `cut-automatically`."""

import logging
from dataclasses import dataclass
from itertools import accumulate

from atoll.compiler.contiguous_cut import contiguous_cut
from atoll.compiler.copies import copied, may_be_copied
from atoll.compiler.cost import cost_of
from atoll.compiler.graph import ARGUMENT, Graph
from atoll.compiler.mlir import ir, stablehlo
from atoll.compiler.pass_base import Pass
from atoll.compiler.plan_marks import STAGE, plan_of, stages_of, write_marks
from atoll.compiler.roles import roles_of
from atoll.compiler.scopes import Role

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CutAutomatically(Pass):
    """Give a stage to every forward operation, where the plan only says how many stages there are.

    The forward operations of the model, in program order, are cut into parts of even cost where few bytes are alive.
    What only prepares parameters and data, such as casts of all weights ahead of the model, counts where it is used.

    Requires: phase `stablehlo`, and `seed-stages` before.

        module attributes {atoll.stages = 2 : i32} {
          %0 = dot_general %x, %a
          %1 = dot_general %0, %b
        ~~>
          %0 = dot_general %x, %a {atoll.stage = 0 : i32}
          %1 = dot_general %0, %b {atoll.stage = 1 : i32}
    """

    def run(self, module: ir.Module) -> None:
        plan = plan_of(module)
        if plan.placement is not None or not (isinstance(plan.stages, int) or plan.stages == "auto"):
            log.info("nothing to do: the plan says which scopes make the stages")
            return
        graph = Graph.of(module)
        is_copied = copied(graph)
        # Where there is a loop over microbatches, the model is in it; what stands before goes where it is used.
        region = graph.main_loop or 0
        forward = [
            index
            for index, role in enumerate(roles_of(graph))
            if role is Role.FORWARD and not is_copied[index] and graph.region[index] == region
        ]
        forward.sort(key=_place_in_model(graph, forward).__getitem__)
        costs = [cost_of(graph.operations[index]) for index in forward]
        count = stages_of(module)
        cuts = contiguous_cut(costs, _crossing(graph, forward), count)
        stages: list[int | None] = [None] * len(graph.operations)
        for position, index in enumerate(forward):
            stages[index] = sum(cut <= position for cut in cuts)
        write_marks(graph, STAGE, stages)


def _place_in_model(graph: Graph, forward: list[int]) -> dict[int, tuple[int, int]]:
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


def _crossing(graph: Graph, forward: list[int]) -> list[int]:
    """For each position in the forward operations, the bytes of values made before it and used from it on."""
    position = {index: number for number, index in enumerate(forward)}
    changes = [0] * (len(forward) + 1)
    for value, producer in enumerate(graph.producer):
        if producer == ARGUMENT or producer not in position:
            continue
        last = max((position[user] for user in graph.users[value] if user in position), default=0)
        if last > position[producer]:
            changes[position[producer] + 1] += graph.sizes[value]
            changes[last + 1] -= graph.sizes[value]
    return list(accumulate(changes[:-1]))
