"""Pass `cut-automatically`."""

import logging
from bisect import bisect_right
from dataclasses import dataclass

from atoll.compiler.batch_rules.counted_loop import CountedLoop
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.locations import name_stack
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.notes import UnevenStages, WholeLoop
from atoll.compiler.module.noting import add_note
from atoll.compiler.module.planned import plan_of, stages_of
from atoll.compiler.module.scopes import read_scope
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.cut.alignment import reads_floats
from atoll.passes.stage.cut.even_cut import even_cut
from atoll.passes.stage.cut.forward_part import forward_part
from atoll.passes.stage.cut.recomputed import recomputed_stretches
from atoll.passes.stage.cut.unevenness import unevenness_of
from atoll.passes.stage.cut.work import owners_of
from atoll.passes.stage.layers.choice import layer_loops
from atoll.passes.stage.layers.steps import Steps
from atoll.passes.stage.measured.stage_homes import stage_homes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CutAutomatically(Pass):
    """Give a stage to every forward operation, where the plan only says how many stages there are.

    The forward operations of the model, in program order, are cut into parts of even work where few bytes are alive.
    The work of an operation is its own, that of its gradients, and the update of its parameters. A loop over layers may
    be cut between any two of them: then it notes the stage of each layer. What only prepares parameters and data, such
    as casts of all weights ahead of the model, counts where it is used; ways over several inputs with the same
    parameters go side by side. On unlike islands the parts follow what each of them does in a second and how much
    memory it has. Where the parts stay uneven, a note says how much, and why.

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
        if plan.placement is not None or plan.scopes is not None:
            log.info("nothing to do: the plan says which scopes make the stages")
            return
        graph = Graph.of(module)
        forward = forward_part(graph)
        found = {index: loop for index, loop in layer_loops(module, graph).items() if index in set(forward)}
        is_of_floats = reads_floats(graph)
        for index, why in found.items():
            if isinstance(why, str) and is_of_floats[index]:
                location = graph.operations[index].location
                add_note(module, location, WholeLoop("/".join(read_scope(name_stack(location)).path), why))
        steps = Steps(graph, forward, {index: loop for index, loop in found.items() if isinstance(loop, CountedLoop)})
        owners = owners_of(graph, forward)
        closed = steps.inside(recomputed_stretches(graph, owners))
        work = steps.work(owners)
        homes = stage_homes(module, stages_of(module), len(steps))
        cut = even_cut(work, steps.crossing(), closed, homes)
        steps.write_stages([bisect_right(cut.cuts, step) for step in range(len(steps))])
        uneven = unevenness_of(cut, work)
        if uneven is not None and forward:
            costliest = graph.operations[steps.operation(uneven.costliest)]
            why = uneven.why.format(costliest.operation.name.partition(".")[2])
            add_note(module, costliest.location, UnevenStages(uneven.shares, why))
