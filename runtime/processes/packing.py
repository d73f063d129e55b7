"""Messages as bytes: what stands for a value is its numbers, which travel as they lie in memory.

A program travels as its file. Devices and functions cannot travel.
"""

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from operator import attrgetter
from typing import Any

import jax
import numpy
from atoll.runtime.failure import Failure, reason
from atoll.runtime.messages import Offer
from atoll.runtime.processes.small_values import SMALL, Small, arrived
from atoll.runtime.processes.tiles import Section, Tile, Tiled, name_of
from atoll.runtime.processes.wire import Content
from atoll.runtime.program import Box, Program
from atoll.runtime.program_file import from_bytes, to_bytes

# Up to so many bytes of numbers are copied into the message: a part of their own takes longer.
_SMALL = 1 << 10

_Reducer = Callable[[Any], Any]  # as `__reduce__`


def pack(message: object) -> list[Content]:
    """The parts of a frame. Waits for values that are still being computed."""
    if isinstance(message, Small):
        try:
            return [message.content()]
        except Exception as error:
            message = replace(message.offer, value=_not_computed(reason(error)))
    head, numbers = io.BytesIO(), list[pickle.PickleBuffer]()
    packing = pickle.Pickler(head, protocol=5, buffer_callback=numbers.append)
    packing.dispatch_table = _PACKING
    packing.dump(message)
    return [head.getbuffer(), *(one.raw() for one in numbers)]


def unpack(parts: Sequence[Content]) -> Any:  # noqa: ANN401 (a message)
    """Only for what comes from one who knows the secret: it may name any function."""
    head, *numbers = parts
    if head[0] == SMALL:
        return arrived(head)
    return pickle.loads(head, buffers=numbers)


class _Packing(dict[type, _Reducer]):
    """By type, what makes of an object that which pickle writes; a type is looked at once.

    What pickle asks for each object would take most of the time of a small message.
    """

    def __missing__(self, kind: type) -> _Reducer:
        found = _reducer_of(kind)
        if found is None:
            raise KeyError(kind)  # pickle knows itself what to do
        self[kind] = found
        return found


def _reducer_of(kind: type) -> _Reducer | None:
    if issubclass(kind, jax.Array):
        return lambda value: _reduced_value(value, ())
    return _of_fields(kind) if is_dataclass(kind) and not hasattr(kind, "__post_init__") else None


def _of_fields(kind: type) -> _Reducer:
    """Makes an object of a dataclass anew from its fields."""
    names = [one.name for one in fields(kind)]
    if len(names) == 1:
        (name,) = names
        return lambda one: (kind, (getattr(one, name),))
    values = attrgetter(*names) if names else lambda _: ()
    return lambda one: (kind, values(one))


def _reduced_value(value: jax.Array, index: tuple[slice, ...]) -> Any:  # noqa: ANN401 (as pickle says)
    """Its numbers; or why it could not be computed."""
    try:
        value.block_until_ready()  # of one that could not be computed, jax ends the process if its numbers are read
        return _reduced_numbers(numpy.asarray(value)[index])
    except Exception as error:
        return _not_computed, (reason(error),)


def _reduced_offer(offer: Offer) -> Any:  # noqa: ANN401 (as pickle says)
    """A value in one piece, as most are, by one call: each class that pickle names takes as long as a small value."""
    value = offer.value
    if isinstance(value, Tiled) and value.is_single:
        (tile,) = value.tiles
        make, numbers = _reduced_value(tile.numbers, ())
        if make is _numbers:
            its = offer.program, offer.step, offer.to, offer.source, offer.tag, offer.owned, offer.sent
            return _single_offer, (*its, value.shape, tile.box, tile.onward, *numbers)
    return _generic_offer(offer)


def _single_offer(
    program: int,
    step: int,
    to: str,
    source: str,
    tag: int,
    owned: bool,
    sent: int,
    whole: tuple[int, ...],
    box: Box,
    onward: tuple[int, ...],
    dtype: str,
    shape: tuple[int, ...],
    content: Content,
) -> Offer:
    tile = Tile(box, _numbers(dtype, shape, content), onward)
    return Offer(program, step, to, source, tag, Tiled(whole, dtype, (tile,)), owned, sent)


def _not_computed(why: str) -> Failure:
    return Failure(why, is_of_device=True)


def _reduced_numbers(value: "numpy.ndarray[Any, Any]") -> Any:  # noqa: ANN401 (as pickle says)
    if value.nbytes <= _SMALL:
        return _numbers, (name_of(value.dtype), value.shape, bytearray(value.tobytes()))
    flat = numpy.ascontiguousarray(value).reshape(-1).view(numpy.uint8)
    return _numbers, (name_of(value.dtype), value.shape, pickle.PickleBuffer(flat.data))


def _numbers(dtype: str, shape: tuple[int, ...], content: Content) -> "numpy.ndarray[Any, Any]":
    return numpy.frombuffer(content, numpy.uint8).view(numpy.dtype(dtype)).reshape(shape)


_generic_offer = _of_fields(Offer)

_PACKING = _Packing(
    {
        Offer: _reduced_offer,
        Section: lambda one: _reduced_value(one.array, one.index),
        numpy.ndarray: _reduced_numbers,
        Program: lambda program: (from_bytes, (to_bytes(program),)),
    }
)
