"""The memory that a program's steps take, on each island, as its streams say."""

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import NamedTuple

from atoll.runtime.program import AxisPart, Buffer, Count, Free, IslandProgram, Program, Receive, Run


class Bytes(NamedTuple):
    """What values take: on each device of an island, and in the memory of the host for each device."""

    device: int = 0
    host: int = 0


NOTHING = Bytes()


def argument_bytes(program: Program, island: IslandProgram) -> int:
    """The bytes of an island's arguments on each of its devices."""
    sizes = sizes_of_buffers(island)
    return sum(sizes[number].device for number in program.given[island.name])


def host_peak_bytes(program: Program, island: IslandProgram) -> int:
    """The most bytes that are in the memory of the host at once, for each device."""
    return _peak(program, island, [size.host for size in sizes_of_buffers(island)])


def peak_bytes(program: Program, island: IslandProgram) -> int:
    """The most bytes that are alive at once, on each device.

    An argument that is not donated counts up to its last use: the step's own copy of it is given up then. What the
    caller keeps on the island beside that is the caller's.
    """
    return _peak(program, island, device_sizes(island))


def _peak(program: Program, island: IslandProgram, sizes: Sequence[int]) -> int:
    live = peak = 0
    for number, change in changes(island, program.given[island.name]):
        live += change * sizes[number]
        peak = max(peak, live)
    return peak


def changes(island: IslandProgram, arguments: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Each buffer with 1 where it begins to count and -1 where it no longer does, in the order of a step."""
    yield from ((number, 1) for number in arguments)
    for one in island.instructions:
        match one:
            case Run():
                # What is donated is taken over by an output of its size.
                yield from ((number, -1) for number in one.donated)
                yield from ((number, 1) for number in one.outputs)
            case Count(buffer) | Receive(buffer):
                yield buffer, 1
            case Free(buffers):
                yield from ((number, -1) for number in buffers)


def device_sizes(island: IslandProgram) -> list[int]:
    """The bytes of each buffer on each device; of one that is on the host none."""
    return [size.device for size in sizes_of_buffers(island)]


def sizes_of_buffers(island: IslandProgram) -> list[Bytes]:
    """What each buffer takes, in whichever memory it is."""
    axes = dict(island.axes)
    parts = [(buffer.on_host, _bytes_for_device(buffer, axes)) for buffer in island.buffers]
    return [Bytes(host=size) if on_host else Bytes(device=size) for on_host, size in parts]


def total(sizes: Iterable[Bytes]) -> Bytes:
    """What some values take together."""
    every = list(sizes)
    return Bytes(sum(size.device for size in every), sum(size.host for size in every))


def _bytes_for_device(buffer: Buffer, sizes: dict[str, int]) -> int:
    return buffer.bytes // prod(AxisPart.of(axis, sizes).size for axes in buffer.spec for axis in axes)
