"""Which elements of an array the devices of an island hold."""

import itertools
from collections.abc import Mapping, Sequence
from math import prod

import jax
from atoll.runtime.program import AxisPart, Box, Buffer


def boxes_of(buffer: Buffer, axes: Sequence[tuple[str, int]]) -> list[Box]:
    """The box of each device, in the order of a mesh whose axes have these names and sizes."""
    sizes = dict(axes)
    spec = [[AxisPart.of(text, sizes) for text in parts] for parts in buffer.spec]
    spec += [[]] * (len(buffer.shape) - len(spec))
    places = itertools.product(*(range(size) for _, size in axes))
    return [
        tuple(
            _bounds(parts, length, dict(zip(sizes, place, strict=True)), sizes)
            for parts, length in zip(spec, buffer.shape, strict=True)
        )
        for place in places
    ]


def _bounds(
    parts: Sequence[AxisPart], length: int, place: Mapping[str, int], sizes: Mapping[str, int]
) -> tuple[int, int]:
    """From where to where a device holds a dimension that is divided over these parts of axes."""
    number = 0
    for one in parts:
        minor = sizes[one.axis] // (one.before * one.size)
        number = number * one.size + place[one.axis] // minor % one.size
    extent = length // prod(one.size for one in parts)
    return number * extent, (number + 1) * extent


def shared_out(boxes: Sequence[Box], processes: int) -> list[list[Box]]:
    """What each of the processes of an island holds, without repetition; each has as many devices, in order."""
    count = len(boxes) // processes
    return [list(dict.fromkeys(boxes[first : first + count])) for first in range(0, len(boxes), count)]


def size_of(box: Box) -> int:
    """How many elements it has."""
    return prod(stop - start for start, stop in box)


def common(box: Box, other: Box) -> Box | None:
    """What is in both; None if nothing is."""
    found = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, other, strict=True))
    return found if all(start < stop for start, stop in found) else None


def inside(box: Box, other: Box) -> tuple[slice, ...]:
    """Where a box is in one that contains it, as numpy indexes."""
    return tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(box, other, strict=True))


def is_inside(box: Box, other: Box) -> bool:
    """Whether the other one contains it."""
    return all(start <= one and end <= stop for (one, end), (start, stop) in zip(box, other, strict=True))


def on_devices(sharding: jax.sharding.Sharding, shape: tuple[int, ...]) -> dict[jax.Device, Box]:
    """The box of each device, as jax has it."""
    return {device: box_at(index, shape) for device, index in sharding.devices_indices_map(shape).items()}


def box_at(index: Sequence[slice], shape: Sequence[int]) -> Box:
    """The box that an index of jax's means."""
    return tuple(one.indices(size)[:2] for one, size in zip(index, shape, strict=True))
