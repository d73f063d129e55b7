"""Reads and writes the text of a schedule."""

from dataclasses import dataclass
from pathlib import Path

from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.task import Task
from atoll.compiler.schedules.task_table import TaskTable, counted, rows_of_blocks
from atoll.compiler.text.language import MOST_DIGITS, Language, Place, Reader
from atoll.compiler.text.quantities import whole_number
from lark import Token, v_args

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


def read_schedule(text: str) -> TaskTable:
    """The tasks that a text writes; whether they can be done in this order is for others to say."""
    table: TaskTable = _Reader(_LANGUAGE.source(text)).read()
    return table


def written_schedule(table: TaskTable) -> str:
    """A text that reads as an equal table."""
    header = f"schedule {table.name}: {counted(table.islands, 'island')}, {counted(table.microbatches, 'microbatch')}"
    if table.stage_island != tuple(range(table.islands)):
        header += f", stages on {' '.join(map(str, table.stage_island))}"
    rows = [f"island {island}: {_row_text(table, island)}".rstrip() for island in range(table.islands)]
    return "\n".join([header, *rows])


def _row_text(table: TaskTable, island: int) -> str:
    return " ".join("+".join(table.label(task, island) for task in block) for block in table.blocks[island])


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
    def start(self, header: _Header, *rows: _Row | None) -> TaskTable:
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
        in_order = [by_island[island] for island in range(header.islands)]
        rows_of_tasks, joined = rows_of_blocks(
            [self._block(block, row, homes) for block in row.blocks] for row in in_order
        )
        with self.at(0).blamed():
            return TaskTable(header.name, header.microbatches, homes, rows_of_tasks, joined)

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
