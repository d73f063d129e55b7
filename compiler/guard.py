"""Turns the death of a native library into a sentence.

MLIR and XLA end the process on some inputs, which Python can neither catch nor explain. The commands that hand
user input to them therefore run in a child process; the parent stays small and tells what happened.
"""

import mmap
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NOTE_SIZE = 256

# What asks a program to end, and reaches the parent alone.
_TO_PASS_ON = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)

# The child's line to its parent: what it is doing just now. None outside of a guarded process.
_note: mmap.mmap | None = None


def announce(doing: str) -> None:
    """Say what is being done, for the sentence that a native abort would need."""
    if _note is not None:
        _note[:] = doing.encode(errors="replace")[:_NOTE_SIZE].ljust(_NOTE_SIZE, b"\0")


def guarded(command: Callable[[], int]) -> int:
    """Run a command in a child process and return its exit status; 1 with a sentence if it died by a signal.

    To be called before the first thread starts, as forks do not carry threads along.
    """
    global _note
    if not hasattr(os, "fork"):
        return command()
    sys.stdout.flush()
    sys.stderr.flush()
    note = mmap.mmap(-1, _NOTE_SIZE)
    child = os.fork()
    if child == 0:
        _note = note
        _exit(command)
    with _passed_on(child):
        status = _wait(child)
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    died_by = os.WTERMSIG(status)
    if died_by in (signal.SIGINT, *_TO_PASS_ON):
        return 128 + died_by
    doing = note[:].rstrip(b"\0").decode(errors="replace") or "starting"
    print(f"error: {_obituary(died_by, doing)}", file=sys.stderr)
    return 1


def _obituary(died_by: int, doing: str) -> str:
    if died_by == signal.SIGKILL:
        return f"the process was killed (SIGKILL) during: {doing}; it may have used more memory than there is"
    name = signal.Signals(died_by).name if died_by in set(signal.Signals) else f"signal {died_by}"
    return (
        f"a native library ended the process ({name}) during: {doing}; "
        "this is a defect; please report it with the input, and try without that step"
    )


@contextmanager
def _passed_on(child: int) -> Iterator[None]:
    """Let the child have the signals that ask a program to end: it must not go on when its parent is gone."""
    before = {number: signal.signal(number, lambda number, _: os.kill(child, number)) for number in _TO_PASS_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(command: Callable[[], int]) -> None:
    """Run the command and end this process without returning into the parent's frames."""
    status = 1
    try:
        status = command()
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:
        status = 130
    except OSError:  # the reader of our output has gone away
        status = status or 1
    finally:
        os._exit(status)


def _wait(child: int) -> int:
    """Wait for the child; Ctrl-C reaches it by itself, so the parent only goes on waiting."""
    while True:
        try:
            return os.waitpid(child, 0)[1]
        except KeyboardInterrupt:
            continue
