"""How a value crosses between islands that divide it unlike: into which parts each of them divides it for the link.

Each part of the sender's crosses as it is, or cut into several by the device that has it, so that every byte crosses
once. What is still to be changed is changed within an island, by a task: where that moves the fewest bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from math import gcd, lcm, prod
from typing import NamedTuple

import numpy
from atoll.compiler.module.shardings import Spec
from atoll.runtime.program import AxisPart

# Into how many parts each dimension is divided.
Grid = tuple[int, ...]


@dataclass(frozen=True)
class End:
    """How an island holds a value. axes: the names and sizes of its mesh; spec: of each dimension, or of none."""

    axes: tuple[tuple[str, int], ...]
    spec: Spec

    @cached_property
    def devices(self) -> int:
        return prod(size for _, size in self.axes)

    def parts(self, rank: int) -> list[list[AxisPart]]:
        """What each dimension is divided over, the major one first."""
        sizes = dict(self.axes)
        divided = [[AxisPart.of(axis, sizes) for axis in axes] for axes in self.spec]
        return divided + [[] for _ in range(rank - len(divided))]

    def grid(self, rank: int) -> Grid:
        return tuple(prod(one.size for one in parts) for parts in self.parts(rank))

    def divided(self, grid: Grid) -> "End":
        """The value in other parts, as many as divide the number of devices.

        Every device keeps as much of what it has as it can: of the axes of a dimension those stay that come first, so
        that a coarser part has the finer one in it; what else is needed comes last, so that a finer part lies in the
        coarser one. Where a whole axis is too much, a part of one is taken.
        """
        if grid == self.grid(len(grid)):
            return self
        before = self.parts(len(grid))
        used = {one.axis for parts in before for one in parts}
        free = [AxisPart(axis, 1, size) for axis, size in self.axes if axis not in used]
        kept: list[list[AxisPart]] = []
        for parts, wanted in zip(before, grid, strict=True):
            stay, go = _front(parts, wanted)
            kept.append(stay)
            free += go
        for parts, wanted in zip(kept, grid, strict=True):
            _fill(parts, wanted, free)
        sizes = dict(self.axes)
        spec = tuple(tuple(one.text(sizes) for one in parts if one.size > 1) for parts in kept)
        return End(self.axes, spec if any(spec) else ())

    def numbers(self, rank: int) -> "list[numpy.ndarray[tuple[int], numpy.dtype[numpy.int64]]]":
        """For each dimension which of its parts every device has."""
        sizes = dict(self.axes)
        grid = numpy.indices(tuple(sizes.values())).reshape(len(sizes), -1)
        coordinates = dict(zip(sizes, grid, strict=True))
        found = []
        for parts in self.parts(rank):
            number = numpy.zeros(self.devices, numpy.int64)
            for axis, before, size in parts:
                number = number * size + coordinates[axis] // (sizes[axis] // (before * size)) % size
            found.append(number)
        return found


def _front(parts: Sequence[AxisPart], wanted: int) -> tuple[list[AxisPart], list[AxisPart]]:
    """Of the axes of a dimension those that come first and are of use for so many parts, and the others."""
    stay: list[AxisPart] = []
    for number, one in enumerate(parts):
        taken = gcd(one.size, wanted)
        wanted //= taken
        major, minor = one.cut(taken)
        stay.append(major)
        if minor.size > 1:
            return stay, [minor, *parts[number + 1 :]]
    return stay, []


def _fill(parts: list[AxisPart], wanted: int, free: list[AxisPart]) -> None:
    """Divide a dimension further, into so many parts, over what is free."""
    while (left := wanted // prod(one.size for one in parts)) > 1:
        taken = next(one for one in free if gcd(one.size, left) > 1)
        free.remove(taken)
        major, minor = taken.cut(gcd(taken.size, left))
        parts.append(major)
        free.append(minor)


@dataclass(frozen=True)
class Crossing:
    """How two islands hold a value while it crosses from one to the other."""

    sent: Spec
    received: Spec


def crossing(source: End, target: End, shape: tuple[int, ...]) -> Crossing:
    """How a value crosses so that devices get the fewest bytes from others of their island, before it and behind it.

    What the devices of an island pay is what the busiest one pays; links within unlike islands count alike, as no
    topology tells of them. Among equals the fewest islands reshard; then the one with more devices, else the sender.
    """
    rank = len(shape)
    if source.grid(rank) == target.grid(rank) or not prod(shape):
        return Crossing(source.spec, target.spec)
    return _cheapest(source, target, shape)


class _Way(NamedTuple):
    """What a way to cross costs, first what counts most. bytes: at least, or in fact."""

    bytes: int
    reshards: int
    is_on_other: bool
    fewer_parts: int
    sent: Grid
    received: Grid


@cache
def _cheapest(source: End, target: End, shape: tuple[int, ...]) -> Crossing:
    """The bound on what a way costs is nearly always what it does cost, so few are worked out device by device."""
    best: _Way | None = None
    for bound in sorted(ways(source, target, shape)):
        if best is not None and bound.bytes > best.bytes:
            break
        found = bound._replace(bytes=bytes_of_way(source, target, shape, bound.sent, bound.received))
        best = found if best is None else min(best, found)
    assert best is not None  # in one part at the least
    return Crossing(source.divided(best.sent).spec, target.divided(best.received).spec)


def ways(source: End, target: End, shape: tuple[int, ...]) -> Iterator[_Way]:
    """All ways to cross. The sender's parts are the receiver's, or have several of those in them."""
    own, wanted = source.grid(len(shape)), target.grid(len(shape))
    for received in _grids(shape, [lcm(*pair) for pair in zip(own, wanted, strict=True)], target.devices):
        behind = _copied(target, shape, received) + _least(shape, received, wanted)
        for sent in _grids(shape, received, source.devices):
            reshards = (sent != own, received != wanted)
            is_on_other = reshards[source.devices >= target.devices]
            size = _least(shape, own, sent) + behind
            yield _Way(
                bytes=size,
                reshards=sum(reshards),
                is_on_other=is_on_other,
                fewer_parts=-prod(received),
                sent=sent,
                received=received,
            )


def _grids(shape: tuple[int, ...], finest: Sequence[int], devices: int) -> Iterator[Grid]:
    """The grids of equal parts that so many devices can hold, as fine as one or coarser."""
    choices = []
    for most, size in zip(finest, shape, strict=True):
        common = gcd(most, size, devices)
        choices.append([parts for parts in range(1, common + 1) if common % parts == 0])
    return (grid for grid in product(*choices) if devices % prod(grid) == 0)


def bytes_of_way(source: End, target: End, shape: tuple[int, ...], sent: Grid, received: Grid) -> int:
    """The elements that the busiest device of the sender gets, and with them those of the receiver's."""
    arrived = target.divided(received)
    return (
        _moved(source, source.divided(sent), shape) + _copied(target, shape, received) + _moved(arrived, target, shape)
    )


