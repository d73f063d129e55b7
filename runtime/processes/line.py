"""A wire that messages go over, with the threads that it takes."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from atoll.runtime.flags import without_flags
from atoll.runtime.inbox import Inbox
from atoll.runtime.processes.packing import pack, unpack
from atoll.runtime.processes.wire import Content, Wire

_REST = object()  # of a message that has gone out in part


class Line:
    """Whoever says something waits for nothing: a thread waits for values that are computed, packs and sends. So what
    is said in the midst of Ctrl-C, or by a destructor, goes out whole.

    take: is given what the other side says, on another thread. end: is called once, when nothing more will come.
    """

    def __init__(self, wire: Wire, take: Callable[[Any], None], end: Callable[[], None], name: str) -> None:
        self._wire = wire
        self._take = take
        self._end = end
        self._leaving: Inbox[Any] = Inbox()
        self._is_over = False
        self._sending = threading.Lock()  # of one message after the other
        self._turn = threading.Lock()  # held from when a message is taken from those that leave until it is sent
        for work, what in ((self._write, "to"), (self._read, "from")):
            threading.Thread(target=work, name=f"atoll {what} {name}", daemon=True).start()

    def say(self, message: object) -> None:
        """From any thread. Nothing, if the other side is gone: whoever is told of its end knows what to do."""
        if not self._is_over:
            self._leaving.put(message)

    def say_here(self, message: object) -> None:
        """Say something whose values are computed. It goes out on this thread if it can at once, after all before it:
        to wake another thread takes longer than to send a small value. Not for a thread that may be interrupted."""
        if not self._turn.acquire(blocking=False):
            self.say(message)
            return
        try:
            is_first = not (len(self._leaving) or self._is_over)
            if is_first and self._sent_at_once(pack(message)):
                return
        except OSError:  # the other side is gone; whoever reads tells of it
            return
        finally:
            self._turn.release()
        self.say(_REST if is_first else message)

    def leave(self, message: object) -> None:
        """Say something along with what is said next."""
        if not self._is_over:
            self._leaving.leave(message)

    def say_at_once(self, message: object) -> None:
        """Something small, before what was said: that may have to wait for values which are never computed."""
        with suppress(OSError):
            self._send(message)

    def close(self) -> None:
        """Once what was said is sent."""
        self._leaving.put(None)

    def _write(self) -> None:
        try:
            while self._leaving.wait():
                with self._turn:
                    message = self._leaving.get()
                    if message is None:
                        break
                    self._send(message)
                    del message  # it would keep arrays alive
        except OSError:
            pass  # the other side is gone; whoever reads tells of it
        finally:
            self._is_over = True
            self._wire.close()

    def _send(self, message: object) -> None:
        parts = [] if message is _REST else [pack(message)]  # which may take its time
        with self._sending:
            self._wire.send(*parts)

    def _sent_at_once(self, parts: Sequence[Content]) -> bool:
        """Whether all of it went out; the rest goes before what is sent next."""
        with self._sending:
            return self._wire.send_some(parts)

    def _read(self) -> None:
        try:
            with without_flags():  # as on the thread of a host, for which this one may do its work
                while (parts := self._wire.receive()) is not None:
                    self._take(unpack(parts))
                    del parts
        finally:
            self._is_over = True
            self._wire.close()
            self._leaving.put(None)
            self._end()
