"""Schedules whose stages run in segments."""

from collections.abc import Iterator
from dataclasses import replace

from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.task import Task
from atoll.compiler.schedules.task_table import Block, check_size, rows_of_blocks
from atoll.compiler.task_name import FORWARD


def in_segments(schedule: Schedule, count: int) -> Schedule:
    """The same order with so many stages for each: its segments, which its island runs one behind the other.

    Where a task is at work in the schedule, those of its segments follow each other: forward from the first, and
    backward from the last. A task that waits for another island still waits for it alone, since between two segments
    nothing crosses.
    """
    if count == 1:
        return schedule
    check_size(f"{schedule.name} in segments", schedule.stages * count, schedule.microbatches)
    rows, joined = rows_of_blocks([part for block in row for part in _parts(block, count)] for row in schedule.blocks)
    stage_island = tuple(island for island in schedule.stage_island for _ in range(count))
    return replace(schedule, stage_island=stage_island, rows=rows, joined=joined)


def _parts(block: Block, count: int) -> list[Block]:
    """A task that runs by itself becomes so many that do; what runs as one block stays one."""
    tasks = tuple(part for task in block for part in _segments(task, count))
    return [tasks] if len(block) > 1 else [(task,) for task in tasks]


def _segments(task: Task, count: int) -> Iterator[Task]:
    first = task.stage * count
    stages = range(first, first + count)
    for stage in stages if task.kind == FORWARD else reversed(stages):
        yield task._replace(stage=stage)
