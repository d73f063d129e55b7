"""The table of tasks of a loop over microbatches: for each island a row, in which it runs them from left to right.

The loop carries it as text, `{island0 = "F0@0 F1@0 B0@0"}`, which people may edit: `F1@0` is task `F0` of microbatch 1.
"""

from collections.abc import Mapping, Sequence
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


def order_of(loop: mpmd.ForOp) -> dict[str, list[MicrobatchTask]]:
    """For each island its tasks in order."""
    attributes = loop.operation.attributes
    if ORDER not in attributes or not isinstance(attributes[ORDER], ir.DictAttr):
        raise refuse(loop.location, "a loop has no order of tasks", "run order-tasks")
    rows = ir.DictAttr(attributes[ORDER])
    named = [rows[number] for number in range(len(rows))]
    return {row.name: [_task(text, loop) for text in ir.StringAttr(row.attr).value.split()] for row in named}


def set_order(loop: mpmd.ForOp, rows: Mapping[str, Sequence[MicrobatchTask]]) -> None:
    """Write the table on the loop."""
    texts: dict[str, ir.Attribute] = {
        island: ir.StringAttr.get(" ".join(map(str, row))) for island, row in rows.items()
    }
    loop.operation.attributes[ORDER] = ir.DictAttr.get(texts)


def _task(text: str, loop: mpmd.ForOp) -> MicrobatchTask:
    try:
        name = TaskName.parse(text)
    except ValueError:
        name = None
    if name is None or name.microbatch is None:
        raise refuse(loop.location, f"{shown(text)} is no task", "write for example F3@0: task F0 of microbatch 3")
    return MicrobatchTask(name.rolled, name.microbatch)
