"""A table of tasks: what each island runs, in its order."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import FORWARD, WEIGHT
from atoll.compiler.text.language import shown
from atoll.compiler.text.quantities import whole_number

Block = tuple[Task, ...]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:\([0-9]{1,9}\))?")  # NAME of schedule.lark

MOST_CELLS = 10**6  # each takes some hundred bytes, and some microseconds of every pass over the tasks


def check_size(name: str, stages: int, microbatches: int) -> None:
    """PlanError if there would be more tasks than anybody can wait for."""
    if stages * microbatches > MOST_CELLS:
        what = f"schedule {name} would run {counted(microbatches, 'microbatch')} on {counted(stages, 'stage')}"
        raise PlanError(what, remedy=f"take fewer: the product may be {MOST_CELLS}")


def counted(count: int, noun: str) -> str:
    """So many of what a noun names."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('ch') else 's'}"


def rows_of_blocks(blocks: Iterable[Sequence[Sequence[Task]]]) -> tuple[tuple[Block, ...], frozenset[Task]]:
    """For each island its tasks, whose blocks are given, and the tasks that are not the first of their block."""
    rows, joined = [], set[Task]()
    for row in blocks:
        rows.append(tuple(task for block in row for task in block))
        for block in row:
            joined.update(block[1:])
    return tuple(rows), frozenset(joined)


@dataclass(frozen=True)
class TaskTable:
    """The order of tasks on each island. Whether it can be followed, `check` says.

    name: what messages call it.
    microbatches: how many there are.
    stage_island: the island of each stage; every island has as many.
    rows: for each island its tasks, in the order in which it runs them.
    joined: the tasks that run as one block with the task before them in their row. A block begins when all is there
        that its tasks need, and what they make is there when it ends.
    """

    name: str
    microbatches: int
    stage_island: tuple[int, ...]
    rows: tuple[tuple[Task, ...], ...]
    joined: frozenset[Task] = frozenset()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise PlanError(f"{shown(self.name)} is no name for a schedule", remedy="write one word, such as my-own")
        where = f"schedule {self.name}"
        if not self.rows:
            raise PlanError("there are no islands", where, "write a row for each island")
        whole_number("the number of microbatches", self.microbatches, PlanError)
        for island in range(self.islands):
            stages = self.stage_island.count(island)
            if not stages or stages * self.islands != len(self.stage_island):
                what = f"island {island} has {stages} of the {len(self.stage_island)} stages"
                raise PlanError(what, where, f"give each of the {self.islands} islands as many")

    @property
    def islands(self) -> int:
        """How many islands there are."""
        return len(self.rows)

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return len(self.stage_island)

    @property
    def chunks(self) -> int:
        """How many stages each island has."""
        return self.stages // self.islands

    @cached_property
    def has_backward(self) -> bool:
        """Whether there is any task but forward tasks."""
        return any(task.kind != FORWARD for row in self.rows for task in row)

    @cached_property
    def split_stages(self) -> frozenset[int]:
        """The stages that have weight tasks; on all others `B` is the whole backward."""
        return frozenset(task.stage for row in self.rows for task in row if task.kind == WEIGHT)

    @cached_property
    def blocks(self) -> tuple[tuple[Block, ...], ...]:
        """For each island its tasks, those that run as one together."""
        return tuple(tuple(self._blocks(row)) for row in self.rows)

    def _blocks(self, row: tuple[Task, ...]) -> Iterator[Block]:
        if not self.joined:
            yield from zip(row, strict=True)
            return
        block: list[Task] = []
        for task in row:
            if block and task not in self.joined:
                yield tuple(block)
                block = []
            block.append(task)
        if block:
            yield tuple(block)

    def label(self, task: Task, island: int) -> str:
        """The task as it is written in an island's row: with its stage, unless that is the island's only one."""
        only = self.chunks == 1 and self.stage_island.index(island) == task.stage
        return f"{task.kind}{task.microbatch}" if only else str(task)

    def forward_only(self) -> Self:
        """The same without backward tasks, for inference."""
        return self._keeping(lambda task: task.kind == FORWARD)

    def whole_backward(self, stages: Collection[int]) -> Self:
        """The same with the backward of some stages in one piece: their `B` tasks do the work of their `W` tasks."""
        if self.split_stages.isdisjoint(stages):
            return self
        return self._keeping(lambda task: task.kind != WEIGHT or task.stage not in stages)

    def without(self, tasks: Collection[str]) -> Self:
        """The same without some tasks, such as `B0`, of any microbatch; the others need not be a whole schedule."""
        return self._keeping(lambda task: str(task.name.rolled) not in tasks) if tasks else self

    def _keeping(self, kept: Callable[[Task], bool]) -> Self:
        rows, joined = rows_of_blocks([[tuple(filter(kept, block)) for block in row] for row in self.blocks])
        return replace(self, rows=rows, joined=joined)
