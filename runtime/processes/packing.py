"""Messages as bytes: what stands for a value is its numbers, which travel as they lie in memory.

A program travels as its file. Devices and functions cannot travel.
"""

import io
import pickle
from collections.abc import Sequence
from typing import Any

import jax
import numpy
from atoll.runtime.failure import Failure, reason
from atoll.runtime.processes.tiles import Section
from atoll.runtime.processes.wire import Content
from atoll.runtime.program import Program
from atoll.runtime.program_file import from_bytes, to_bytes


def pack(message: object) -> list[Content]:
    """The parts of a frame. Waits for values that are still being computed."""
    head, numbers = io.BytesIO(), list[pickle.PickleBuffer]()
    _Packing(head, protocol=5, buffer_callback=numbers.append).dump(message)
    return [head.getbuffer(), *(one.raw() for one in numbers)]


def unpack(parts: Sequence[Content]) -> Any:  # noqa: ANN401 (a message)
    """Only for what comes from one who knows the secret: it may name any function."""
    head, *numbers = parts
    return pickle.loads(head, buffers=numbers)


class _Packing(pickle.Pickler):
    def reducer_override(self, one: Any) -> Any:  # noqa: ANN401 (as pickle says)
        if isinstance(one, jax.Array):
            return _reduced_value(one, ())
        if type(one) is Section:
            return _reduced_value(one.array, one.index)
        if type(one) is numpy.ndarray:
            return _reduced_numbers(one)
        if type(one) is Program:
            return from_bytes, (to_bytes(one),)
        return NotImplemented


def _reduced_value(value: jax.Array, index: tuple[slice, ...]) -> Any:  # noqa: ANN401 (as pickle says)
    """Its numbers; or why it could not be computed."""
    try:
        value.block_until_ready()  # of one that could not be computed, jax ends the process if its numbers are read
        return _reduced_numbers(numpy.asarray(value)[index])
    except Exception as error:
        return _not_computed, (reason(error),)


def _not_computed(why: str) -> Failure:
    return Failure(why, is_of_device=True)


def _reduced_numbers(value: "numpy.ndarray[Any, Any]") -> Any:  # noqa: ANN401 (as pickle says)
    flat = numpy.ascontiguousarray(value).reshape(-1).view(numpy.uint8)
    return _numbers, (value.dtype.name, value.shape, pickle.PickleBuffer(flat.data))


def _numbers(dtype: str, shape: tuple[int, ...], content: Content) -> "numpy.ndarray[Any, Any]":
    return numpy.frombuffer(content, numpy.uint8).view(numpy.dtype(dtype)).reshape(shape)
