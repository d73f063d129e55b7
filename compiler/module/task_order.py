"""The table of tasks of a loop over microbatches: for each island a row, in which it runs them from left to right.

The loop carries it as text, `{island0 = "F0@0 F1@0 B0@0"}`, which people may edit: `F1@0` is task `F0` of microbatch 1.
Tasks with `+` between them run as one block. One in parentheses, `(B0@0)`, is there for the schedule alone: the loop's
function has nothing to run for it, and the schedule says when that would be.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.module.marks import ORDER
from atoll.compiler.task_name import TaskName
from atoll.compiler.text.language import shown


class MicrobatchTask(NamedTuple):
    """A task of a loop's function, for one microbatch."""

    task: TaskName
    microbatch: int

    def __str__(self) -> str:
        return str(self.task.of(self.microbatch))


class Cell(NamedTuple):
    """A task as it stands in a row.

    is_joined: it runs as one block with the task before it.
    is_absent: the function has nothing to run for it.
    """

    task: MicrobatchTask
    is_joined: bool = False
    is_absent: bool = False


def order_of(loop: mpmd.ForOp) -> dict[str, list[MicrobatchTask]]:
    """For each island the tasks that it runs, in order."""
    return {island: [cell.task for cell in row if not cell.is_absent] for island, row in cells_of(loop).items()}


def cells_of(loop: mpmd.ForOp) -> dict[str, list[Cell]]:
    """For each island all that stands in its row."""
    return {island: list(_cells(text, loop)) for island, text in row_texts(loop).items()}


def row_texts(loop: mpmd.ForOp) -> dict[str, str]:
    """For each island its row, with single blanks."""
    attributes = loop.operation.attributes
    if ORDER not in attributes or not isinstance(attributes[ORDER], ir.DictAttr):
        raise refuse(loop.location, "a loop has no order of tasks", "run order-tasks")
    rows = ir.DictAttr(attributes[ORDER])
    named = [rows[number] for number in range(len(rows))]
    return {row.name: " ".join(ir.StringAttr(row.attr).value.split()) for row in named}


def set_order(loop: mpmd.ForOp, rows: Mapping[str, Sequence[MicrobatchTask]]) -> None:
    """Write the table on the loop."""
    set_cells(loop, {island: list(map(Cell, row)) for island, row in rows.items()})


def set_cells(loop: mpmd.ForOp, rows: Mapping[str, Sequence[Cell]]) -> None:
    """Write the table on the loop, with what only a schedule knows."""
    texts: dict[str, ir.Attribute] = {
        island: ir.StringAttr.get("".join(map(_cell_text, row)).lstrip()) for island, row in rows.items()
    }
    loop.operation.attributes[ORDER] = ir.DictAttr.get(texts)


def _cell_text(cell: Cell) -> str:
    return f"{'+' if cell.is_joined else ' '}{f'({cell.task})' if cell.is_absent else cell.task}"


def _cells(text: str, loop: mpmd.ForOp) -> Iterator[Cell]:
    for block in text.split():
        for number, one in enumerate(block.split("+")):
            is_absent = one.startswith("(") and one.endswith(")")
            yield Cell(_task(one[1:-1] if is_absent else one, loop), number > 0, is_absent)


def _task(text: str, loop: mpmd.ForOp) -> MicrobatchTask:
    try:
        name = TaskName.parse(text)
    except ValueError:
        name = None
    if name is None or name.microbatch is None:
        raise refuse(loop.location, f"{shown(text)} is no task", "write for example F3@0: task F0 of microbatch 3")
    return MicrobatchTask(name.rolled, name.microbatch)
