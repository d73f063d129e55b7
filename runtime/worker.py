"""The worker of an island as a pure state machine: events in, actions out; no threads, no clock, no jax.

It knows how far the island has come in its instruction stream and which values have arrived. Steps are carried out
one after the other. `island` is the thin edge around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.runtime.program import Instruction, Receive


@dataclass(frozen=True, slots=True)
class Begin:
    """The controller asks for a step. It may ask twice: after Ctrl-C it repeats what it is not sure of."""

    step: int


@dataclass(frozen=True, slots=True)
class Arrive:
    """A value came from another island, possibly for a step that is still far ahead; or what stands in its place."""

    step: int
    source: str
    tag: int


@dataclass(frozen=True, slots=True)
class Carry:
    """Carry out instructions start <= index < stop of a step: all that they wait for is here.

    last: the step ends with them.
    """

    step: int
    start: int
    stop: int
    last: bool


Event = Begin | Arrive
Message = tuple[int, str, int]  # step, source, tag


class Worker:
    """`handle` an event; the answer is what can now be carried out, in order."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        receives = [(index, one) for index, one in enumerate(instructions) if isinstance(one, Receive)]
        self._receives = [(index, one.source, one.tag) for index, one in receives]
        self._position = {(one.source, one.tag): position for position, (_, one) in enumerate(receives)}
        self._end = len(instructions)
        self.begun = -1  # the last step that was asked for
        self._step = 0  # the step that is being carried out
        self._index = 0  # the first instruction of that step that was not carried out yet
        self._passed = 0  # how many of that step's receives were carried out
        self._arrived: set[Message] = set()

    @property
    def awaited(self) -> Message | None:
        """What the island waits for in the midst of a step; None if it only waits for a step."""
        if self._step > self.begun:
            return None
        _, source, tag = self._receives[self._passed]
        return self._step, source, tag

    def is_past(self, step: int, source: str, tag: int) -> bool:
        """Whether a value comes too late: the island has gone on without it."""
        return step < self._step or (step == self._step and self._position[source, tag] < self._passed)

    def handle(self, event: Event) -> list[Carry]:
        match event:
            case Begin(step):
                if step != self.begun + 1:
                    return []
                self.begun = step
                return self._advance()
            case Arrive(step, source, tag):
                if self.is_past(step, source, tag):
                    return []
                self._arrived.add((step, source, tag))
                return self._advance() if (step, source, tag) == self.awaited else []

    def _advance(self) -> list[Carry]:
        """Go on to the first receive whose value is not here, through as many steps as were asked for."""
        carried = []
        while self._step <= self.begun:
            start, stop = self._index, self._next_stop()
            last = stop == self._end
            if stop > start or last:
                carried.append(Carry(self._step, start, stop, last))
            self._index = stop
            if not last:
                break
            self._step, self._index, self._passed = self._step + 1, 0, 0
        return carried

    def _next_stop(self) -> int:
        while self._passed < len(self._receives):
            index, source, tag = self._receives[self._passed]
            message = (self._step, source, tag)
            if message not in self._arrived:
                return index
            self._arrived.discard(message)
            self._passed += 1
        return self._end
