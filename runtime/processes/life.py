"""Signs of life of a process: a question every second, over a wire of their own.

What ends, its machine says at once. What is stopped, or cut off, says nothing at all; that is what the questions are
for. A thread of its own answers them, also while XLA compiles, and no large value is on the way before an answer. So a
process is told over this wire as well what it has to know whatever it is doing.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from struct import Struct
from typing import Any

from atoll.runtime.processes.packing import pack, unpack
from atoll.runtime.processes.wire import Wire

_PAUSE = 1.0  # seconds from an answer to the next question

_CLOCK = Struct("<q")
_QUESTION = [b""]  # what else is said is not empty


def answer(wire: Wire, take: Callable[[Any], None]) -> None:
    """Answer the questions that come over a wire, for as long as it is there. take: is given what else is said."""
    while (parts := wire.receive()) is not None:
        if parts[0].nbytes:
            take(unpack(parts))
            continue
        try:
            wire.send([_CLOCK.pack(time.perf_counter_ns())])
        except OSError:
            return


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
        self._closed = threading.Event()
        self._sending = threading.Lock()
        threading.Thread(target=self._ask, name=f"atoll asks {name}", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self._wire.close()

    def say(self, message: object) -> None:
        """From any thread. Nothing, if the process is gone."""
        with suppress(OSError), self._sending:
            self._wire.send(pack(message))

    def _ask(self) -> None:
        while not self._closed.is_set():
            asked = time.perf_counter_ns()
            try:
                with self._sending:
                    self._wire.send(_QUESTION)
                told = self._wire.receive(self._patience)
            except TimeoutError:
                self._tell(f"has not answered for {self._patience:g} seconds")
                return
            except OSError:
                told = None
            if told is None:
                self._tell("has ended")
                return
            self._note(asked, time.perf_counter_ns(), *_CLOCK.unpack(told[0]))
            self._closed.wait(_PAUSE)

    def _note(self, asked: int, answered: int, theirs: int) -> None:
        if self._quickest is None or answered - asked < self._quickest:
            self._quickest = answered - asked
            self.ahead = theirs - (asked + answered) // 2

    def _tell(self, what: str) -> None:
        if not self._closed.is_set():
            self._lost(what)
