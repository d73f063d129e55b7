"""A schedule: the order of tasks on each island."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from atoll.compiler.errors import PlanError
from atoll.compiler.language import shown
from atoll.compiler.quantities import whole_number
from atoll.compiler.schedules.simulate import Simulation, simulate, uniform
from atoll.compiler.schedules.task import FORWARD, WEIGHT, Task

Block = tuple[Task, ...]

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:\([0-9]{1,9}\))?")


@dataclass(frozen=True)
class Schedule:
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
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
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

    def forward_only(self) -> "Schedule":
        """The same without backward tasks, for inference."""
        return self._keeping(lambda task: task.kind == FORWARD)

    def whole_backward(self, stages: Collection[int]) -> "Schedule":
        """The same with the backward of some stages in one piece: their `B` tasks do the work of their `W` tasks."""
        return self._keeping(lambda task: task.kind != WEIGHT or task.stage not in stages)

    def _keeping(self, kept: Callable[[Task], bool]) -> "Schedule":
        blocks = [[list(filter(kept, block)) for block in row] for row in self.blocks]
        rows = tuple(tuple(task for block in row for task in block) for row in blocks)
        joined = frozenset(task for row in blocks for block in row for task in block[1:])
        return replace(self, rows=rows, joined=joined)

    def simulate(
        self,
        forward: float = 1.0,
        backward: float = 1.0,
        weight: float = 1.0,
        update: float = 0.0,
        transfer: float = 0.0,
    ) -> Simulation:
        """What the schedule costs if all islands are alike.

        forward, backward, weight: the time of a microbatch on an island's whole share; a chunk takes its part of it.
        update: the time of what follows an island's last task.
        transfer: the time that a value takes from one island to another.
        Peaks are in activations of one microbatch of an island's share.
        """
        # In chunks' units, so that sums of whole numbers stay exact however many chunks there are.
        chunks = self.chunks
        costs = uniform(self, forward, backward, weight, update * chunks, transfer * chunks)
        return simulate(self, costs).divided(chunks)
