"""Pass `resolve-plan`."""

import logging
from dataclasses import dataclass, replace

from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.attributes import integer_in
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.marks import ALONE
from atoll.compiler.module.notes import OwnPieces
from atoll.compiler.module.noting import add_note, add_notes
from atoll.compiler.module.planned import leaves_division_open, plan_of, set_plan
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.plan.resolved_plan import ResolvedPlan
from atoll.compiler.tracebacks import caller
from atoll.passes.time.folding.own_pieces import own_loop
from atoll.passes.time.folding.planned_division import with_planned_division

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResolvePlan(Pass):
    """Write into the plan what it leaves open: microbatches, replicas, and stages where the topology is known.

    A step that takes its batch in pieces by itself, to accumulate gradients, says by that how many microbatches there
    are, if there are stages to work on them side by side. Any other batch is divided so that the step is predicted to
    take the least time, if there is more than one island. What was filled in is noted, so that other islands can have
    another answer.

    Requires: phase `stablehlo`.

        module attributes {atoll.plan = "schedule=zb-v", atoll.topology = "2 x cpu[1]"}
        ~~>
        module attributes {atoll.plan = "stages=4, microbatches=1, schedule=zb-v, replicas=1, segments=1",
                           atoll.filled = {stages = 4, microbatches = 1, replicas = 1, segments = 1}, ...}
    """

    def run(self, module: ir.Module) -> None:
        plan = plan_of(module)
        if leaves_division_open(module):
            plan = _with_own_pieces(module, plan) or with_planned_division(module, plan)
        _take_alone(module, plan)
        set_plan(module, plan)
        log.info("the plan is %s", plan)


def _with_own_pieces(module: ir.Module, plan: ResolvedPlan) -> ResolvedPlan | None:
    """With as many microbatches as the step itself takes pieces of the batch; None if it takes none."""
    loop = own_loop(module) if (plan.stage_count or 0) > 1 else None
    if loop is None or loop.iterations % plan.replicas:
        return None
    add_note(module, loop.node.location, OwnPieces(loop.iterations))
    return replace(plan, microbatches=loop.iterations // plan.replicas)


def _take_alone(module: ir.Module, plan: ResolvedPlan) -> None:
    """Tell what is done for each microbatch alone. Another plan would need the function."""
    alone, made = module.operation.attributes.get(ALONE), 1
    if isinstance(alone, ir.DictAttr) and "notes" in alone:
        made = integer_in(alone, "parts", module.operation.location)
        add_notes(module, ir.ArrayAttr(alone["notes"]))
    asked = plan.microbatches * plan.replicas if plan.per_microbatch else 1
    if made == asked:
        return
    told = (
        f"does scopes for each of {made} microbatches alone" if made > 1 else "does nothing for each microbatch alone"
    )
    wanted = f"{plan.per_microbatch} for each of {asked}" if plan.per_microbatch else "nothing"
    what = f"the module {told}, and the plan has {wanted} done so"
    raise PlanError(what, caller(), "give the plan with per_microbatch where the function is lowered")
