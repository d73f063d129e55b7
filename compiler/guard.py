"""Turns the death of a native library into a sentence.

MLIR and XLA end the process on some inputs, which Python can neither catch nor explain. So the commands that give them
user input run in a child process; the parent stays small, and says what happened.
"""

import mmap
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from atoll.compiler import activity
from atoll.compiler.errors import InternalError
from atoll.compiler.terminal import print_error

_NOTE_SIZE = 4096
_DOING_WIDTH = 256

# Signals that ask a program to end, and that reach the parent alone.
_TO_PASS_ON = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)

# Signals that the parent leaves to its child. Ctrl-C is not passed on: a terminal sends it to both.
_TO_SURVIVE = (signal.SIGINT, *_TO_PASS_ON)

_is_guarded = False


class _Note:
    """Memory shared with the parent, in which the child says what it is doing just now, as a listener to that."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _NOTE_SIZE)

    def began(self, doing: str, reproducer: str) -> None:
        note = f"{doing[:_DOING_WIDTH]}\n{reproducer}"
        self._memory[:] = note.encode(errors="replace")[:_NOTE_SIZE].ljust(_NOTE_SIZE, b"\0")

    def expects(self, pieces: int, alike: bool) -> None:
        """How many there are is not told."""

    def ended(self) -> None:
        """What was done last is what may have ended the process."""

    def read(self) -> tuple[str, str]:
        """What was being done, and the file that would show it again."""
        doing, _, reproducer = self._memory[:].rstrip(b"\0").decode(errors="replace").partition("\n")
        return doing, reproducer


def is_guarded() -> bool:
    """Whether there is a parent that would say how this process ended."""
    return _is_guarded


def guarded(command: Callable[[], int]) -> int:
    """Run a command in a child process and return its exit status; 1 with a sentence if it died by a signal.

    To be called before the first thread starts, as a fork has only the thread that calls it.
    """
    if not hasattr(os, "fork"):
        return command()
    sys.stdout.flush()
    sys.stderr.flush()
    note = _Note()
    # No signal may come between the fork and the parent's own handlers: until those are there, signals wait.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_SURVIVE)
    child = os.fork()
    if child == 0:
        _exit(command, note, unblocked)
    with _left_to(child):
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    died_by = os.WTERMSIG(status)
    if died_by in _TO_SURVIVE:
        return 128 + died_by
    doing, reproducer = note.read()
    print_error(_obituary(died_by, doing or "starting", reproducer))
    return 1


def _obituary(died_by: int, doing: str, reproducer: str) -> InternalError:
    if died_by == signal.SIGKILL:
        what = f"the process was killed (SIGKILL) during: {doing}"
        return InternalError(what, remedy="it may have used more memory than there is")
    name = signal.Signals(died_by).name if died_by in set(signal.Signals) else f"signal {died_by}"
    told = f"{reproducer}, which `atoll opt` runs" if reproducer else "the input"
    what = f"a native library ended the process ({name}) during: {doing}"
    return InternalError(what, remedy=f"this is a defect; please report it with {told}, and try without that step")


@contextmanager
def _left_to(child: int) -> Iterator[None]:
    """Pass the signals that ask a program to end on to the child: it must not go on when its parent is gone.

    The handlers must not raise, as Python's own for Ctrl-C does: that could lose a status just fetched by `waitpid`.
    """

    def pass_on(number: int, _: object) -> None:
        if number in _TO_PASS_ON:
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(child, number)

    before = {number: signal.signal(number, pass_on) for number in _TO_SURVIVE}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(command: Callable[[], int], note: _Note, unblocked: Iterable[int]) -> None:
    """Run the command and end this process without returning into the parent's frames."""
    global _is_guarded
    _is_guarded = True
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        with activity.heard_by(note):
            status = command()
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:
        status = 130
    except OSError:  # whoever reads our output has gone away
        status = status or 1
    finally:
        os._exit(status)
