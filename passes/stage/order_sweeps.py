"""Pass `order-sweeps`."""

from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.loop_roles import set_loop_role
from atoll.compiler.module.marking import read_marks, write_marks
from atoll.compiler.module.marks import STAGE, SWEEP
from atoll.compiler.module.planned import plan_of, stages_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.task_name import BACKWARD, FORWARD
from atoll.passes.stage.operations.sweeps import Sweeps


@dataclass(frozen=True)
class OrderSweeps(Pass):
    """Give every operation the sweep in which its stage computes it.

    Forward operations go into sweep 0, backward ones into sweep 1, the update into sweep 2, or into a later sweep if
    what they need is computed behind that. Values then flow to the same fragment or to later ones only, so that
    fragments cannot wait for each other in a circle, whatever the stages are. In a loop over microbatches and around
    it sweeps count anew, and each loop gets its role: what each of its sweeps is for.

    Requires: `spread-stages` before.

          %0 = dot_general %x, %a {atoll.stage = 1 : i32} loc("jit(f)/transpose(jvp(head))/dot_general")
        ~~>
          %0 = dot_general %x, %a {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} loc(...)
    """

    def run(self, module: ir.Module) -> None:
        graph = Graph.of(module)
        count = stages_of(module)
        sweeps = Sweeps.of(graph).run(read_marks(graph, STAGE), count)
        write_marks(graph, SWEEP, sweeps)
        is_pipeline = plan_of(module).placement is None
        for loop in graph.loops:
            last = max((sweeps[index] or 0 for index, one in enumerate(graph.region) if one == loop.region), default=0)
            back = BACKWARD if is_pipeline else FORWARD  # a free placement goes nowhere
            set_loop_role(loop.operation, "".join((FORWARD, back)[sweep % 2] for sweep in range(last + 1)))
