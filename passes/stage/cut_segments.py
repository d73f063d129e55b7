"""Pass `cut-segments`."""

import logging
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from atoll.compiler.batch_rules.counted_loop import CountedLoop
from atoll.compiler.cost.devices import device_kind
from atoll.compiler.mlir.attributes import integer, integer_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.marks import LAYERS, PLANNED_STAGE, STAGE, STAGES
from atoll.compiler.module.planned import set_plan, shape_of, stages_of, topology_of
from atoll.compiler.module.replicas import twins_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.plan.pipeline_shape import PipelineShape
from atoll.compiler.plan.plan import SHARDED
from atoll.compiler.replicas.segment_count import segments_worthwhile
from atoll.compiler.replicas.speed import speed_between
from atoll.passes.stage.cut.contiguous_cut import contiguous_cut
from atoll.passes.stage.cut.exchange_sums import sums_exchanged
from atoll.passes.stage.cut.forward_part import forward_part
from atoll.passes.stage.cut.homes import alike
from atoll.passes.stage.cut.work import owners_of
from atoll.passes.stage.layers.choice import read_loops, that_hold_parameters
from atoll.passes.stage.layers.steps import Steps

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CutSegments(Pass):
    """Cut each stage into segments, if the plan asks for them or replicas gain by them.

    The forward operations of a stage, in program order, are cut into parts of even cost where few bytes are alive. A
    segment is a stage of its own from here on, beside the others on their island. What is not forward keeps the stage
    of the plan, and gets its segment when stages are spread.

    If the plan leaves their number open, it is the one with which islands should wait least for what they exchange
    with other replicas, or one if that is little beside what they compute. The plan states the number from here on.

    Requires: `seed-stages` and `cut-automatically` before.

        module attributes {atoll.plan = "stages=2, segments=2", atoll.stages = 2 : i32} {
          %0 = dot_general %x, %a {atoll.stage = 1 : i32}
          %1 = dot_general %0, %b {atoll.stage = 1 : i32}
        ~~>
        module attributes {atoll.plan = "stages=2, segments=2", atoll.stages = 4 : i32} {
          %0 = dot_general %x, %a {atoll.stage = 2 : i32}
          %1 = dot_general %0, %b {atoll.stage = 3 : i32}
    """

    def run(self, module: ir.Module) -> None:
        shape = shape_of(module)
        if shape.segments == 1 and not shape.plan.has_open_segments:
            log.info("nothing to do: stages run in one segment")
            return
        graph, count = Graph.of(module), shape.segments
        forward = forward_part(graph)
        loops = _loops(module, graph, set(forward))
        steps = Steps(graph, forward, loops)
        work = steps.work(owners_of(graph, forward))
        if shape.plan.has_open_segments:
            count = _worthwhile(module, steps, sum(work), shape)
            set_plan(module, replace(shape.plan, segments=count))
        if count == 1:
            log.info("nothing to do: one segment of a stage is enough for its sums")
            return
        _cut(steps, work, count)
        for index in {*range(len(graph.operations))}.difference(forward):
            attributes = graph.operations[index].operation.attributes
            if STAGE in attributes:
                attributes[PLANNED_STAGE] = attributes[STAGE]
                del attributes[STAGE]
        module.operation.attributes[STAGES] = integer(stages_of(module) * count)


def _worthwhile(module: ir.Module, steps: Steps, work: float, shape: PipelineShape) -> int:
    """With how many segments a stage should wait least for its exchanges. work: of a replica, in a step."""
    plan, topology, graph = shape.plan, topology_of(module), steps.graph
    stacks = {
        str(graph.values[argument].type): loop.iterations
        for index, loop in steps.loops.items()
        for argument in _stacked_arguments(graph, index, loop)
    }
    sums = sums_exchanged(module, graph, stacks, is_shared=plan.update == SHARDED)
    if not sums:
        return 1
    speeds = [speed_between(twins, topology) for twins in twins_of(topology, plan.replicas).values()]
    slowest = min(speeds, key=lambda one: one.bandwidth)
    fastest = max(island.size * device_kind(island, topology).speed for island in topology.islands)
    computing = work / shape.islands / fastest
    count = segments_worthwhile(sums, shape.planned_stages, plan.replicas, slowest, computing)
    size = sum(one.summand.size for one in sums) // shape.planned_stages
    log.info("%d segments a stage, for sums of %d bytes", count, size)
    return count


def _loops(module: ir.Module, graph: Graph, forward: Collection[int]) -> dict[int, CountedLoop]:
    """The loops that may be cut between layers: those that have been cut already, and those with layers of parameters.

    Loops over the same stack are split together, each range on one stage. So a loop within a stage stays whole if one
    within another stage goes over the same parameters.
    """
    is_cut = {index for index in forward if LAYERS in graph.operations[index].operation.attributes}
    read = read_loops(module, graph)
    found = that_hold_parameters(module, read) | {index: loop for index, loop in read.items() if index in is_cut}
    loops = {index: loop for index, loop in found.items() if index in forward and isinstance(loop, CountedLoop)}
    stages_of: dict[int, set[int | None]] = {}
    sources = {index: _stacked_arguments(graph, index, loop) for index, loop in loops.items()}
    for index, arguments in sources.items():
        for argument in arguments:
            stages_of.setdefault(argument, set()).add(integer_attribute(graph.operations[index].operation, STAGE))
    within_stage = {index for index in loops if all(len(stages_of[argument]) == 1 for argument in sources[index])}
    return {index: loop for index, loop in loops.items() if index in is_cut | within_stage}


def _stacked_arguments(graph: Graph, index: int, loop: CountedLoop) -> set[int]:
    """The arguments of @main that the stacks of a loop are made of."""
    stacks = {loop.node.operation.operands[slot] for slot in loop.stacks}
    open_values = [value for value in graph.operands[index] if graph.values[value] in stacks]
    found: set[int] = set()
    while open_values:
        value = open_values.pop()
        if value not in found and graph.producer[value] != ARGUMENT:
            open_values += graph.operands[graph.producer[value]]
        found.add(value)
    return {value for value in found if value < graph.arguments}


def _cut(steps: Steps, work: Sequence[float], count: int) -> None:
    crossing, planned = steps.crossing(), steps.read_stages()
    stages: list[int | None] = [None] * len(planned)
    for stage in {one for one in planned if one is not None}:
        inside = [step for step, one in enumerate(planned) if one == stage]
        cuts = contiguous_cut([work[step] for step in inside], [crossing[step] for step in inside], alike(count))
        for number, step in enumerate(inside):
            stages[step] = stage * count + bisect_right(cuts, number)
    steps.write_stages(stages)
