"""What a task is called: one text for each, which tables of tasks, streams, traces, reports and messages all have."""

import re
from typing import NamedTuple

FORWARD, BACKWARD, WEIGHT = "F", "B", "W"
# What stands before a loop over microbatches, and after the last one.
INITIAL, UPDATE = "I", "U"
# A part of an exchange between replicas, and what divides a value otherwise and computes nothing.
EXCHANGE, RESHARD = "X", "R"

_NUMBER = "(?:0|[1-9][0-9]{0,8})"  # without leading zeros, so that a task has one text
_TEXT = re.compile(
    rf"(?:L(?P<loop>{_NUMBER})\.)?(?P<kind>[FBWIUR])(?P<first>{_NUMBER})(?:@(?P<stage>{_NUMBER}))?"
    rf"(?:\.(?P<turn>[1-9][0-9]{{0,8}}))?|X(?P<exchange>{_NUMBER})\.(?P<part>[a-z]+[0-9]*)"
)


class TaskName(NamedTuple):
    """A task: `F0` is the forward task of stage 0, for every microbatch in its turn, and `F3@0` is it for microbatch 3.

    kind: one of the letters above.
    number: of the stage; of `X` and `R`, which are of no stage, that of the exchange and of the value: `X0.add`, `R2`.
    microbatch: None outside of loops over microbatches, and for what is said of all microbatches.
    loop: the number of the loop over microbatches that it stands in or before: `L0.F3@0`; None for the last one, which
        most programs have alone, and for what is of no loop.
    turn: how many tasks of its kind its stage has run before it; where stages are gone over more often than there are
        kinds, `U0.1` follows `U0`.
    part: what a task of an exchange does for it.
    """

    kind: str
    number: int
    microbatch: int | None = None
    loop: int | None = None
    turn: int = 0
    part: str = ""

    @classmethod
    def parse(cls, text: str) -> "TaskName":
        """The task of a name; ValueError if no task is called that."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError("no task has this name")
        loop, kind, first, stage, turn, exchange, part = match.groups()
        if exchange is not None:
            return cls(EXCHANGE, int(exchange), part=part)
        number, microbatch = (first, None) if stage is None else (stage, int(first))
        return cls(kind, int(number), microbatch, None if loop is None else int(loop), int(turn or 0))

    def __str__(self) -> str:
        kind, number, microbatch, loop, turn, part = self
        text = f"{kind}{number}" if microbatch is None else f"{kind}{microbatch}@{number}"
        if loop is not None:
            text = f"L{loop}.{text}"
        return f"{text}.{turn or part}" if turn or part else text

    @property
    def stage(self) -> int | None:
        """The stage whose work it is."""
        return None if self.kind in (EXCHANGE, RESHARD) else self.number

    @property
    def rolled(self) -> "TaskName":
        """The task as the function of its loop has it, once for all microbatches."""
        return self._replace(microbatch=None)

    def of(self, microbatch: int) -> "TaskName":
        """The task for one microbatch."""
        return self._replace(microbatch=microbatch)


def loop_in_names(number: int, loops: int) -> int | None:
    """How names say in which of so many loops a task stands: of the last one, they say nothing."""
    return None if number == loops - 1 else number
