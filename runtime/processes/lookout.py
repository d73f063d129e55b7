"""How one waits for what another process says next: asleep, or asking for it again and again.

To wake up a thread on a core that has nothing to do takes 30 us and more, about as long as the other process needs to
take a small value and send the next. So whoever was answered soon asks next time, for a few times as long as it takes
to wake up. What comes now and then, nobody asks for. The price is up to one core for each process, for as long as
messages follow each other so closely.
"""

import os
import time
from collections.abc import Callable

# For so many seconds one asks before one sleeps; and what took no longer to come was soon.
SOON = 2e-4

# Who takes so many seconds more was kept from its core, or from the interpreter.
KEPT = 1e-3

# If that happens twice within so many seconds, others want it for longer. Whoever asks gives way to them until they
# have had their share, however soon the answer comes, and who sleeps does not. So nobody asks for a while.
WARY = 0.025
WHILE = 0.05


class Asking:
    """Is for one thread of a process at a time, as it takes the interpreter from the others now and then.

    That one asks is said by a time, not by a lock: whoever is interrupted might never give it back. So a second one may
    ask too while the first is kept from it.
    """

    def __init__(self) -> None:
        self._free_from = 0.0
        self._asleep_until = 0.0
        self._wary_until = 0.0

    def may_begin(self, now: float) -> bool:
        """Whether one that begins to wait may ask; no other may, then, for as long as that should take."""
        if now < self._free_from or now < self._asleep_until:
            return False
        self._free_from = now + SOON
        return True

    def end(self, began: float, now: float) -> None:
        """It has asked, and may have been kept from that meanwhile."""
        self._free_from = now
        if now > began + SOON + KEPT:
            if began < self._wary_until:
                self._asleep_until = now + WHILE
            self._wary_until = max(now, self._asleep_until) + WARY


_OF_PROCESS = Asking()


class Lookout:
    """Of one that waits, on a thread at a time.

    has_come: whether there is anything. pause: what it does before it asks again; by itself, to let others have the
    core who want it. clock: gives seconds. asking: which of several that wait may ask; by itself, one of the process.
    """

    def __init__(
        self,
        has_come: Callable[[], object],
        pause: Callable[[], None] = os.sched_yield,
        clock: Callable[[], float] = time.perf_counter,
        asking: Asking = _OF_PROCESS,
    ) -> None:
        self._has_come = has_come
        self._pause = pause
        self._clock = clock
        self._asking = asking
        self._began = 0.0
        self._was_soon = False

    def begin(self) -> None:
        """It waits from now on; until something is there, or it is better asleep."""
        self._began = began = self._clock()
        if self._was_soon and self._asking.may_begin(began):
            self._ask(began + SOON)
            self._asking.end(began, self._clock())

    def end(self) -> None:
        """What it waited for is here."""
        self._was_soon = self._clock() - self._began <= SOON

    def _ask(self, until: float) -> None:
        has_come, pause, clock = self._has_come, self._pause, self._clock
        while not has_come() and clock() < until:
            pause()
