"""A schedule: the order of tasks on each island."""

import itertools
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.picture import gantt_svg, schedule_panel
from atoll.compiler.schedules.simulate import Simulation, simulate, uniform
from atoll.compiler.schedules.task import FORWARD, WEIGHT, Task
from atoll.compiler.schedules.walk import check
from atoll.compiler.text.language import MOST_DIGITS, Language, Place, Reader, shown
from atoll.compiler.text.quantities import whole_number
from lark import Token, v_args

Block = tuple[Task, ...]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:\([0-9]{1,9}\))?")  # NAME of schedule.lark

MOST_CELLS = 10**6  # each takes some hundred bytes, and some microseconds of every pass over the tasks

_LANGUAGE = Language(
    name="schedule text",
    grammar=Path(__file__).with_name("schedule.lark"),
    error=PlanError,
    terminals={
        "NAME": "a name",
        "INT": "a whole number",
        "TASK": "a task such as F0 or B0@1",
        "_SEPARATOR": "a new line or ';'",
        "_ISLANDS": "'islands'",
        "_MICROBATCHES": "'microbatches'",
    },
)


def check_size(name: str, stages: int, microbatches: int) -> None:
    """PlanError if there would be more tasks than anybody can wait for."""
    if stages * microbatches > MOST_CELLS:
        what = f"schedule {name} would run {_counted(microbatches, 'microbatch')} on {_counted(stages, 'stage')}"
        raise PlanError(what, remedy=f"take fewer: the product may be {MOST_CELLS}")


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

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """The schedule that a text writes, checked."""
        parsed: Schedule = _Reader(_LANGUAGE.source(text)).read()
        check(parsed)
        return parsed

    def __str__(self) -> str:
        """A text that parses to an equal schedule."""
        header = (
            f"schedule {self.name}: {_counted(self.islands, 'island')}, {_counted(self.microbatches, 'microbatch')}"
        )
        if self.stage_island != tuple(range(self.islands)):
            header += f", stages on {' '.join(map(str, self.stage_island))}"
        rows = [f"island {island}: {self._row_text(island)}".rstrip() for island in range(self.islands)]
        return "\n".join([header, *rows])

    def _row_text(self, island: int) -> str:
        return " ".join("+".join(self.label(task, island) for task in block) for block in self.blocks[island])

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
        if self.split_stages.isdisjoint(stages):
            return self
        return self._keeping(lambda task: task.kind != WEIGHT or task.stage not in stages)

    def without(self, tasks: Collection[str]) -> "Schedule":
        """The same without some tasks, such as `B0`, of any microbatch; the others need not be a whole schedule."""
        return self._keeping(lambda task: f"{task.kind}{task.stage}" not in tasks) if tasks else self

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

    def table(self) -> str:
        """A row for each island and a column for each tick, if every task of a chunk takes one; `.` is a pause."""
        simulation = simulate(self, uniform(self))
        rows = [["."] * round(simulation.makespan) for _ in range(self.islands)]
        for task, island, start, end in simulation.tasks:
            for tick in range(round(start), round(end)):
                rows[island][tick] = self.label(task, island)
        width = max(len(cell) for row in rows for cell in row)
        digits = len(str(self.islands - 1))
        return "\n".join(
            f"island {island:{digits}}: {' '.join(f'{cell:{width}}' for cell in row)}".rstrip()
            for island, row in enumerate(rows)
        )

    def svg(self, simulation: Simulation | None = None) -> str:
        """A picture: a row for each island, and bars for its tasks as simulated, by default with equal costs."""
        return gantt_svg([schedule_panel(self, simulation or self.simulate(), f"schedule {self.name}")])


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('ch') else 's'}"


@dataclass(frozen=True)
class _Header:
    name: str
    islands: int
    microbatches: int
    homes: tuple[int, ...]


@dataclass(frozen=True)
class _Row:
    place: Place
    island: int
    blocks: tuple[tuple[Token, ...], ...]


@v_args(inline=True)
class _Reader(Reader):
    def start(self, header: _Header, *rows: _Row | None) -> Schedule:
        by_island: dict[int, _Row] = {}
        for row in filter(None, rows):  # lark gives None for an empty line
            if row.island >= header.islands:
                raise row.place.fault(f"there is no island {row.island}", f"the islands are 0 to {header.islands - 1}")
            if row.island in by_island:
                raise row.place.fault(f"island {row.island} has two rows", "write one row for each island")
            by_island[row.island] = row
        missing = next((island for island in range(header.islands) if island not in by_island), None)
        if missing is not None:
            raise self.at(0).fault(f"island {missing} has no row", "write one row for each island")
        homes = header.homes or tuple(range(header.islands))
        blocks = [[self._block(block, row, homes) for block in row.blocks] for _, row in sorted(by_island.items())]
        rows_of_tasks = tuple(tuple(itertools.chain(*row)) for row in blocks)
        joined = frozenset(task for row in blocks for block in row for task in block[1:])
        with self.at(0).blamed():
            return Schedule(header.name, header.microbatches, homes, rows_of_tasks, joined)

    def _block(self, block: tuple[Token, ...], row: _Row, homes: tuple[int, ...]) -> list[Task]:
        tasks = []
        for token in block:
            microbatch, _, stage = token[1:].partition("@")
            if not stage and homes.count(row.island) != 1:
                mine = [str(at) for at, island in enumerate(homes) if island == row.island]
                has = (
                    f"island {row.island} has the stages {', '.join(mine)}" if mine else f"island {row.island} has none"
                )
                raise self.at(token).fault(f"{token} has no stage, and {has}", f"write it as in {token}@0")
            tasks.append(Task(token[0], int(stage) if stage else homes.index(row.island), int(microbatch)))
        return tasks

    def header(self, name: Token, islands: Token, microbatches: Token, homes: tuple[int, ...] | None) -> _Header:
        return _Header(str(name), self._count(islands), self._count(microbatches), homes or ())

    def _count(self, token: Token) -> int:
        with self.at(token).blamed():
            return whole_number("the number", self.whole(token), PlanError)

    def homes(self, *islands: Token) -> tuple[int, ...]:
        return tuple(self.whole(island) for island in islands)

    def row(self, island: Token, *blocks: tuple[Token, ...]) -> _Row:
        return _Row(self.at(island), self.whole(island), blocks)

    def block(self, *tasks: Token) -> tuple[Token, ...]:
        for task in tasks:
            if len(task) > MOST_DIGITS:
                raise self.at(task).fault(f"the task has {len(task)} characters", f"write at most {MOST_DIGITS}")
        return tasks
