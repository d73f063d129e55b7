"""Signs of life of a process: a question every second, over a wire of their own.

What ends, its machine says at once. What is stopped, or cut off, says nothing at all; that is what the questions are
for. A thread of its own answers them, also while XLA compiles, and no large value is on the way before an answer. So a
process is told over this wire as well what it has to know whatever it is doing.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from struct import Struct
from typing import Any

from atoll.runtime.processes.packing import pack, unpack
from atoll.runtime.processes.wire import Content, Wire

PAUSE = 1.0  # seconds from an answer to the next question

_CLOCK = Struct("<q")
_QUESTION: Sequence[Content] = [b""]  # what else is said is not empty
_PARTING: Sequence[Content] = [b""]  # in place of an answer


def answer(wire: Wire, take: Callable[[Any], None], patience: float | None = None) -> bool:
    """Answer the questions that come over a wire, for as long as it is there. take: is given what else is said.

    Whether it is there, and no question has come for `patience` seconds: whoever asks is stopped, or cut off. If that
    ever ends, it reads that nobody has waited.
    """
    with suppress(OSError):
        while (parts := _heard(wire, patience)) is not None:
            if parts is _PARTING:
                wire.send_some(_PARTING)
                return True
            if parts == _QUESTION:
                wire.send([_CLOCK.pack(time.perf_counter_ns())])
            else:
                take(unpack(parts))
    return False


class LifeSigns:
    """Asks a process.

    patience: how many seconds an answer may take. lost: is told, once, that none came, or that the process has ended.
    ahead: how many nanoseconds the other's clock is ahead of this one's, as the quickest answer so far has it.
    """

    def __init__(self, wire: Wire, patience: float, lost: Callable[[str], None], name: str) -> None:
        self.ahead = 0
        self._wire = wire
        self._patience = patience
        self._lost = lost
        self._quickest: int | None = None
        self._is_closed = self._is_last = False
        self._woken = threading.Event()
        self._sending = threading.Lock()
        threading.Thread(target=self._ask, name=f"atoll asks {name}", daemon=True).start()

    def close(self) -> None:
        self._is_closed = True
        self._woken.set()
        self._wire.close()

    def say(self, message: object) -> None:
        """From any thread. Nothing, if the process is gone."""
        with suppress(OSError), self._sending:
            self._wire.send(pack(message))

    def ask_at_once(self) -> None:
        """The process has hung up elsewhere: ask it now, and for the last time, as it may say why."""
        self._is_last = True
        self._woken.set()

    def _ask(self) -> None:
        while not (trouble := self._trouble()):
            self._woken.wait(PAUSE)
        if not self._is_closed:
            self._lost(trouble)

    def _trouble(self) -> str:
        """Ask once; a clause about the process, if there is no more to ask."""
        asked = time.perf_counter_ns()
        with suppress(OSError), self._sending:  # it has ended, and may have said something before
            self._wire.send(_QUESTION)
        try:
            told = self._wire.receive(self._patience)
        except TimeoutError:
            return f"has not answered for {self._patience:g} seconds"
        if told is None:
            return "has ended"
        if told == _PARTING:
            return f"has let go of its controller, which was stopped or cut off for {self._patience:g} seconds"
        self._note(asked, time.perf_counter_ns(), *_CLOCK.unpack(told[0]))
        return "has ended" if self._is_last else ""

    def _note(self, asked: int, answered: int, theirs: int) -> None:
        if self._quickest is None or answered - asked < self._quickest:
            self._quickest = answered - asked
            self.ahead = theirs - (asked + answered) // 2


def _heard(wire: Wire, patience: float | None) -> Sequence[Content] | None:
    try:
        return wire.receive(patience)
    except TimeoutError:
        return _PARTING
