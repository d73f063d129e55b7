"""Shows on a terminal what is being done, how much of it, and how long the rest may take; elsewhere it is silent.

One line on standard error, which is written over and at last erased:

    compiling fragment F2 for island island1  [##########..........] 3/6  8 s, about 8 s left

Whatever else is printed meanwhile comes above it.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from atoll.compiler import activity
from atoll.compiler.terminal import is_terminal

# Turns it off, if it is 0.
VARIABLE = "ATOLL_PROGRESS"

# What takes less is not worth a line that flickers, and how often a clock must move to be seen moving; in seconds.
_PATIENCE = 1.0
_INTERVAL = 0.25

_BAR = 20
_ERASE = "\r\033[K"

_shown = threading.Lock()  # held by whoever shows a display: there is one line


class Display:
    """The line, as a listener to what is done. It has no thread: whoever has it calls `draw` now and then."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic, width: int = 80) -> None:
        self._stream = stream
        self._clock = clock
        self._width = width
        self._lock = threading.RLock()  # a destructor that prints may come in the midst of anything
        self._opened = self._began = clock()
        self._doing = ""
        self._pieces = self._done = 0
        self._alike = False
        self._is_drawn = False

    def began(self, doing: str, reproducer: str) -> None:  # noqa: ARG002 (a listener is told both)
        """As a listener."""
        with self._lock:
            self._doing = doing
            if not self._pieces:
                self._began = self._clock()
            self.draw()

    def expects(self, pieces: int, alike: bool) -> None:
        """As a listener."""
        with self._lock:
            self._pieces, self._done, self._alike, self._began = pieces, 0, alike, self._clock()

    def ended(self) -> None:
        """As a listener."""
        with self._lock:
            self._done = min(self._done + 1, self._pieces)
            self.draw()

    def draw(self) -> None:
        """Write the line anew, once it is worth it."""
        with self._lock:
            now = self._clock()
            if not self._doing or now - self._opened < _PATIENCE:
                return
            amount = amount_done(now - self._began, self._done, self._pieces, alike=self._alike)
            self._write(f"{_ERASE}{_fitting(self._doing, self._width - 3 - len(amount))}  {amount}")
            self._is_drawn = True

    def erase(self) -> None:
        """Remove the line, until it is drawn again."""
        with self._lock:
            if self._is_drawn:
                self._write(_ERASE)
                self._is_drawn = False

    def _write(self, text: str) -> None:
        # The terminal may be gone, or have no such characters: no reason for the work to end.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def amount_done(seconds: float, done: int, pieces: int, *, alike: bool) -> str:
    """How much is done, how long that took, and how long the rest may take."""
    took = _time(seconds)
    if not pieces:
        return took
    if alike and 0 < done < pieces:
        took += f", about {_time(seconds * (pieces - done) / done)} left"
    full = _BAR * done // pieces
    return f"[{'#' * full}{'.' * (_BAR - full)}] {done}/{pieces}  {took}"


def _fitting(words: str, width: int) -> str:
    return words if len(words) <= width else words[: max(0, width - 3)] + "..."


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def shown() -> Iterator[None]:
    """Show what is done meanwhile, if standard error is a terminal and nobody shows it already."""
    stream = sys.stderr
    if not is_terminal(stream) or os.environ.get(VARIABLE) == "0" or not _shown.acquire(blocking=False):
        yield
        return
    display = Display(stream, width=shutil.get_terminal_size().columns)
    over = threading.Event()
    ticking = threading.Thread(target=_tick, args=(display, over), name="atoll display", daemon=True)
    try:
        with activity.heard_by(display), above(display):
            ticking.start()
            yield
    finally:
        over.set()
        ticking.join()
        display.erase()
        _shown.release()


def _tick(display: Display, over: threading.Event) -> None:
    while not over.wait(_INTERVAL):
        display.draw()


@contextmanager
def above(display: Display) -> Iterator[None]:
    """Have what is printed come above the line."""
    with contextlib.ExitStack() as stack:
        if is_terminal(sys.stdout):
            stack.enter_context(contextlib.redirect_stdout(_Above(sys.stdout, display)))
        stack.enter_context(contextlib.redirect_stderr(_Above(sys.stderr, display)))
        yield


class _Above:
    """A stream that first erases the line."""

    def __init__(self, stream: TextIO, display: Display) -> None:
        self._stream = stream
        self._display = display

    def write(self, text: str) -> int:
        self._display.erase()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever a stream has)
        return getattr(self._stream, name)
