"""A task of a step, as it is run on paper."""

from typing import NamedTuple


class StepTask(NamedTuple):
    """A task of a step.

    name: such as `L0.F3@1`; row: which of the rows it is in; loop: the number of its loop, None outside of loops.
    needs: the tasks, by number, that must have ended, and whose values must have arrived if they are in another row.
    sends: the bytes that it sends to another row when it ends, each as (row, bytes).
    """

    name: str
    row: int
    seconds: float
    loop: int | None = None
    needs: tuple[int, ...] = ()
    sends: tuple[tuple[int, float], ...] = ()
