"""How one waits for what another process says next: asleep, or asking for it again and again.

To wake up a thread on a core that has nothing to do takes 30 us and more, about as long as the other process needs to
take a small value and send the next, and as much of the processors as to ask meanwhile. So whoever was answered soon
asks next time, for a few times as long as it takes to wake up. Nobody asks for what comes now and then.
"""

import os
import threading
import time
from collections.abc import Callable

# For so many seconds one asks before one sleeps; and what took no longer to come was soon.
SOON = 2e-4

# One thread of a process asks at a time: it takes the interpreter from the others now and then.
_asking = threading.Lock()


class Lookout:
    """Of one that waits, on a thread at a time.

    has_come: whether there is anything. pause: what it does before it asks again; by itself, to let others have the
    core who want it. clock: gives seconds.
    """

    def __init__(
        self,
        has_come: Callable[[], object],
        pause: Callable[[], None] = os.sched_yield,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._has_come = has_come
        self._pause = pause
        self._clock = clock
        self._began = 0.0
        self._was_soon = False

    def begin(self) -> None:
        """It waits from now on; until something is there, or it is better asleep."""
        self._began = self._clock()
        if self._was_soon and _asking.acquire(blocking=False):
            try:
                self._ask(self._began + SOON)
            finally:
                _asking.release()

    def end(self) -> None:
        """What it waited for is here."""
        self._was_soon = self._clock() - self._began <= SOON

    def _ask(self, until: float) -> None:
        has_come, pause, clock = self._has_come, self._pause, self._clock
        while not has_come() and clock() < until:
            pause()
