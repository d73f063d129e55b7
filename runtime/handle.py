"""What the controller has of a value at a host: a number, by which the host knows it."""

import sys
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from atoll.runtime.messages import Drop, Fetch
from atoll.runtime.waiting import overdue

if TYPE_CHECKING:
    from atoll.runtime.hosted_islands import HostedIslands
    from atoll.runtime.step import Step

_numbers = count()


class Handle:
    """A value that an island keeps for as long as anything here refers to this.

    step: which makes it; None if it was put there.
    program: the number of the one that made it, or for which it was put there.
    buffer: of that program, from which its failure is traced back.
    size: bytes on each device of the island.
    """

    __slots__ = ("buffer", "hosted", "island", "number", "program", "readers", "shared", "size", "step", "taken")

    def __init__(
        self, hosted: "HostedIslands", island: str, program: int, buffer: int, size: int, step: "Step | None" = None
    ) -> None:
        self.hosted = hosted
        self.island = island
        self.program = program
        self.buffer = buffer
        self.size = size
        self.step = step
        self.number = next(_numbers)
        # Whether several arrays of the caller's rest on it; then donating one of them must not take it.
        self.shared = False
        # The steps of other clusters' programs that read it, by program and number: they keep no order with its island.
        self.readers: set[tuple[int, int]] = set()
        # Whether a step has taken it, and with it the task to forget it.
        self.taken = False

    @property
    def is_free(self) -> bool:
        """Whether a step may overwrite the value."""
        return not self.readers and not self.shared

    def get(self, patience: float) -> Any:  # noqa: ANN401 (a Value)
        """The value; waits until its island has it, which is long before it is computed."""
        value = self.hosted.ask(self.island, lambda request: Fetch(request, self.island, self.number), patience)
        if value is None:
            raise overdue(f"island {self.island} has not started to compute a value", patience)
        return value

    def look(self) -> Any:  # noqa: ANN401 (a Value)
        """The value; None if its island does not have it yet."""
        return self.hosted.ask(self.island, lambda request: Fetch(request, self.island, self.number), 0.0)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if self.taken or is_finalizing():  # when the process ends, nothing that this would need may be left
            return
        self.hosted.send(self.island, Drop(self.island, self.number, self.size))
        self.hosted.let_go(self.island, self.program, self.size)
