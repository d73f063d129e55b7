"""The thread that carries the islands of a process: brings them what comes from other threads."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from atoll.runtime.inbox import Inbox
from atoll.runtime.island import Call, Order, RunningIsland
from atoll.runtime.side_thread import SideThread

# Pauses stop growing after so many.
_LONGEST = 10


class IslandThread:
    """Calls its islands, one at a time, with what happens to them.

    What happens on this very thread, such as a value that one of its islands sends to another, waits in a queue of its
    own, which costs a hundredth of a message between threads. No island is called from inside another.
    """

    def __init__(self, islands: Sequence[RunningIsland]) -> None:
        self._islands = tuple(islands)
        self._inbox: Inbox[Call] = Inbox()
        self._here: deque[Call] = deque()
        self._stopped = False
        first, *others = (island.name for island in islands)
        name = f"atoll {first}" + (f" and {len(others)} more" if others else "")
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._ident: int | None = None
        self._sides = {island.name: SideThread(f"atoll {island.name}, beside") for island in islands}
        for island in islands:
            # Never at once, even on this thread: these may be called by a destructor, in the midst of anything.
            island.wake = partial(self._inbox.put, (island.go_on, None))
            island.later = self._here.append
            island.post = self._inbox.put
            island.aside = self._sides[island.name].call
            island.transport.connect(island.name, partial(self._post, island.arrive))

    def start(self) -> None:
        self._thread.start()

    def post(self, orders: Mapping[str, Order]) -> None:
        """Ask the islands for a step."""
        self._inbox.put((self._order, orders))

    def stop(self) -> None:
        """Let the thread end, once its islands have carried out what they were asked for."""
        self._inbox.put((self._stop, None))

    def join(self) -> None:
        self._thread.join(max(island.patience for island in self._islands))

    def _post(self, call: Callable[[Any], None], argument: Any) -> None:  # noqa: ANN401 (a message)
        (self._here.append if threading.get_ident() == self._ident else self._inbox.put)((call, argument))

    def _work(self) -> None:
        self._ident = threading.get_ident()
        while not self._stopped or self._here or not all(island.is_idle for island in self._islands):
            call, argument = self._here.popleft() if self._here else self._next()
            call(argument)
            del call, argument  # they would keep arrays alive
        for side in self._sides.values():
            side.stop()

    def _next(self) -> Call:
        """What happens next. While executions are under way, looks now and then which of them have ended."""
        pauses = 0
        while True:
            for island in self._islands:
                island.window.retire_ready()
            if (call := self._inbox.get(self._pause(pauses))) is not None:
                return call
            pauses = min(pauses + 1, _LONGEST)
            for island in self._islands:
                if island.is_full and island.window.has_room():
                    return island.go_on, None
                if island.is_watched and island.left <= 0:
                    return _give_up, island

    def _pause(self, pauses: int) -> float | None:
        """For how long to wait if nothing comes, after so many such pauses; None if there is nothing to look after."""
        waiting = [island.left for island in self._islands if island.is_watched]
        if any(island.is_full for island in self._islands):
            waiting.append(_longer(1e-5, pauses, 1e-3))
        elif any(len(island.window) for island in self._islands):
            waiting.append(_longer(1e-3, pauses, 0.05))
        return max(0.0, min(waiting)) if waiting else None

    def _order(self, orders: Mapping[str, Order]) -> None:
        for island in self._islands:
            island.order(orders[island.name])

    def _stop(self, _: None) -> None:
        self._stopped = True


def _longer(first: float, pauses: int, longest: float) -> float:
    """A pause that is twice the one before it, up to the longest."""
    return min(first * 2.0 ** min(pauses, 16), longest)


def _give_up(island: RunningIsland) -> None:
    island.give_up()
