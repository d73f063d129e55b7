"""A task: one part of one stage's work for one microbatch."""

from typing import NamedTuple

FORWARD, BACKWARD, WEIGHT = KINDS = ("F", "B", "W")


class Task(NamedTuple):
    """One fragment, run for one microbatch.

    kind: `F` forward, `B` backward to the stage's inputs, `W` to its weights. On a stage that has no `W` tasks, `B` is
    the whole backward.
    """

    kind: str
    stage: int
    microbatch: int

    def __str__(self) -> str:
        return f"{self.kind}{self.microbatch}@{self.stage}"
