"""When to look again whether a full window has room.

To be woken by a thread that waits for a device takes the turns of two, in which short tasks have long ended. But tasks
of a stream take about as long as those before them. So whoever waits for room sleeps as long as those should take that
have to end, and looks. To sleep for longer does no harm, as the devices have the other half of the window to do.
"""

import time
from collections.abc import Callable

# What takes longer than so many seconds is watched, as to be woken costs little beside it.
_SHORT = 2e-3

# The part of the time that it should take after which one looks again, if it was not enough.
_NEXT = 0.25

# What nobody sleeps less than.
_LEAST = 2e-5


class Pace:
    """Of one window. clock: gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._each = _SHORT  # seconds of a task; as if it was long, until it is known
        self._began = 0.0
        self._full = 0  # how many there were then
        self._has_looked = False

    def begin(self, count: int) -> None:
        """The window is full, with so many tasks."""
        self._began, self._full, self._has_looked = self._clock(), count, False

    def end(self, count: int) -> None:
        """It has room, with so many left."""
        self._each = (self._clock() - self._began) / (self._full - count)

    def pause(self, count: int) -> float | None:
        """For how many seconds to sleep before one looks, if so many have to end; None if they should be watched."""
        took = self._each * count
        if took > _SHORT or self._clock() - self._began > _SHORT:
            return None
        part, self._has_looked = _NEXT if self._has_looked else 1.0, True
        return max(_LEAST, part * took)
