"""Pass `order-sweeps`."""

from collections.abc import Mapping
from dataclasses import dataclass

from atoll.compiler.copies import copied, sent_operands
from atoll.compiler.graph import ARGUMENT, Graph
from atoll.compiler.mlir import ir
from atoll.compiler.pass_base import Pass
from atoll.compiler.plan_marks import KINDS, STAGE, SWEEP, plan_of, read_marks, slot, stages_of, sweep_from, write_marks
from atoll.compiler.roles import roles_of
from atoll.compiler.scopes import Role

# A role's operations begin in this sweep, and come later only if what they need comes later.
_FIRST_SWEEP = {Role.FORWARD: 0, Role.BACKWARD: 1, Role.REMATERIALISED: 1, Role.UPDATE: 2}
# A loop over microbatches holds the forward and the backward part. What is neither, such as the count of right
# answers, comes as early as it can, so that it takes no sweep of its own; and so does all that stands around the loop.
_FIRST_SWEEP_IN_LOOP = {**_FIRST_SWEEP, Role.UPDATE: 0}
_FIRST_SWEEP_AROUND_LOOP = dict.fromkeys(Role, 0)


@dataclass(frozen=True)
class OrderSweeps(Pass):
    """Give every operation the sweep in which its stage computes it.

    Forward operations go into sweep 0, backward ones into sweep 1, the update into sweep 2, or into a later sweep if
    what they need is computed behind that. Values then flow to the same fragment or to later ones only, so that
    fragments cannot wait for each other in a circle, whatever the stages are. In a loop over microbatches and around
    it sweeps count anew, and the loop notes what kind of task each of its sweeps is.

    Requires: `spread-stages` before.

          %0 = dot_general %x, %a {atoll.stage = 1 : i32} loc("jit(f)/transpose(jvp(head))/dot_general")
        ~~>
          %0 = dot_general %x, %a {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} loc(...)
    """

    def run(self, module: ir.Module) -> None:
        graph = Graph.of(module)
        count = stages_of(module)
        stages, roles, is_copied = read_marks(graph, STAGE), roles_of(graph), copied(graph)
        first_sweeps = _first_sweeps(graph)
        slots = [0] * len(stages)
        sweeps: list[int | None] = [None] * len(stages)
        for index, sources in enumerate(sent_operands(graph, is_copied)):
            stage = stages[index]
            if stage is None:
                continue
            least = slot(stage, first_sweeps[graph.region[index]][roles[index]], count)
            for producer in (graph.producer[value] for value in sources):
                if producer != ARGUMENT and graph.region[producer] == graph.region[index]:
                    least = max(least, slots[producer] + (stages[producer] != stage))
            sweep = sweep_from(stage, least, count)
            sweeps[index], slots[index] = sweep, slot(stage, sweep, count)
        write_marks(graph, SWEEP, sweeps)
        is_pipeline = plan_of(module).placement is None
        for loop in graph.loops:
            last = max((sweeps[index] or 0 for index, one in enumerate(graph.region) if one == loop.region), default=0)
            kinds = "".join("FB"[sweep % 2] if is_pipeline else "F" for sweep in range(last + 1))
            loop.operation.operation.attributes[KINDS] = ir.StringAttr.get(kinds)


def _first_sweeps(graph: Graph) -> list[Mapping[Role, int]]:
    """For each region the first sweep of each role."""
    if not graph.loops:
        return [_FIRST_SWEEP]
    around, inside = _FIRST_SWEEP_AROUND_LOOP, _FIRST_SWEEP_IN_LOOP
    return [around, *(one for _ in graph.loops for one in (inside, around))]
