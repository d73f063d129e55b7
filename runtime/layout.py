"""Which numbers of a buffer the devices of this process hold, and what puts them there."""

from typing import Any

import jax
import numpy
from atoll.compiler.mlir.bindings import placer
from atoll.runtime.boxes import on_devices, size_of
from atoll.runtime.fragment import sharding_of
from atoll.runtime.program import Buffer


class Layout:
    """boxes: what each device of this process holds; size: how many elements they have together."""

    def __init__(self, buffer: Buffer, mesh: jax.sharding.Mesh) -> None:
        sharding = sharding_of(buffer, mesh)
        boxes = on_devices(sharding, buffer.shape)
        devices = [one for one in boxes if one in sharding.addressable_devices]
        self.boxes = [boxes[one] for one in devices]
        self.size = sum(map(size_of, set(self.boxes)))
        self._indices = [tuple(slice(*bounds) for bounds in box) for box in self.boxes]
        self._shape, self._dtype = buffer.shape, numpy.dtype(buffer.dtype)
        self._put = placer(sharding, devices, self._shape, self._dtype)

    def place(self, numbers: list[Any]) -> jax.Array:
        """The array of which these are the boxes."""
        placed: jax.Array = self._put(numbers)
        return placed

    def place_bytes(self, content: memoryview) -> jax.Array:
        """The array that one device holds, of its numbers as they lie in memory."""
        return self.place([numpy.ndarray(self._shape, self._dtype, content)])

    def place_whole(self, value: "numpy.ndarray[Any, Any]") -> jax.Array:
        """The array of a value that is here whole. Its memory may become the array's: nobody writes to it any more."""
        return self.place([value[index] for index in self._indices] if value.shape else [value] * len(self._indices))
