"""Values of few bytes, from an island of one device to another: their numbers, behind a few that say what they are.

To make any other message of one takes ten times as long as to read it off its device, as it is cut into tiles and its
parts are looked up by name. Here both sides know all but the step and the numbers, as both have the program.
"""

import struct
from math import prod
from typing import NamedTuple

import jax
import numpy
from atoll.runtime.messages import Load, Offer
from atoll.runtime.processes.tiles import AT_HAND
from atoll.runtime.processes.wire import Content
from atoll.runtime.program import Buffer, IslandProgram, Send

# A byte that no pickle begins with; the program, the buffer of the island that it goes to, and the step. The numbers
# behind it are aligned as numpy likes them.
SMALL = 0x01
_HEAD = struct.Struct("<B3xII4xQ")

_Link = tuple[int, str, int]  # program, destination and tag


class Small(NamedTuple):
    """A value that leaves, and the buffer that it goes to."""

    offer: Offer
    buffer: int

    @property
    def is_at_hand(self) -> bool:
        """Whether it is computed."""
        return bool(self.offer.value.is_ready())

    def content(self) -> bytes:
        """What is sent, once it is computed; an error, if it could not be."""
        offer = self.offer
        offer.value.block_until_ready()  # or jax ends the process, if it could not be computed
        return _HEAD.pack(SMALL, offer.program, self.buffer, offer.step) + numpy.asarray(offer.value).tobytes()


class SmallArrival(NamedTuple):
    """One that has come."""

    program: int
    buffer: int
    step: int
    numbers: memoryview


def arrived(content: Content) -> SmallArrival:
    """What the content of a frame says that begins as those of small values do."""
    _, program, buffer, step = _HEAD.unpack_from(content)
    return SmallArrival(program, buffer, step, memoryview(content)[_HEAD.size :])


class SmallSends:
    """What of an island's programs goes out as a small value."""

    def __init__(self, island: str) -> None:
        self._island = island
        self._buffers: dict[_Link, int] = {}  # those that values go to

    def note(self, load: Load) -> None:
        """Know what a program sends."""
        islands = {one.name: one for one in load.code.islands}
        own = islands.get(self._island)
        if own is None or not _has_one_device(own):
            return
        for one in own.instructions:
            if isinstance(one, Send) and _is_small(own.buffers[one.buffer]) and _has_one_device(islands[one.to]):
                self._buffers[load.program, one.to, one.tag] = islands[one.to].received[self._island, one.tag]

    def forget(self, program: int) -> None:
        """It was closed."""
        self._buffers = {link: buffer for link, buffer in self._buffers.items() if link[0] != program}

    def small(self, offer: Offer) -> Small | None:
        """What is sent in place of it; None if it is no small value."""
        buffer = self._buffers.get((offer.program, offer.to, offer.tag))
        return None if buffer is None or not isinstance(offer.value, jax.Array) else Small(offer, buffer)


def _is_small(buffer: Buffer) -> bool:
    return buffer.bytes <= AT_HAND and not buffer.on_host


def _has_one_device(island: IslandProgram) -> bool:
    return prod(size for _, size in island.axes) == 1
