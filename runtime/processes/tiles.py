"""A value on its way between processes: in tiles, each of which goes where it is needed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy
from atoll.runtime.boxes import box_at, inside, is_inside, size_of
from atoll.runtime.failure import Failure
from atoll.runtime.program import Box

# So many bytes are sent in hardly more time than another thread takes to begin with it.
AT_HAND = 1 << 13


@dataclass(frozen=True, slots=True)
class Section:
    """Some of the elements of an array on a device. Its numbers are read when it is sent."""

    array: jax.Array
    index: tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A box of a value, and its numbers.

    onward: which other processes of the island get it from the one that it comes to, so that it crosses the link once.
    """

    box: Box
    numbers: Any  # those of a jax.Array or a Section until they are sent; a Failure, if they could not be computed
    onward: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Tiled:
    """What is sent of a value: tiles that have no element in common."""

    shape: tuple[int, ...]
    dtype: str
    tiles: tuple[Tile, ...]

    @property
    def size(self) -> int:
        """How many elements there are."""
        return sum(size_of(one.box) for one in self.tiles)

    @property
    def is_single(self) -> bool:
        """Whether it is one array, which is still on a device."""
        return len(self.tiles) == 1 and isinstance(self.tiles[0].numbers, jax.Array)

    @property
    def is_at_hand(self) -> bool:
        """Whether to send it takes no waiting, and hardly longer than to have another thread do so."""
        if not self.is_single:
            return False
        numbers = self.tiles[0].numbers
        return bool(numbers.nbytes <= AT_HAND and numbers.is_ready())

    @property
    def failure(self) -> Failure | None:
        """Why some of it could not be computed."""
        return next((one.numbers for one in self.tiles if isinstance(one.numbers, Failure)), None)


@cache
def name_of(dtype: "numpy.dtype[Any]") -> str:
    """What numpy or ml_dtypes call it, which takes numpy longer than to move a number."""
    return dtype.name


def cut(value: "numpy.ndarray[Any, Any]", boxes: Iterable[Box]) -> Tiled:
    """These boxes of a value."""
    tiles = tuple(Tile(box, value[tuple(slice(*bounds) for bounds in box)]) for box in dict.fromkeys(boxes))
    return Tiled(value.shape, name_of(value.dtype), tiles)


def held(value: jax.Array) -> Tiled:
    """What this process has of an array, so that all processes together have each element once."""
    shards = [one for one in value.addressable_shards if one.replica_id == 0]
    tiles = tuple(Tile(box_at(one.index, value.shape), one.data) for one in shards)
    return Tiled(value.shape, name_of(value.dtype), tiles)


def filled(box: Box, tiles: Sequence[Tile], dtype: str) -> "numpy.ndarray[Any, Any]":
    """The numbers of a box, of which each tile has some or none."""
    filling = [one for one in tiles if size_of(one.box) and is_inside(one.box, box)]
    if filling and filling[0].box == box:
        found: numpy.ndarray[Any, Any] = filling[0].numbers
        return found
    made = numpy.empty([stop - start for start, stop in box], numpy.dtype(dtype))
    for one in filling:
        made[inside(one.box, box)] = one.numbers
    return made


def whole(told: Sequence[Tiled]) -> "numpy.ndarray[Any, Any] | Failure":
    """A value of which these are all tiles; or why it could not be computed."""
    if failure := next((failed for one in told if (failed := one.failure)), None):
        return failure
    first = told[0]
    tiles = [tile for one in told for tile in one.tiles]
    return filled(tuple((0, length) for length in first.shape), tiles, first.dtype)
