"""A thread of one island, for what takes its time within the call: a task that calls back into Python, and any
instruction while a step is traced."""

import threading
from collections.abc import Callable

from atoll.runtime.flags import without_flags
from atoll.runtime.inbox import Inbox


class SideThread:
    """Carries out one call after the other, so that the thread that carries the island can go on with others.

    It starts with its first call: most programs have none. Whoever calls waits for nothing; what the call does last is
    to tell that it has ended.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: Inbox[Callable[[], None] | None] = Inbox()
        self._thread: threading.Thread | None = None

    def call(self, call: Callable[[], None]) -> None:
        """For one thread alone."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._calls.put(call)

    def stop(self) -> None:
        """Let the thread end; it has nothing to do any more, until it is called again."""
        if self._thread is not None:
            self._calls.put(None)
            if self._thread is not threading.current_thread():  # as it is where its call ended the last program
                self._thread.join()
            self._thread = None

    def left_alone(self) -> "SideThread":
        """One to take its place, which may never return from what it does; if it does, it ends."""
        self._calls.put(None)
        return SideThread(self._name)

    def _work(self) -> None:
        with without_flags():  # as on the thread that carries the island
            while (call := self._calls.get()) is not None:
                call()
                del call  # it would keep arrays alive
