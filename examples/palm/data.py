"""A text as bytes, and the batch of every step."""

from hashlib import blake2b
from pathlib import Path

import numpy
from atoll.examples.palm.sizes import Size

Tokens = numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.int32]]

# A short text that was written for this example.
TEXT = Path(__file__).with_name("lagoon.txt").read_text(encoding="utf-8")


def encode(text: str) -> Tokens:
    """A token is a byte: every text has tokens, and 256 of them are enough."""
    return numpy.frombuffer(text.encode(), numpy.uint8).astype(numpy.int32)


def decode(tokens: Tokens) -> str:
    """The text again; bytes that are no text, such as a model may write, become question marks."""
    return bytes(numpy.asarray(tokens, numpy.uint8)).decode(errors="replace")


def batch(number: int, size: Size, text: str = TEXT) -> Tokens:
    """Batch `number`: stretches of the text, from places that depend on nothing but the number and the row.

    So a run that starts again in the middle sees what it would have seen. A hash chooses the places, not a generator
    of random numbers, whose numbers may change with its library.
    """
    return rows(size, number, 0, size.batch, text)


def rows(size: Size, number: int, start: int, stop: int, text: str = TEXT) -> Tokens:
    """Some rows of batch `number`; for a size, what `atoll.Feed` takes."""
    tokens = encode(text)
    places = len(tokens) - size.length
    starts = [_hash(f"{number} {row}") % places for row in range(start, stop)]
    return numpy.stack([tokens[start : start + size.length + 1] for start in starts])


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
