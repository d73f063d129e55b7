"""Pass `cut-automatically`."""

import logging
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compiler.contiguous_cut import contiguous_cut
from atoll.compiler.copies import copied, may_be_copied
from atoll.compiler.graph import Graph
from atoll.compiler.layers.choice import layer_loops
from atoll.compiler.layers.loop import LayerLoop
from atoll.compiler.layers.steps import Steps
from atoll.compiler.locations import name_stack, place
from atoll.compiler.mlir import ir, stablehlo
from atoll.compiler.pass_base import Pass
from atoll.compiler.plan_marks import LAYERS, STAGE, WHOLE_LOOPS, add_texts, plan_of, stages_of, write_marks
from atoll.compiler.roles import roles_of
from atoll.compiler.scopes import Role, read_scope

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CutAutomatically(Pass):
    """Give a stage to every forward operation, where the plan only says how many stages there are.

    The forward operations of the model, in program order, are cut into parts of even cost where few bytes are alive. A
    loop over layers may be cut between any two of them: then it notes the stage of each layer. What only prepares
    parameters and data, such as casts of all weights ahead of the model, counts where it is used.

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
        found = {index: loop for index, loop in layer_loops(module, graph).items() if index in set(forward)}
        add_texts(
            module, WHOLE_LOOPS, [_described(graph, index, why) for index, why in found.items() if isinstance(why, str)]
        )
        loops = {index: loop for index, loop in found.items() if isinstance(loop, LayerLoop)}
        steps = Steps(graph, forward, loops)
        cuts = contiguous_cut(steps.costs(), steps.crossing(), stages_of(module))
        stages: list[int | None] = [None] * len(graph.operations)
        for index in forward:
            stages_of_layers = [bisect_right(cuts, step) for step in steps.of(index)[:: 2 if index in loops else 1]]
            if stages_of_layers[0] == stages_of_layers[-1]:
                stages[index] = stages_of_layers[0]
            else:
                in_order = stages_of_layers[::-1] if loops[index].is_reverse else stages_of_layers
                _write_layers(graph.operations[index], in_order)
        write_marks(graph, STAGE, stages)


def _described(graph: Graph, index: int, why: str) -> str:
    location = graph.operations[index].location
    scope = "/".join(read_scope(name_stack(location)).path)
    return f"the loop{f' in scope {scope}' if scope else ''} at {place(location)}: {why}"


def _write_layers(operation: ir.OpView, stages: Sequence[int]) -> None:
    operation.operation.attributes[LAYERS] = ir.DenseI64ArrayAttr.get(list(stages))


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
