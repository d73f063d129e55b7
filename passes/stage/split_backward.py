"""Pass `split-backward`."""

import logging
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.loop_roles import loop_role, set_loop_role
from atoll.compiler.module.marking import read_marks, write_marks
from atoll.compiler.module.marks import STAGE, SWEEP
from atoll.compiler.module.planned import shape_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT
from atoll.passes.stage.operations.cheap_operations import sent_operands

log = logging.getLogger(__name__)

_BACKWARD, _WEIGHT = 1, 2


@dataclass(frozen=True)
class SplitBackward(Pass):
    """Divide the backward task of a stage in two, for schedules that run the second part later.

    What other stages wait for, the gradients of activations, stays in sweep 1; what only this stage needs, the
    gradients of its weights, goes into a sweep of its own. Nothing is computed twice, and nothing else is sent: the
    second part takes what it needs from the first. A stage that sends no gradients on keeps its backward task whole,
    and so does one that has no weight tasks in the schedule. Without a loop all stages do.

    Requires: `order-sweeps` before.

        mpmd.for ... {atoll.role = "FB"} {
          %0 = dot_general %d, %w {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}   // goes to stage 0
          %1 = dot_general %x, %d {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}
        ~~>
        mpmd.for ... {atoll.role = "FBW"} {
          %0 = dot_general %d, %w {atoll.stage = 1 : i32, atoll.sweep = 1 : i32}
          %1 = dot_general %x, %d {atoll.stage = 1 : i32, atoll.sweep = 2 : i32}
    """

    def run(self, module: ir.Module) -> None:
        split = shape_of(module).split_stages
        if not split:
            log.info("nothing to do: the schedule keeps backward tasks whole")
            return
        graph = Graph.of(module)
        if not graph.loops:
            log.info("nothing to do: with one microbatch backward tasks stay whole, and weight tasks fall away")
            return
        stages, sweeps = read_marks(graph, STAGE), read_marks(graph, SWEEP)
        for loop in graph.loops:
            if loop_role(loop.operation) != FORWARD + BACKWARD:
                log.info("nothing to do: a loop is not one forward and one backward sweep")
                continue
            backward = [
                index
                for index, (region, sweep) in enumerate(zip(graph.region, sweeps, strict=True))
                if region == loop.region and sweep == _BACKWARD
            ]
            needed = _needed_elsewhere(graph, backward, stages)
            sending = {stages[index] for index in needed} & split
            later = [index for index in backward if index not in needed and stages[index] in sending]
            if not later:
                log.info("nothing to do: no stage has a gradient that only it needs")
                continue
            for index in later:
                sweeps[index] = _WEIGHT
            set_loop_role(loop.operation, FORWARD + BACKWARD + WEIGHT)
            log.info("%d of %d backward operations may run later", len(later), len(backward))
        write_marks(graph, SWEEP, sweeps)


def _needed_elsewhere(graph: Graph, backward: list[int], stages: list[int | None]) -> set[int]:
    """The backward operations that another stage's backward operations need, directly or through others."""
    sources = sent_operands(graph)
    inside = set(backward)
    needed: set[int] = set()
    for index in reversed(backward):
        for value in sources[index]:
            producer = graph.producer[value]
            if producer in inside and (index in needed or stages[producer] != stages[index]):
                needed.add(producer)
    return needed
