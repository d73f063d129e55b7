"""The bytes that come over a connection, of which a few more are read than one asks for."""

import io
import select
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from atoll.runtime.processes.lookout import Lookout

_AHEAD = 1 << 14  # bytes: what small messages are is read at once, as each call of the system's takes its time

# The part of one's patience that begins only when the rest is over. A machine that stands still, with all who are on
# it, takes that time from all of them; but who goes on first has this much left to hear of the others.
_LAST = 0.1

_Much = TypeVar("_Much")


class Incoming:
    """For one thread. OSError if the other side is gone, or if nothing more is to be read here."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ahead = io.BytesIO()  # what has been read, from where nobody has asked for it
        self._patience: float | None = None
        self.is_given_up = False  # what it waited for did not come in time
        self._is_over = False  # whatever has been read, or comes
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._lookout = Lookout(partial(self._poll.poll, 0))
        # Held in calls of the system's that read; and a handler of signals may close what its thread reads.
        self._reading = threading.RLock()

    def be_patient(self, patience: float | None) -> None:
        """From now on it is a TimeoutError if nothing comes in so many seconds. What comes later is not read: it may be
        the rest of something, and who gave it up would take it for what comes next."""
        if patience != self._patience:  # to set it takes a call of the system's
            self._connection.settimeout(patience)  # which is for whoever sends: the other side may be stopped
            self._patience = patience

    def few(self, size: int) -> bytes:
        """The next bytes, so few that no room of their own is made for them."""
        if self._is_over:
            raise ConnectionResetError
        content = self._ahead.read(size)
        while len(content) < size:
            self._ahead = io.BytesIO(self._more(size - len(content)))
            content += self._ahead.read(size - len(content))
        return content

    def fill(self, room: memoryview) -> None:
        """The next bytes, as many as there is room for."""
        done = self._ahead.readinto(room)
        while done < len(room):
            done += self._read(self._connection.recv_into, room[done:])

    def _more(self, size: int) -> bytes:
        self._lookout.begin()
        content = self._read(self._connection.recv, max(size, _AHEAD))
        self._lookout.end()
        return content

    def _read(self, call: Callable[[Any], _Much], argument: object) -> _Much:
        """What a call of the system's has read."""
        with self._reading:
            if self._is_over:
                raise ConnectionResetError
            self._wait()
            try:
                much = call(argument)
            except TimeoutError:  # the system's: the other side's machine is not there any more
                raise ConnectionResetError from None
        if not much:
            raise ConnectionResetError
        return much

    def _wait(self) -> None:
        """Until there is something to read."""
        if self._patience is None:
            return
        for part in (1 - _LAST, _LAST):
            if self._poll.poll(1000 * part * self._patience):
                return
        self.is_given_up = self._is_over = True
        raise TimeoutError

    def close(self) -> None:
        """Whoever reads is told so."""
        self._is_over = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        if sys.is_finalizing():  # threads that read have ended wherever they were; and all is closed in a moment
            return
        # Only when that has ended: else it might read from another connection, which the system gives the same number.
        with self._reading, suppress(OSError):
            self._connection.close()
