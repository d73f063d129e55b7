"""Whether somebody reads along on a terminal, and how errors look there."""

import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

from atoll.compiler.errors import AtollError

_BOLD, _RED, _FAINT = "1", "1;31", "2"
_CARETS = re.compile(r"^ +\^+$", re.MULTILINE)


def is_terminal(stream: TextIO | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether lines on it can be written over. A program without a terminal may have no stream, or a closed one."""
    return stream is not None and not stream.closed and stream.isatty() and environment.get("TERM") != "dumb"


def has_colours(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether to colour what is written there, as https://no-color.org and https://force-color.org have it."""
    if environment.get("NO_COLOR"):
        return False
    return bool(environment.get("FORCE_COLOR")) or is_terminal(stream, environment)


def error_text(error: AtollError, *, coloured: bool = False) -> str:
    """An error for the command line: its sentence, the lines below, and where to read on."""

    def paint(text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if coloured and text else text

    sentence = error.sentence
    if error.where:
        sentence = paint(error.where, _BOLD) + sentence.removeprefix(error.where)
    details = _CARETS.sub(lambda found: paint(found[0], _RED), error.details)
    lines = (f"{paint('error:', _RED)} {sentence}", details, paint(f"  see {error.page}", _FAINT))
    return "\n".join(filter(None, lines))


def print_error(error: AtollError) -> None:
    """Tell an error on standard error."""
    print(error_text(error, coloured=has_colours(sys.stderr)), file=sys.stderr)
