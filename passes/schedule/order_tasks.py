"""Pass `order-tasks`."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.graph import iterations_of
from atoll.compiler.module.loop_roles import loop_role
from atoll.compiler.module.loop_schedule import set_schedule
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import STAGES
from atoll.compiler.module.planned import shape_of, stages_of, topology_of
from atoll.compiler.module.task_order import MicrobatchTask, set_order
from atoll.compiler.module.tasks import calls_in, dataflow_functions, island_of_task, microbatch_name, task_name
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.plan.pipeline_shape import PIPELINES, PipelineShape
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT, TaskName
from atoll.compiler.tracebacks import caller
from atoll.passes.schedule.order.auto_schedule import auto_schedule
from atoll.passes.schedule.order.dataflow_order import Order, dataflow_order, sweep_by_sweep
from atoll.passes.schedule.order.many_sweeps import order_of_many_sweeps
from atoll.passes.schedule.order.task_nodes import nodes_of

log = logging.getLogger(__name__)

# The only schedule that fits any number of sweeps: each sweep runs for all microbatches before the next one begins.
_SWEEP_BY_SWEEP = "gpipe"


@dataclass(frozen=True)
class OrderTasks(Pass):
    """Write on each loop over microbatches the order in which every island runs its tasks.

    The loop stays rolled: its function, its fragments and the transfers between them are there once, and the table of
    tasks alone grows with the number of microbatches. The order is that of the plan's schedule, or of the best one that
    is found, and the loop names that schedule. In a loop that no schedule is for, as it has a free placement or goes
    over the stages more often, the order follows the dataflow, or goes sweep by sweep. It is that of one replica: the
    others run their microbatches in the same order.

    Requires: phase `placed`.

        mpmd.for (...) {iterations = 2 : ui32} {... mpmd.call @microbatch(...)}
        ~~>
        mpmd.for (...) {atoll.order = {island0 = "F0@0 F1@0 B0@0 B1@0"}, atoll.schedule = {name = "gpipe", ...},
                        iterations = 2 : ui32} {...}
    """

    def run(self, module: ir.Module) -> None:
        functions = dataflow_functions(module)
        _check_stages(module)
        names = [island.name for island in topology_of(module).islands]
        main = entry_function(module)
        loops = operations_in(main, mpmd.ForOp)
        if not loops:
            _check_fits(shape_of(module), {task_name(call) for call in calls_in(main)})
            log.info("nothing to do: there is no loop over microbatches")
            return
        for loop in loops[:-1]:
            set_order(loop, _earlier(module, loop, functions[microbatch_name(loop)], shape_of(module), names))
        loop, shape = loops[-1], shape_of(module)
        function, kinds = functions[microbatch_name(loop)], loop_role(loop)
        _check_microbatches(loop, shape)
        if kinds in PIPELINES and shape.plan.placement is None:
            schedule = _schedule(module, loop, function, kinds, shape)
            _check_tasks(loop, calls_in(function), schedule, names)
            set_schedule(loop, schedule, names, {task_name(call) for call in calls_in(function)})
        else:
            set_order(loop, _unscheduled(module, loop, function, kinds, shape, names))


def _schedule(module: ir.Module, loop: mpmd.ForOp, function: func.FuncOp, kinds: str, shape: PipelineShape) -> Schedule:
    """The plan's schedule; if it leaves that open, the best for a loop that goes forward and backward."""
    if shape.plan.has_open_schedule and BACKWARD in kinds and shape.is_even:
        return auto_schedule(module, loop, function, shape)
    return shape.schedule_of(kinds, {task_name(call)._replace(loop=None) for call in calls_in(function)})


def _check_stages(module: ir.Module) -> None:
    """Refuse a plan with other stages than the module has: it was changed after the phase that decides on them."""
    shape = shape_of(module)
    if STAGES in module.operation.attributes and stages_of(module) != shape.stages:
        what = f"the plan makes {shape.stages} stages, each segment counted, and the module has {stages_of(module)}"
        raise refuse(module.operation.location, what, _as_it_was("timed"))


def _check_microbatches(loop: mpmd.ForOp, shape: PipelineShape) -> None:
    """Refuse a plan with other microbatches than the loop has."""
    wanted, found = shape.microbatches * shape.plan.replicas, iterations_of(loop)
    if wanted != found:
        what = f"the plan has {wanted} microbatches on all replicas together, and the module has {found}"
        raise refuse(loop.location, what, _as_it_was("stablehlo"))


def _check_tasks(
    loop: mpmd.ForOp, calls: Sequence[mpmd.FragmentCallOp], schedule: Schedule, names: Sequence[str]
) -> None:
    """Refuse a schedule that has a stage on another island than the module, or lacks one of its tasks."""
    islands = {task.name.rolled: name for name, row in zip(names, schedule.rows, strict=False) for task in row}
    for call in calls:
        planned, found = islands.get(task_name(call)), island_of_task(call)
        if planned != found:
            where = "nowhere" if planned is None else f"on {planned}"
            what = f"schedule {schedule.name} has {task_name(call)} {where}, and the module has it on {found}"
            raise refuse(loop.location, what, _as_it_was("timed"))


