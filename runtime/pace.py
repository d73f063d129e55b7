"""When to look again whether a full window has room.

To be woken by a thread that waits for a device takes the turns of two, in which short tasks have long ended. But a
window of such takes about as long to have room as it took before. So whoever waits for room sleeps for a part of that,
and looks.
"""

import time
from collections.abc import Callable

# What takes longer than so many seconds is watched, as to be woken costs little beside it.
_SHORT = 2e-3

# The part of the time that it took before after which one looks first, so that it may be shorter than that; and the
# part of it after which one looks again.
_FIRST, _NEXT = 0.5, 0.125

# What nobody sleeps less than.
_LEAST = 2e-5


class Pace:
    """Of one window. clock: gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._took = 2 * _SHORT  # as if it was long, until it is known
        self._began = 0.0
        self._has_looked = False

    def begin(self) -> None:
        """The window is full."""
        self._began, self._has_looked = self._clock(), False

    def end(self) -> None:
        """It has room."""
        self._took = self._clock() - self._began

    def pause(self) -> float | None:
        """For how many seconds to sleep before one looks; None if it should be watched instead."""
        if self._took > _SHORT or self._clock() - self._began > _SHORT:
            return None
        part, self._has_looked = _NEXT if self._has_looked else _FIRST, True
        return max(_LEAST, part * self._took)
