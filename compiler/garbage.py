"""Has Python look for garbage less often while a program is made.

What the passes note lives until they are done. To go through it all again and again, and through what libraries have
made before, takes a fifth of their time.
"""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# After how many new objects the youngest are looked at, and how many such looks come before the older ones' turn.
_SELDOM = (50_000, 50, 100)

_lock = threading.Lock()
_inside = 0  # how many threads make a program
_before = gc.get_threshold()


@contextmanager
def seldom_collected() -> Iterator[None]:
    """The thresholds are the process's, so the first that comes sets them, and the last that goes sets them back.

    They are left alone if they are higher already, or if nothing is collected.
    """
    global _inside, _before
    with _lock:
        _inside += 1
        if _inside == 1:
            _before = gc.get_threshold()
            if 0 < _before[0] < _SELDOM[0]:
                gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                gc.set_threshold(*_before)