def _as_it_was(phase: str) -> str:
    return f"give the plan as it was, or change it in a dump of phase {phase}, after which this is decided"


def _check_fits(shape: PipelineShape, tasks: set[TaskName]) -> None:
    """Refuse a schedule that does not fit, even where there is no loop, and so only one order: that of the dataflow.

    Without a loop backward tasks are not split. A kind of schedule then leaves out its weight tasks, as it does in a
    loop for stages whose backward tasks are whole; but a table that somebody wrote is followed as it is, or not at all.
    """
    if shape.plan.placement is not None or shape.plan.has_open_schedule:
        return
    has_backward = any(task.kind == BACKWARD for task in tasks)
    shape.schedule_of("FB" if has_backward else "F", tasks)
    written = shape.plan.schedule
    if has_backward and isinstance(written, Schedule) and written.split_stages:
        first = next(str(task) for row in written.rows for task in row if task.kind == WEIGHT)
        what = f"schedule {written.name} runs {first} by itself, and with one microbatch no backward task is split"
        raise PlanError(what, caller(), "write backward tasks without weight tasks, or ask for more microbatches")


def _earlier(
    module: ir.Module, loop: mpmd.ForOp, function: func.FuncOp, shape: PipelineShape, names: Sequence[str]
) -> dict[str, list[MicrobatchTask]]:
    """The order of a loop before the last one: that of the schedule that the plan names or leaves open, if one is for
    such a loop."""
    _check_microbatches(loop, shape)
    kinds, tasks = loop_role(loop), {task_name(call) for call in calls_in(function)}
    if kinds not in PIPELINES or BACKWARD not in kinds or shape.plan.placement is not None:
        return _by_dataflow(function, shape.microbatches, names)
    if shape.plan.has_open_schedule and not _is_whole(tasks, shape):
        # As in 1F1B no more microbatches are under way than there are stages to work on them.
        return _by_dataflow(function, shape.microbatches, names, min(shape.stages, shape.microbatches))
    number = next(task.loop for task in tasks)
    schedule = _schedule(module, loop, function, kinds, shape)
    rows = [[(task.name.rolled._replace(loop=number), task.microbatch) for task in row] for row in schedule.rows]
    return {
        name: [MicrobatchTask(task, microbatch) for task, microbatch in row if task in tasks]
        for name, row in zip(names, rows, strict=False)
    }


def _is_whole(tasks: Collection[TaskName], shape: PipelineShape) -> bool:
    """Whether a loop goes forward and backward over every stage, so that a schedule can be searched for it."""
    stages = {kind: {task.number for task in tasks if task.kind == kind} for kind in (FORWARD, BACKWARD)}
    return shape.is_even and all(len(found) == shape.stages for found in stages.values())


def _unscheduled(
    module: ir.Module,
    loop: mpmd.ForOp,
    function: func.FuncOp,
    kinds: str,
    shape: PipelineShape,
    names: Sequence[str],
) -> dict[str, list[MicrobatchTask]]:
    """The order of the last loop, if no schedule is for it."""
    if shape.plan.placement is None:
        return _tasks_in(_many_sweeps(module, loop, function, len(kinds), shape, names), function, names)
    return _by_dataflow(function, shape.microbatches, names)


def _by_dataflow(
    function: func.FuncOp, microbatches: int, names: Sequence[str], open_at_once: int | None = None
) -> dict[str, list[MicrobatchTask]]:
    return _tasks_in(dataflow_order(nodes_of(function, names), microbatches, open_at_once), function, names)


def _tasks_in(order: Order, function: func.FuncOp, names: Sequence[str]) -> dict[str, list[MicrobatchTask]]:
    calls = calls_in(function)
    return {
        names[island]: [MicrobatchTask(task_name(calls[number]), one) for number, one in row]
        for island, row in order.items()
    }


def _many_sweeps(
    module: ir.Module,
    loop: mpmd.ForOp,
    function: func.FuncOp,
    sweeps: int,
    shape: PipelineShape,
    names: Sequence[str],
) -> Order:
    """The order of a loop of a pipeline that goes over the stages more often than forward and backward."""
    schedule = shape.plan.schedule
    if shape.plan.has_open_schedule:
        return order_of_many_sweeps(module, loop.location, function, sweeps, shape.microbatches, names)
    if schedule == _SWEEP_BY_SWEEP:
        return sweep_by_sweep(nodes_of(function, names), shape.microbatches)
    name = schedule.name if isinstance(schedule, Schedule) else schedule
    what = f"schedule {name} goes over the stages forward and backward, and the function does so {sweeps} times"
    raise PlanError(what, caller(), f"leave the schedule out, or take {_SWEEP_BY_SWEEP}")
