"""What is in a checkpoint: every leaf by its path, and where it lived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    """A part of a leaf when it was saved. islands: that held a copy; none if it was not on islands.

    tile: what is in one process is of this shape, or of several times as much, if islands elsewhere have it in pieces.
    """

    bounds: Bounds
    islands: tuple[str, ...] = ()
    tile: tuple[int, ...] = field(default=(), compare=False)

    @property
    def index(self) -> tuple[slice, ...]:
        """Where it is in the whole, as numpy indexes."""
        return tuple(slice(*ends) for ends in self.bounds)

    @property
    def steps(self) -> tuple[int, ...]:
        """In each dimension from one border to the next."""
        return self.tile or tuple(stop - start for start, stop in self.bounds)


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
        starts = zip(*([start for start, _ in part.bounds] for part in self.parts), strict=True)
        steps = list(zip(*(part.steps for part in self.parts), strict=True))
        fine = tuple(gcd(*along, *its) for along, its in zip(starts, steps, strict=True)) + self.words
        coarse = tuple(map(max, steps)) + self.words
        size = prod(fine) * self.dtype.itemsize
        return fine if fine == coarse or size >= _SMALL else coarse

    def is_in_whole_blocks(self, part: LeafPart) -> bool:
        """Whether it, and each of its tiles, has no block in common with anything else."""
        borders = zip(part.bounds, part.steps, self.kind.shape, self.chunk, strict=False)  # words are in one block
        return all(
            not start % block and (not step % block or (step == stop - start and stop == size))
            for (start, stop), step, size, block in borders
        )


def entry_of(leaf: Any, kind: LeafKind, words: tuple[int, ...]) -> LeafEntry:  # noqa: ANN401 (an array or a number)
    if not isinstance(leaf, Array):
        return LeafEntry(kind, (LeafPart(tuple((0, size) for size in kind.shape)),), words)
    parts = []
    for part, copies in zip(leaf.parts, leaf.promise.parts(), strict=True):
        bounds = tuple(one.indices(size)[:2] for one, size in zip(part.index, kind.shape, strict=True))
        far = [copy.island for copy in copies if not copy.hosted.ground.is_near]
        parts.append(LeafPart(bounds, part.islands, _tile(leaf, bounds, far)))
    return LeafEntry(kind, tuple(parts), words)


def _tile(leaf: Array, bounds: Bounds, islands: Sequence[str]) -> tuple[int, ...]:
    """What each device of these islands has of a part; where they differ, what goes into all of it."""
    shape = tuple(stop - start for start, stop in bounds)
    tiles = [leaf.sharding[name].shard_shape(shape) for name in islands]
    return tuple(gcd(*along) for along in zip(*tiles, strict=True))


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
