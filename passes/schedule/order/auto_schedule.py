"""`schedule="auto"`: the schedule that is best for what a loop's tasks should take, and for the islands' memory."""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from atoll.compiler.cost.task_costs import StageCost, costs_of, stage_costs
from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import argument_attributes, arguments_of
from atoll.compiler.module.graph import bytes_of, parts_of_loop
from atoll.compiler.module.interface import parts_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.mesh_types import island_of, local_type
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.module.tasks import calls_in, task_name
from atoll.compiler.plan.pipeline_shape import PipelineShape
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.search import search
from atoll.compiler.schedules.segments import in_segments
from atoll.compiler.schedules.task_table import check_size
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT, TaskName
from atoll.compiler.tracebacks import caller

log = logging.getLogger(__name__)


def auto_schedule(module: ir.Module, loop: mpmd.ForOp, function: func.FuncOp, shape: PipelineShape) -> Schedule:
    """The best schedule that is found for a loop and its function; PlanError if no order fits the memory."""
    try:
        check_size("auto", shape.stages, shape.microbatches)
    except PlanError as error:
        raise replace(error, where=caller()) from None
    topology = topology_of(module)
    names = [island.name for island in topology.islands][: shape.used]
    costs = stage_costs(module, function, [names[home] for home in shape.stage_island])
    activations = _activations(function, shape)
    tasks = {task_name(call)._replace(loop=None) for call in calls_in(function)}
    whole = {stage for stage in range(shape.stages) if TaskName(WEIGHT, stage) not in tasks}
    # The search is for an order of the plan's stages; whether these run in segments does not depend on the schedule.
    segments = [range(first, first + shape.segments) for first in range(0, shape.stages, shape.segments)]
    stages = [_together([costs[one] for one in stage]) for stage in segments]
    # The search times orders on islands that have cores of their own.
    planned_costs = replace(
        costs_of(topology, names, stages, [0] * len(names), shape.plan.replicas),
        at_once=None,
        activations=tuple(sum(activations[one] for one in stage) for stage in segments),
    )
    try:
        found = search(
            shape.used,
            shape.microbatches,
            planned_costs,
            _limits(module, loop, names),
            stage_island=shape.in_one_segment.stage_island,
            whole=[number for number, stage in enumerate(segments) if whole.issuperset(stage)],
        )
    except PlanError as error:
        raise replace(error, where=caller()) from None
    log.info("%s", found)
    return in_segments(found.schedule, shape.segments).whole_backward(whole)


def _together(segments: Sequence[StageCost]) -> StageCost:
    """What a stage that runs in segments costs; it sends from its last segment forward, from its first backward."""
    return StageCost(
        island=segments[0].island,
        forward=sum(one.forward for one in segments),
        backward=sum(one.backward for one in segments),
        weight=sum(one.weight for one in segments),
        forward_bytes=segments[-1].forward_bytes,
        backward_bytes=segments[0].backward_bytes,
        seconds=tuple(map(sum, zip(*(one.seconds for one in segments), strict=True))),  # type: ignore[arg-type] # three
    )


def _activations(function: func.FuncOp, shape: PipelineShape) -> tuple[float, ...]:
    """The bytes that each stage keeps of a microbatch, from its forward task to its backward tasks."""
    calls = {task_name(call)._replace(loop=None): call for call in calls_in(function)}
    kept = []
    for stage in range(shape.stages):
        forward, *later = (calls.get(TaskName(kind, stage)) for kind in (FORWARD, BACKWARD, WEIGHT))
        if forward is None:
            kept.append(0.0)
            continue
        outside = set(arguments_of(function))  # alive all the time, whatever the schedule
        at_hand = {*forward.operation.operands, *forward.operation.results} - outside
        values = {value for call in later if call is not None for value in call.operation.operands} & at_hand
        kept.append(float(sum(bytes_of(local_type(value.type)) for value in values)))
    return tuple(kept)


def _limits(module: ir.Module, loop: mpmd.ForOp, names: Sequence[str]) -> list[float] | None:
    """What each island has left for activations beside arguments and sums; None if no limit is set."""
    islands = {island.name: island for island in topology_of(module).islands}
    if all(islands[name].memory is None for name in names):
        return None
    taken: Counter[str] = Counter()
    replicas = replicas_of(module)
    main = entry_function(module)
    for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
        parts = (parts_of(marks) or replicas) // replicas
        taken[island_of(argument.type)] += bytes_of(local_type(argument.type)) * parts
    parts_of_results = parts_of_loop(loop)
    for number, begin in enumerate(loop.operation.operands):
        if number not in parts_of_results:  # parts begin as placeholders, which nobody reads
            taken[island_of(begin.type)] += bytes_of(local_type(begin.type))
    limits = []
    for name in names:
        memory = islands[name].memory
        limits.append(math.inf if memory is None else max(0.0, float(memory * islands[name].size - taken[name])))
    return limits
