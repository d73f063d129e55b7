"""The schedule of a loop over microbatches, as it stands on the loop.

Its rows are the loop's table of tasks, which people may edit. What the table cannot tell stands beside it: the name of
the schedule, how many microbatches a replica runs, the island of each stage, and a checksum of the table as it was
written. By the checksum a table that somebody edited is recognised, which is no longer the schedule of that name.
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

# The name of a schedule whose table somebody wrote or changed in a dump.
_EDITED = "edited"


class _Beside(NamedTuple):
    """What stands on the loop beside its table."""

    name: str
    microbatches: int
    stage_island: tuple[int, ...]
    check_sum: str

    @classmethod
    def of(cls, loop: mpmd.ForOp) -> "_Beside | None":
        """What a loop has; None if a person wrote the loop and left this out, or wrote it in another form."""
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
    """Write a schedule on the loop.

    islands: the names of the islands, by number. tasks: those of the function; any other task is marked as absent.
    """
    rows: dict[str, list[Cell]] = {name: [] for name, _ in zip(islands, schedule.rows, strict=False)}
    for name, blocks in zip(rows, schedule.blocks, strict=True):
        for number, task in ((number, task) for block in blocks for number, task in enumerate(block)):
            one = MicrobatchTask(task.name.rolled, task.microbatch)
            rows[name].append(Cell(one, is_joined=number > 0, is_absent=one.task not in tasks))
    set_cells(loop, rows)
    beside = _Beside(schedule.name, schedule.microbatches, schedule.stage_island, _check_sum(row_texts(loop)))
    loop.operation.attributes[SCHEDULE] = beside.attribute()


def schedule_of(module: ir.Module, loop: mpmd.ForOp) -> Schedule | None:
    """The schedule of a loop, absent tasks included.

    None for a loop whose role no schedule is for, and for a table that somebody wrote and that is no schedule.
    """
    plan = plan_of(module)
    if plan.placement is not None or loop_role(loop) not in PIPELINES:
        return None
    beside = _Beside.of(loop) or _Beside(
        _EDITED, iterations_of(loop) // plan.replicas, stage_islands(module), "written by hand"
    )
    is_edited = beside.check_sum != _check_sum(row_texts(loop))
    cells = {island: [(_of_loop(cell.task), cell.is_joined) for cell in row] for island, row in cells_of(loop).items()}
    if any(task is None for row in cells.values() for task, _ in row):
        return None
    names = [island.name for island in topology_of(module).islands][: max(beside.stage_island) + 1]
    try:
        schedule = Schedule(
            _EDITED if is_edited else beside.name,
            beside.microbatches,
            beside.stage_island,
            tuple(tuple(task for task, _ in cells.get(name, ()) if task is not None) for name in names),
            frozenset(task for row in cells.values() for task, is_joined in row if is_joined and task is not None),
        )
        if is_edited:
            check(schedule)
    except PlanError:
        return None
    return schedule


def _of_loop(task: MicrobatchTask) -> Task | None:
    """None for a task that no schedule has."""
    return Task.of(task.task.of(task.microbatch))


def _check_sum(rows: Mapping[str, str]) -> str:
    return hashlib.sha256("\n".join(f"{name} {rows[name]}" for name in sorted(rows)).encode()).hexdigest()[:8]
