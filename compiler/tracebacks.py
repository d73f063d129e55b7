"""Finds the user's lines among the frames of Python: whose code called us, and whose code failed."""

import functools
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from atoll.compiler.errors import UsageError
from atoll.compiler.source_line import SourceLine

# The folder of packages in Python, and in Debian's Python. Looked for by name, as Python may take packages from
# several: that of the environment, that of the system and that of the user.
_PACKAGES = ("/site-packages/", "/dist-packages/")


@functools.cache
def is_library(filename: str) -> bool:
    """Whether a Python file belongs to the standard library, to an installed package or to atoll itself."""
    if any(folder in filename for folder in _PACKAGES):
        return True
    own = Path(__file__).resolve().parent.parent
    folders = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
    folders += [str(own / name) for name in ("atoll", "checkpoint", "compiler", "passes", "runtime")]
    return filename.startswith("<frozen ") or any(filename.startswith(f"{folder}/") for folder in folders)


def caller() -> str:
    """The user's `file:line` that is calling into atoll."""
    return _innermost(traceback.extract_stack())


@contextmanager
def at_the_caller() -> Iterator[None]:
    """Have an error in how something is used say where the user does so."""
    try:
        yield
    except UsageError as error:
        raise replace(error, where=error.where or caller()) from None


def failing_line(error: BaseException) -> str:
    """The innermost `file:line` of the user's that an exception came through; empty if there is none."""
    return _innermost(traceback.extract_tb(error.__traceback__))


def first_line(error: BaseException) -> str:
    """An exception's message, cut to a sentence, as those of jax go on for paragraphs."""
    try:
        message = str(error)
    except Exception:  # a class of the user's may fail at that too
        message = ""
    lines = [line.strip() for line in message.strip().splitlines()] or ["no message"]
    # A heading alone says nothing, so the lines below it are added.
    return " ".join(lines[:3] if lines[0].endswith(":") else lines[:1]).rstrip(" .,;:")


def _innermost(frames: Iterable[traceback.FrameSummary]) -> str:
    user = [frame for frame in frames if not is_library(frame.filename)]
    if not user:
        return ""
    frame = user[-1]
    ends_there = frame.end_lineno == frame.lineno
    return SourceLine(f"{frame.filename}:{frame.lineno}", frame.colno or 0, frame.end_colno if ends_there else None)
