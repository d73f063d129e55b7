"""Turns the death of a native library into a sentence.

MLIR and XLA end the process on some inputs, which Python can neither catch nor explain. The commands that hand
user input to them therefore run in a child process; the parent stays small and tells what happened.
"""

import mmap
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

_NOTE_SIZE = 4096
_DOING_WIDTH = 256

# What asks a program to end, and reaches the parent alone.
_TO_PASS_ON = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)

# What the parent leaves to its child. A terminal sends Ctrl-C to both.
_TO_SURVIVE = (signal.SIGINT, *_TO_PASS_ON)

# The child's line to its parent: what it is doing just now. None outside of a guarded process.
_note: mmap.mmap | None = None


def announce(doing: str, reproducer: str = "") -> None:
    """Say what is being done, for the sentence that a native abort would need; and the file that would repeat it."""
    if _note is not None:
        note = f"{doing[:_DOING_WIDTH]}\n{reproducer}"
        _note[:] = note.encode(errors="replace")[:_NOTE_SIZE].ljust(_NOTE_SIZE, b"\0")


def is_guarded() -> bool:
    """Whether a parent would tell how this process ended."""
    return _note is not None


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
    # No signal may come between the fork and the handlers that suit the parent, so it waits until they are there.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_SURVIVE)
    child = os.fork()
    if child == 0:
        _note = note
        _exit(command, unblocked)
    with _left_to(child):
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    died_by = os.WTERMSIG(status)
    if died_by in _TO_SURVIVE:
        return 128 + died_by
    doing, _, reproducer = note[:].rstrip(b"\0").decode(errors="replace").partition("\n")
    print(f"error: {_obituary(died_by, doing or 'starting', reproducer)}", file=sys.stderr)
    return 1


def _obituary(died_by: int, doing: str, reproducer: str) -> str:
    if died_by == signal.SIGKILL:
        return f"the process was killed (SIGKILL) during: {doing}; it may have used more memory than there is"
    name = signal.Signals(died_by).name if died_by in set(signal.Signals) else f"signal {died_by}"
    told = f"{reproducer}, which `atoll opt` runs" if reproducer else "the input"
    return (
        f"a native library ended the process ({name}) during: {doing}; "
        f"this is a defect; please report it with {told}, and try without that step"
    )


@contextmanager
def _left_to(child: int) -> Iterator[None]:
    """Let the child have the signals that ask a program to end: it must not go on when its parent is gone.

    A handler that raised, as Python's own for Ctrl-C does, could lose the status that `waitpid` had just fetched.
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


def _exit(command: Callable[[], int], unblocked: Iterable[int]) -> None:
    """Run the command and end this process without returning into the parent's frames."""
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        status = command()
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:
        status = 130
    except OSError:  # the reader of our output has gone away
        status = status or 1
    finally:
        os._exit(status)
