"""Pass `resolve-plan`."""

import logging
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.planned import plan_of, set_plan
from atoll.compiler.pipeline.pass_base import Pass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResolvePlan(Pass):
    """Write into the plan what it leaves open: microbatches, replicas, and stages where the topology is known.

    What was filled in is noted, so that other islands can have another answer.

    Requires: phase `stablehlo`.

        module attributes {atoll.plan = "schedule=zb-v", atoll.topology = "2 x cpu[1]"}
        ~~>
        module attributes {atoll.plan = "stages=4, microbatches=1, schedule=zb-v, replicas=1, segments=1",
                           atoll.filled = {stages = 4, microbatches = 1, replicas = 1, segments = 1}, ...}
    """

    def run(self, module: ir.Module) -> None:
        plan = plan_of(module)
        set_plan(module, plan)
        log.info("the plan is %s", plan)
