"""Texts of IR in little space: lines that differ in the numbers of values alone are kept once.

Passes number values anew, so that a line of one text is seldom that of the next, letter by letter. A line is kept as
the number of its pattern, in which each number of a value is left out, and these numbers, each as its distance from the
last value that was defined: what a pass leaves as it is keeps its distances.
"""

import base64
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from atoll.compiler.view.history import PassedText

HOLE = "\x01"  # stands for a number in a pattern; no IR contains it
_VALUE = re.compile(r"(%[A-Za-z_]*)(\d+)")


class Packing:
    """Packs texts one after another; the patterns are of all of them."""

    def __init__(self) -> None:
        self._patterns: dict[str, int] = {}
        self._places: dict[str, int] = {"": 0}

    def pack(self, texts: Iterable[PassedText]) -> dict[str, Any]:
        """All of it as plain data: `unpacked` is its opposite, and `ir_texts.js` that for the page.

        passes: of each its name, phase, number of lines and packed lines; or, if it changed nothing, which pass it
            equals.
        patterns, places: what the numbers in the packed lines mean, one a line.
        """
        passes: list[dict[str, Any]] = []
        last = 0
        for number, one in enumerate(texts):
            head = {"name": one.name, "phase": one.phase}
            if one.is_same:
                passes.append({**head, "same": last})
            else:
                last = number
                lines = one.text.splitlines()
                passes.append({**head, "lines": len(lines), "data": _squeezed(self._stream(lines, one.places))})
        return {
            "passes": passes,
            "patterns": _squeezed("\n".join(self._patterns).encode()),
            "places": list(self._places),
        }

    def _stream(self, lines: Sequence[str], places: Sequence[str]) -> bytes:
        stream = bytearray()
        defined: dict[str, int] = {}
        place_before = 0
        for line, place in zip(lines, places, strict=True):
            values = _VALUE.findall(line)
            pattern = self._patterns.setdefault(_VALUE.sub(rf"\1{HOLE}", line), len(self._patterns))
            _append(stream, pattern)
            where = self._places.setdefault(place, len(self._places))
            _append(stream, _folded(where - place_before))
            place_before = where
            for position, (prefix, number) in enumerate(values):
                _append(stream, _folded(int(number) - defined.get(prefix, 0)))
                if position == 0 and line.lstrip().startswith("%"):
                    defined[prefix] = int(number)
        return bytes(stream)


def unpacked(packed: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """The text of each pass, and the places of its lines."""
    patterns = zlib.decompress(base64.b64decode(packed["patterns"])).decode().split("\n")
    texts: list[tuple[str, tuple[str, ...]]] = []
    for one in packed["passes"]:
        if "same" in one:
            texts.append(texts[one["same"]])
            continue
        numbers = _numbers(zlib.decompress(base64.b64decode(one["data"])))
        lines, places = [], []
        defined: dict[str, int] = {}
        where = 0
        for _ in range(one["lines"]):
            pieces = patterns[next(numbers)].split(HOLE)
            where += _unfolded(next(numbers))
            line = pieces[0]
            for position, piece in enumerate(pieces[1:]):
                match = re.search(r"%[A-Za-z_]*$", line)
                assert match is not None
                number = _unfolded(next(numbers)) + defined.get(match[0], 0)
                if position == 0 and line.lstrip() == match[0]:
                    defined[match[0]] = number
                line += f"{number}{piece}"
            lines.append(line)
            places.append(packed["places"][where])
        texts.append(("\n".join(lines) + "\n", tuple(places)))
    return texts


def _squeezed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def _folded(number: int) -> int:
    """A whole number as one that is not negative, small if it is small: 0, -1, 1, -2, ..."""
    return 2 * number if number >= 0 else -2 * number - 1


def _unfolded(number: int) -> int:
    return number // 2 if number % 2 == 0 else -(number + 1) // 2


def _append(stream: bytearray, number: int) -> None:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    while number >= 128:
        stream.append(number % 128 + 128)
        number //= 128
    stream.append(number)


def _numbers(stream: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in stream:
        number += (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0
