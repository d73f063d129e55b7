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
        self._is_over = False  # whatever has been read, or comes
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        self._lookout = Lookout(partial(poll.poll, 0))
        # Held in calls of the system's that read; and a handler of signals may close what its thread reads.
        self._reading = threading.RLock()

    def be_patient(self, patience: float | None) -> None:
        """From now on it is a TimeoutError if nothing comes in so many seconds. What comes later is not read: it may be
        the rest of something, and who gave it up would take it for what comes next."""
        if patience != self._patience:  # to set it takes a call of the system's
            self._connection.settimeout(None if patience is None else (1 - _LAST) * patience)
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
            try:
                much = call(argument)
            except TimeoutError:
                much = self._read_at_last(call, argument)
        if not much:
            raise ConnectionResetError
        return much

    def _read_at_last(self, call: Callable[[Any], _Much], argument: object) -> _Much:
        assert self._patience is not None
        self._connection.settimeout(_LAST * self._patience)
        try:
            much = call(argument)
        except TimeoutError:
            self._is_over = True
            raise
        self._connection.settimeout((1 - _LAST) * self._patience)
        return much

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
