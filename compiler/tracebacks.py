"""Finds the user's lines among the frames of Python: whose code called us, and whose code failed."""

import functools
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

# What Python, and Debian's Python, call the folder of packages: there is one in each environment, one of the system and
# one of the user, and of these Python may take packages from several.
_PACKAGES = ("/site-packages/", "/dist-packages/")


@functools.cache
def is_library(filename: str) -> bool:
    """Whether a Python file belongs to the standard library, an installed package or atoll's own machinery."""
    if any(folder in filename for folder in _PACKAGES):
        return True
    own = Path(__file__).resolve().parent.parent
    folders = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
    folders += [str(own / name) for name in ("atoll", "compiler", "passes", "runtime")]
    return filename.startswith("<frozen ") or any(filename.startswith(f"{folder}/") for folder in folders)


def caller() -> str:
    """The user's `file:line` that is calling into atoll."""
    return _innermost(traceback.extract_stack())


def failing_line(error: BaseException) -> str:
    """The user's `file:line` that an exception passed last; empty if it never passed one."""
    return _innermost(traceback.extract_tb(error.__traceback__))


def first_line(error: BaseException) -> str:
    """An exception's message, cut to a sentence: those of jax go on for paragraphs."""
    try:
        message = str(error)
    except Exception:  # a class of the user's may fail at that too
        message = ""
    lines = [line.strip() for line in message.strip().splitlines()] or ["no message"]
    # A heading says nothing; what it stands above does.
    return " ".join(lines[:3] if lines[0].endswith(":") else lines[:1]).rstrip(".")


def _innermost(frames: Iterable[traceback.FrameSummary]) -> str:
    user = [frame for frame in frames if not is_library(frame.filename)]
    return f"{user[-1].filename}:{user[-1].lineno}" if user else ""
