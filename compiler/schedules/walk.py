"""Follows a schedule: finds what is wrong with it, or an order in which all of its tasks can run."""

from collections.abc import Iterator
from functools import partial

from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.progress import Progress
from atoll.compiler.schedules.task import TASK_KINDS, Task
from atoll.compiler.schedules.task_table import Block, TaskTable
from atoll.compiler.source_line import EXCERPT_WIDTH
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT
from atoll.compiler.text.language import LISTED, shown

Key = tuple[str, int, int]  # equal to the task of these fields, and made in less time


def needs(task: Key, stages: int) -> tuple[Key, ...]:
    """The tasks that must have ended before a task begins."""
    kind, stage, microbatch = task
    if kind == FORWARD:
        return ((FORWARD, stage - 1, microbatch),) if stage else ()
    if kind == WEIGHT:
        return ((BACKWARD, stage, microbatch),)
    forward = (FORWARD, stage, microbatch)
    return (forward,) if stage == stages - 1 else (forward, (BACKWARD, stage + 1, microbatch))


def check(schedule: TaskTable) -> None:
    """Raises a `PlanError` unless every island can run its row from its beginning to its end."""
    check_tasks(schedule)
    for _ in walk(schedule):
        pass


def check_tasks(schedule: TaskTable) -> None:
    """Raises a `PlanError` unless the rows have every task once, on its island."""
    seen: set[Task] = set()
    for island, row in enumerate(schedule.rows):
        for index, task in enumerate(row):
            fault = _fault_of(task, island, schedule) or (task in seen and ("is there twice", "write each task once"))
            if fault:
                what, remedy = fault
                place = _Place(schedule, island, index)
                raise PlanError(f"{place.task} {what}", place.where, remedy, place.excerpt)
            seen.add(task)
    _check_complete(schedule, seen)


def _fault_of(task: Task, island: int, schedule: TaskTable) -> tuple[str, str] | None:
    """What is wrong with a task wherever it stands in its row, and what to do; None if nothing is."""
    if task.kind not in TASK_KINDS:
        return "is of no known kind", f"the kinds are {', '.join(TASK_KINDS)}"
    if not 0 <= task.stage < schedule.stages:
        return f"is of stage {task.stage}", f"the stages are 0 to {schedule.stages - 1}"
    if not 0 <= task.microbatch < schedule.microbatches:
        return f"is of microbatch {task.microbatch}", f"the microbatches are 0 to {schedule.microbatches - 1}"
    home = schedule.stage_island[task.stage]
    if home != island:
        return "is on the wrong island", f"stage {task.stage} is on island {home}"
    return None


def _check_complete(schedule: TaskTable, seen: set[Task]) -> None:
    """All forward tasks have to be there; if there are any others, all backward tasks; and of the weight tasks of each
    stage all or none."""
    kinds = (FORWARD, BACKWARD) if schedule.has_backward else (FORWARD,)
    wanted = len(kinds) * schedule.stages + len(schedule.split_stages)
    if len(seen) == wanted * schedule.microbatches:
        return
    for stage, island in enumerate(schedule.stage_island):
        for kind in (*kinds, WEIGHT) if stage in schedule.split_stages else kinds:
            for microbatch in range(schedule.microbatches):
                if Task(kind, stage, microbatch) not in seen:
                    place = _Place(schedule, island, len(schedule.rows[island]))
                    what = f"{place.label(Task(kind, stage, microbatch))} is missing"
                    remedy = "each task of a stage is there for every microbatch"
                    raise PlanError(what, f"schedule {schedule.name}, island {island}", remedy, place.excerpt)


def walk(schedule: TaskTable) -> Iterator[tuple[int, Block]]:
    """The islands' blocks, each after all that it needs; a `PlanError` if some islands wait for each other for ever."""
    progress = Progress[Key](schedule.blocks, partial(needs, stages=schedule.stages))
    for island, at in progress.run():
        yield island, schedule.blocks[island][at]
    if progress.stuck():
        raise _deadlock(schedule, progress)


def _deadlock(schedule: TaskTable, progress: Progress[Key]) -> PlanError:
    """The error that names what each island waits for; its place is that of the first."""
    places, lines = [], []
    for island, at in progress.stuck().items():
        blocks = schedule.blocks[island]
        places.append(_Place(schedule, island, sum(map(len, blocks[:at]))))
        need = Task(*(progress.missing(blocks[at]) or blocks[at][0]))
        home = schedule.stage_island[need.stage]
        block = "+".join(schedule.label(task, island) for task in blocks[at])
        lines.append(f"  {places[-1].row}: {block} waits for {schedule.label(need, home)} of island {home}")
    what = "the islands wait for ever" if len(lines) > 1 else "the island waits for ever"
    lines[LISTED:] = [f"  and {len(lines) - LISTED} more"] if lines[LISTED:] else []
    return PlanError(what, places[0].where, "run earlier what they wait for", "\n".join(lines))


class _Place:
    """A place in the table: a row and the index of a task in it."""

    def __init__(self, schedule: TaskTable, island: int, index: int) -> None:
        self._schedule, self._island, self._index = schedule, island, index

    @property
    def where(self) -> str:
        return f"schedule {self._schedule.name}, {self.row}"

    @property
    def row(self) -> str:
        return f"island {self._island}, column {self._index + 1}"

    @property
    def task(self) -> str:
        return self.label(self._schedule.rows[self._island][self._index])

    def label(self, task: Task) -> str:
        """The task as it would be written in this row."""
        return self._schedule.label(task, self._island) if task.kind in TASK_KINDS else shown(task.kind)

    @property
    def excerpt(self) -> str:
        """The row near the place with a caret under it."""
        row = self._schedule.rows[self._island]
        near = range(max(0, self._index - 8), min(len(row), self._index + 9))
        begin = f"island {self._island}: " + ("... " if near.start else "")
        words = [self.label(row[index]) for index in near]
        before = " ".join(words[: self._index - near.start])
        caret = len(begin) + len(before) + bool(before)
        line = begin + " ".join(words) + (" ..." if near.stop < len(row) else "")
        return f"  {line[: 2 * EXCERPT_WIDTH]}\n  {' ' * caret}^"
