"""Finds the user's lines among the frames of Python: whose code called us, and whose code failed."""

import functools
import inspect
import linecache
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import FrameType, TracebackType

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
    folders = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [str(own / name) for name in ("atoll", "checkpoint", "compiler", "passes", "runtime")]
    return is_launcher(filename) or any(filename.startswith(f"{folder}/") for folder in folders)


@functools.cache
def is_launcher(filename: str) -> bool:
    """Whether a Python file only starts what runs: Python itself, or the script that stands for a command.

    A command may be called by a link, as pipx makes them, or by a path with `..` in it.
    """
    scripts = Path(sysconfig.get_path("scripts")).resolve()
    return filename.startswith("<frozen ") or Path(filename).resolve().is_relative_to(scripts)


def caller() -> str:
    """The user's `file:line` that is calling into atoll."""
    frame = inspect.currentframe()
    while frame is not None and _is_of_library(frame):
        frame = frame.f_back
    return "" if frame is None else _place(frame, frame.f_lineno, frame.f_lasti)


def failing_line(error: BaseException) -> str:
    """The innermost `file:line` of the user's that an exception came through; empty if there is none."""
    user = [step for step in _steps(error.__traceback__) if not _is_of_library(step.tb_frame)]
    return _place(user[-1].tb_frame, user[-1].tb_lineno, user[-1].tb_lasti) if user else ""


def first_line(error: BaseException) -> str:
    """An exception's message, cut to a sentence, as those of jax go on for paragraphs."""
    try:
        message = str(error)
    except Exception:  # a class of the user's may fail at that too
        message = ""
    lines = [line.strip() for line in message.strip().splitlines()] or ["no message"]
    # A heading alone says nothing, so the lines below it are added.
    return " ".join(lines[:3] if lines[0].endswith(":") else lines[:1]).rstrip(" .,;:")


def _steps(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_of_library(frame: FrameType) -> bool:
    """Whether it runs code of a library's; also what that has made of a text, as dataclasses make constructors."""
    filename = frame.f_code.co_filename
    return is_library(filename) or (filename.startswith("<") and is_library(frame.f_globals.get("__file__") or ""))


def _place(frame: FrameType, number: int, instruction: int) -> SourceLine:
    code = frame.f_code
    linecache.lazycache(code.co_filename, frame.f_globals)  # of what is in no file its loader knows the source
    first, last, start, end = next(islice(code.co_positions(), instruction // 2, None))
    return SourceLine(f"{code.co_filename}:{number}", start or 0, end if first == last else None)
