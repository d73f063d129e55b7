"""The schedule of a loop over microbatches, as it stands on the loop.

Its rows are the loop's table of tasks, which people may edit. What no table tells stands beside it: the name of the
schedule, how many microbatches a replica runs, the island of each stage, and a check sum of the table as it was
written. By that a table that somebody has edited is told from the one that has the schedule's name.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.module.graph import iterations_of
from atoll.compiler.module.loop_roles import loop_role
from atoll.compiler.module.marks import SCHEDULE
from atoll.compiler.module.planned import plan_of, stage_islands, topology_of
from atoll.compiler.module.task_order import Cell, MicrobatchTask, cells_of, row_texts, set_cells
from atoll.compiler.plan.pipeline_shape import PIPELINES
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.task import Task
from atoll.compiler.schedules.walk import check
from atoll.compiler.task_name import TaskName

# What a schedule is called that somebody wrote into a dump.
_EDITED = "edited"


class _Beside(NamedTuple):
    """What stands beside a table."""

    name: str
    microbatches: int
    stage_island: tuple[int, ...]
    check_sum: str

    @classmethod
    def of(cls, loop: mpmd.ForOp) -> "_Beside | None":
        """None if a person wrote the loop, without this or in another form."""
        try:
            parts = ir.DictAttr(loop.operation.attributes[SCHEDULE])
            return cls(
                ir.StringAttr(parts["name"]).value,
                ir.IntegerAttr(parts["microbatches"]).value,
                tuple(ir.DenseI64ArrayAttr(parts["stage_island"])),
                ir.StringAttr(parts["check_sum"]).value,
            )
        except (KeyError, ValueError):
            return None

    def attribute(self) -> ir.DictAttr:
        return ir.DictAttr.get(
            {
                "name": ir.StringAttr.get(self.name),
                "microbatches": integer(self.microbatches),
                "stage_island": ir.DenseI64ArrayAttr.get(self.stage_island),
                "check_sum": ir.StringAttr.get(self.check_sum),
            }
        )


def set_schedule(loop: mpmd.ForOp, schedule: Schedule, islands: Sequence[str], tasks: Collection[TaskName]) -> None:
    """Write a schedule on the loop: islands by their names; what is not among the function's tasks will not run."""
    rows: dict[str, list[Cell]] = {name: [] for name, _ in zip(islands, schedule.rows, strict=False)}
    for name, blocks in zip(rows, schedule.blocks, strict=True):
        for number, task in ((number, task) for block in blocks for number, task in enumerate(block)):
            one = MicrobatchTask(task.name.rolled, task.microbatch)
            rows[name].append(Cell(one, is_joined=number > 0, is_absent=one.task not in tasks))
    set_cells(loop, rows)
    beside = _Beside(schedule.name, schedule.microbatches, schedule.stage_island, _check_sum(row_texts(loop)))
    loop.operation.attributes[SCHEDULE] = beside.attribute()


def schedule_of(module: ir.Module, loop: mpmd.ForOp) -> Schedule | None:
    """The schedule of a loop, with the tasks that nothing runs for.

    None for a loop that no schedule is for, and for a table that somebody wrote and that makes none.
    """
    plan = plan_of(module)
    if plan.placement is not None or loop_role(loop) not in PIPELINES:
        return None
    beside = _Beside.of(loop) or _Beside(
        _EDITED, iterations_of(loop) // plan.replicas, stage_islands(module), "written by hand"
    )
    is_edited = beside.check_sum != _check_sum(row_texts(loop))
    cells = cells_of(loop)
    names = [island.name for island in topology_of(module).islands][: max(beside.stage_island) + 1]
    try:
        schedule = Schedule(
            _EDITED if is_edited else beside.name,
            beside.microbatches,
            beside.stage_island,
            tuple(tuple(_of_loop(cell.task) for cell in cells.get(name, ())) for name in names),
            frozenset(_of_loop(cell.task) for row in cells.values() for cell in row if cell.is_joined),
        )
        if is_edited:
            check(schedule)
    except (PlanError, ValueError):
        return None
    return schedule


def _of_loop(task: MicrobatchTask) -> Task:
    """ValueError for a task that no schedule has."""
    found = Task.of(task.task.of(task.microbatch))
    if found is None:
        raise ValueError(f"no schedule has {task}")
    return found


def _check_sum(rows: Mapping[str, str]) -> str:
    return hashlib.sha256("\n".join(f"{name} {rows[name]}" for name in sorted(rows)).encode()).hexdigest()[:8]
