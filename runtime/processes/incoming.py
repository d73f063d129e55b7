"""The bytes that come over a connection, of which a few more are read than one asks for."""

import io
import select
import socket
import threading
from contextlib import suppress
from functools import partial

from atoll.runtime.processes.lookout import Lookout

_AHEAD = 1 << 14  # bytes: what small messages are is read at once, as each call of the system's takes its time


class Incoming:
    """For one thread. OSError if the other side is gone, or if it is closed here."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ahead = io.BytesIO()  # what has been read, from where nobody has asked for it
        self._patience: float | None = None
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        self._lookout = Lookout(partial(poll.poll, 0))
        self._reading = threading.Lock()  # held in calls of the system's that read

    def be_patient(self, patience: float | None) -> None:
        """From now on it is a TimeoutError if nothing comes in so many seconds."""
        if patience != self._patience:  # to set it takes a call of the system's
            self._connection.settimeout(patience)
            self._patience = patience

    def few(self, size: int) -> bytes:
        """The next bytes, so few that no room of their own is made for them."""
        content = self._ahead.read(size)
        while len(content) < size:
            self._ahead = io.BytesIO(self._more(size - len(content)))
            content += self._ahead.read(size - len(content))
        return content

    def fill(self, room: memoryview) -> None:
        """The next bytes, as many as there is room for."""
        done = self._ahead.readinto(room)
        while done < len(room):
            with self._reading:
                count = self._connection.recv_into(room[done:])
            if not count:
                raise ConnectionResetError
            done += count

    def _more(self, size: int) -> bytes:
        with self._reading:
            self._lookout.begin()
            content = self._connection.recv(max(size, _AHEAD))
            self._lookout.end()
        if not content:
            raise ConnectionResetError
        return content

    def close(self) -> None:
        """Whoever reads is told so."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        # Only when that has ended: else it might read from another connection, which the system gives the same number.
        with self._reading, suppress(OSError):
            self._connection.close()
