"""A task: one part of one stage's work for one microbatch."""

from typing import NamedTuple

from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT, TaskName

TASK_KINDS = (FORWARD, BACKWARD, WEIGHT)


class Task(NamedTuple):
    """One fragment, run for one microbatch of the loop that the schedule is for.

    kind: `F` forward, `B` backward to the stage's inputs, `W` to its weights. On a stage that has no `W` tasks, `B` is
    the whole backward.
    """

    kind: str
    stage: int
    microbatch: int

    @classmethod
    def of(cls, name: TaskName) -> "Task | None":
        """The task of a name; None if no schedule has such tasks."""
        kind, stage, microbatch, loop, turn, _ = name
        if kind not in TASK_KINDS or microbatch is None or loop is not None or turn:
            return None
        return cls(kind, stage, microbatch)

    @property
    def name(self) -> TaskName:
        """What the program calls it."""
        return TaskName(self.kind, self.stage, self.microbatch)

    def __str__(self) -> str:
        return str(self.name)
