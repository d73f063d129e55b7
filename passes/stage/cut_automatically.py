"""Pass `cut-automatically`."""

import logging
from bisect import bisect_right
from dataclasses import dataclass

from atoll.compiler.batch_rules.counted_loop import CountedLoop
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.locations import name_stack
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.notes import WholeLoop
from atoll.compiler.module.noting import add_note
from atoll.compiler.module.planned import plan_of, stages_of
from atoll.compiler.module.scopes import read_scope
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.cut.contiguous_cut import contiguous_cut
from atoll.passes.stage.cut.forward_part import forward_part
from atoll.passes.stage.layers.choice import layer_loops
from atoll.passes.stage.layers.steps import Steps

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
        if plan.placement is not None or plan.scopes is not None:
            log.info("nothing to do: the plan says which scopes make the stages")
            return
        graph = Graph.of(module)
        forward = forward_part(graph)
        found = {index: loop for index, loop in layer_loops(module, graph).items() if index in set(forward)}
        reads_floats = _reads_floats(graph)
        for index, why in found.items():
            if isinstance(why, str) and reads_floats[index]:
                location = graph.operations[index].location
                add_note(module, location, WholeLoop("/".join(read_scope(name_stack(location)).path), why))
        loops = {index: loop for index, loop in found.items() if isinstance(loop, CountedLoop)}
        steps = Steps(graph, forward, loops)
        costs = steps.costs()
        cuts = contiguous_cut(costs, steps.crossing(), stages_of(module))
        steps.write_stages([bisect_right(cuts, step) for step in range(len(costs))])


def _reads_floats(graph: Graph) -> list[bool]:
    """Whether each operation takes floating-point numbers that the program is given, or anything made of these.

    A loop that does not, such as one of a random generator, is no part of the model, and nobody would cut it.
    """
    reads: list[bool] = []
    for taken in graph.operands:
        producers = [(graph.producer[value], value) for value in taken]
        reads.append(
            any(_is_inexact(graph.values[value]) if one == ARGUMENT else reads[one] for one, value in producers)
        )
    return reads


def _is_inexact(value: "ir.Value[ir.Type]") -> bool:
    return isinstance(value.type, ir.ShapedType) and isinstance(value.type.element_type, (ir.FloatType, ir.ComplexType))
