"""The worker of an island as a pure state machine: events in, actions out; no threads, no clock, no jax.

It knows how far the island has come in its instruction stream and which values have arrived. Steps are carried out
one after the other. `island` is the thin edge around it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from atoll.runtime.program import Instruction, Receive

Message = tuple[int, str, int]  # step, source, tag


class Begin(NamedTuple):
    """The controller asks for a step. It may ask twice: after Ctrl-C it repeats what it is not sure of."""

    step: int


class Arrive(NamedTuple):
    """A value came from another island, possibly for a step that is still far ahead; or what stands in its place."""

    step: int
    source: str
    tag: int


class Carry(NamedTuple):
    """Carry out instructions start <= index < stop of a step: all that they wait for is here.

    last: the step ends with them.
    """

    step: int
    start: int
    stop: int
    last: bool


Event = Begin | Arrive


class Worker:
    """`handle` an event; the answer is what can now be carried out, in order."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        receives = [(index, one) for index, one in enumerate(instructions) if isinstance(one, Receive)]
        self._receives = [(index, one.source, one.tag) for index, one in receives]
        self._position = {(one.source, one.tag): position for position, (_, one) in enumerate(receives)}
        self._end = len(instructions)
        self.begun = -1  # the last step that was asked for
        self.awaited: Message | None = None  # in the midst of a step; if it only waits for a step, nothing
        self._step = 0  # the step that is being carried out
        self._index = 0  # the first instruction of that step that was not carried out yet
        self._passed = 0  # how many of that step's receives were carried out
        self._arrived: set[Message] = set()

    def is_past(self, step: int, source: str, tag: int) -> bool:
        """Whether a value comes too late: the island has gone on without it."""
        return step < self._step or (step == self._step and self._position[source, tag] < self._passed)

    def handle(self, event: Event) -> list[Carry]:
        if isinstance(event, Begin):
            if event.step != self.begun + 1:
                return []
            self.begun = event.step
            # A step that waits for a value goes on waiting for it.
            return self._advance() if self.awaited is None else []
        if event == self.awaited:  # as most do
            self._passed += 1
            return self._advance()
        if not self.is_past(*event):
            self._arrived.add(event)
        return []

    def _advance(self) -> list[Carry]:
        """Go on to the first receive whose value is not here, through as many steps as were asked for."""
        carried = []
        self.awaited = None
        while self._step <= self.begun and self.awaited is None:
            start, stop = self._index, self._next_stop()
            last = self.awaited is None
            if stop > start or last:
                carried.append(Carry(self._step, start, stop, last))
            self._index = stop
            if last:
                self._step, self._index, self._passed = self._step + 1, 0, 0
        return carried

    def _next_stop(self) -> int:
        """The first receive of the step whose value is not here, which is awaited then; or the end."""
        receives, arrived, passed = self._receives, self._arrived, self._passed
        while passed < len(receives):
            index, source, tag = receives[passed]
            message = self._step, source, tag
            if message not in arrived:
                self._passed, self.awaited = passed, message
                return index
            arrived.discard(message)
            passed += 1
        self._passed = passed
        return self._end
