"""A line of source that a message names, and how it is shown below the message: with carets under what is meant."""

import linecache
import re
from pathlib import Path

# The most characters that are shown of a line: a text may be one huge line.
EXCERPT_WIDTH = 100

_PLACE = re.compile(r"(?P<file>.+?):(?P<line>\d+)(?::(?P<column>\d+))?")


class SourceLine(str):
    """A place as messages write it, `train.py:12`, that also knows which part of the line is meant.

    start, end: that part, counted in bytes from 0, as Python's own positions are; without an end, up to the line's.
    """

    start: int
    end: int | None

    def __new__(cls, place: str, start: int = 0, end: int | None = None) -> "SourceLine":
        made = super().__new__(cls, place)
        made.start, made.end = start, end
        return made


def excerpt_at(where: str) -> str:
    """The line that a place names, with carets; empty if the place is no line, or the line is not to be had.

    A place that knows no columns means all of its line.
    """
    place = _PLACE.fullmatch(where)
    line = _read(place["file"], int(place["line"])) if place else ""
    if place is None or not line.strip():
        return ""
    if isinstance(where, SourceLine):
        start, end = _characters(line, where.start), len(line) if where.end is None else _characters(line, where.end)
    elif place["column"]:
        start = int(place["column"]) - 1
        end = start + 1
    else:
        start, end = 0, len(line)
    if start > len(line):  # the file is not what it was
        return ""
    indent = len(line) - len(line.lstrip())
    return marked(line[indent:], max(start - indent, 0), max(end - indent, 0))


def marked(line: str, start: int, end: int) -> str:
    """A line with carets under some of its characters, at least one; only what is near them if the line is long."""
    # Whatever cannot be printed becomes a blank: a tab or an escape sequence would move the carets off their place.
    line = "".join(character if character.isprintable() else " " for character in line).rstrip()
    end = max(start + 1, min(end, len(line)))
    if len(line) > EXCERPT_WIDTH:
        first = max(0, min(start - EXCERPT_WIDTH // 2, len(line) - EXCERPT_WIDTH))
        before = "..." if first else ""
        after = "..." if first + EXCERPT_WIDTH < len(line) else ""
        end = min(end, first + EXCERPT_WIDTH)
        line = before + line[first : first + EXCERPT_WIDTH] + after
        start, end = start + len(before) - first, end + len(before) - first
    return f"  {line}\n  {' ' * start}{'^' * max(1, end - start)}"


def _read(file: str, number: int) -> str:
    """A line of a file, or of a cell of a notebook; empty if there is none."""
    linecache.checkcache(file)
    # What is not here by this name must not be looked for along Python's path, as linecache does.
    if file not in linecache.cache and not _is_file(file):
        return ""
    return linecache.getline(file, number).rstrip("\n")


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _characters(line: str, count: int) -> int:
    """How many characters so many bytes of a line are."""
    return len(line.encode()[:count].decode(errors="ignore")) if count <= len(line.encode()) else count