def _copied(target: End, shape: tuple[int, ...], received: Grid) -> int:
    """A part goes over the link to one device, and from there to the others that have it too."""
    return prod(shape) // prod(received) if prod(received) < target.devices else 0


def _moved(before: End, after: End, shape: tuple[int, ...]) -> int:
    """The elements of its part after that the busiest device has not in its part before."""
    if before == after:
        return 0
    rank = len(shape)
    common = numpy.ones(before.devices, numpy.int64)
    lengths = []
    for dimension, (one, other) in enumerate(zip(before.numbers(rank), after.numbers(rank), strict=True)):
        old, new = (shape[dimension] // end.grid(rank)[dimension] for end in (before, after))
        stop = numpy.minimum((one + 1) * old, (other + 1) * new)
        common *= numpy.maximum(0, stop - numpy.maximum(one * old, other * new))
        lengths.append(new)
    return prod(lengths) - int(common.min())


def _least(shape: tuple[int, ...], before: Grid, after: Grid) -> int:
    """What a device gets at the least, if of its part as much as can be lies in the one that it had."""
    if before == after:
        return 0
    finer = [max(pair) for pair in zip(before, after, strict=True)]
    return prod(shape) // prod(after) - prod(size // parts for size, parts in zip(shape, finer, strict=True))
