"""What is in a checkpoint: every leaf by its path, and where it lived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import Any

import numpy
from atoll.runtime.array import Array
from atoll.runtime.leaves import LeafKind

# So that a later atoll can tell what an earlier one has written.
_VERSION = 1

# Fewer bytes than this are no chunk of their own, unless an array has no more.
_SMALL = 1 << 16

Bounds = tuple[tuple[int, int], ...]  # for each dimension from where to where


@dataclass(frozen=True)
class LeafPart:
    """A part of a leaf when it was saved. islands: that held a copy; none if it was not on islands."""

    bounds: Bounds
    islands: tuple[str, ...] = ()

    @property
    def index(self) -> tuple[slice, ...]:
        """Where it is in the whole, as numpy indexes."""
        return tuple(slice(*ends) for ends in self.bounds)


@dataclass(frozen=True)
class LeafEntry:
    """A leaf. words: the shape that the words of a random key add to its own."""

    kind: LeafKind
    parts: tuple[LeafPart, ...]
    words: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its numbers in the file."""
        return self.kind.shape + self.words

    @property
    def dtype(self) -> "numpy.dtype[Any]":
        """Of its numbers in the file."""
        return numpy.dtype("uint32" if self.kind.is_key else self.kind.dtype)

    @property
    def is_empty(self) -> bool:
        """Whether it has no numbers; then there is nothing of it in the file."""
        return not prod(self.shape)

    @property
    def chunk(self) -> tuple[int, ...]:
        """In blocks of which shape it is written: none goes over the border of a part, unless they would be tiny."""
        bounds = list(zip(*(part.bounds for part in self.parts), strict=True))
        fine = tuple(gcd(*(end for ends in along for end in ends)) for along in bounds) + self.words
        coarse = tuple(max(stop - start for start, stop in along) for along in bounds) + self.words
        size = prod(fine) * self.dtype.itemsize
        return fine if fine == coarse or size >= _SMALL else coarse


def entry_of(leaf: Any, kind: LeafKind, words: tuple[int, ...]) -> LeafEntry:  # noqa: ANN401 (an array or a number)
    if not isinstance(leaf, Array):
        return LeafEntry(kind, (LeafPart(tuple((0, size) for size in kind.shape)),), words)
    parts = [
        LeafPart(tuple(one.indices(size)[:2] for one, size in zip(part.index, kind.shape, strict=True)), part.islands)
        for part in leaf.parts
    ]
    return LeafEntry(kind, tuple(parts), words)


def to_json(entries: Mapping[str, LeafEntry]) -> dict[str, Any]:
    return {"version": _VERSION, "leaves": {path: _written(entry) for path, entry in entries.items()}}


def from_json(found: Mapping[str, Any]) -> dict[str, LeafEntry]:
    """ValueError, KeyError or TypeError if it is not what `to_json` made."""
    if found["version"] != _VERSION:
        raise ValueError(f"version {found['version']}")
    return {path: _read(one) for path, one in found["leaves"].items()}


def _written(entry: LeafEntry) -> dict[str, Any]:
    kind = entry.kind
    parts = [{"bounds": [*map(list, one.bounds)], "islands": list(one.islands)} for one in entry.parts]
    return {
        "shape": list(kind.shape),
        "dtype": kind.dtype,
        "weak": kind.is_weak,
        "words": list(entry.words),
        "parts": parts,
    }


def _read(one: Mapping[str, Any]) -> LeafEntry:
    parts = [LeafPart(_bounds(part["bounds"]), tuple(part["islands"])) for part in one["parts"]]
    return LeafEntry(LeafKind(tuple(one["shape"]), one["dtype"], one["weak"]), tuple(parts), tuple(one["words"]))


def _bounds(found: Sequence[Sequence[int]]) -> Bounds:
    return tuple((start, stop) for start, stop in found)
