"""What a step returns: an array that may still be on its way."""

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from typing import Any, NoReturn

import jax
import numpy
from atoll.runtime.converting import Converting
from atoll.runtime.promise import Promise


@dataclass(frozen=True)
class Part:
    """A stretch of a value, or all of one that is whole, with a copy on each of its islands.

    index: where it is in the whole, as numpy indexes.
    """

    index: tuple[slice, ...]
    islands: tuple[str, ...]
    _copies: "tuple[Callable[[], Any], ...]"

    def read(self, island: str | None = None) -> "numpy.ndarray[Any, Any]":
        """The numbers of the copy on an island, else of the first; waits for them, and for no other part."""
        return numpy.asarray(_view(self._copies[0 if island is None else self.islands.index(island)]()))


def _view(value: Any) -> Any:  # noqa: ANN401 (a jax.Array or a numpy array)
    """Another array of the same memory: the one that islands have would keep what is read of it on the host."""
    if not isinstance(value, jax.Array):
        return value
    shards = [shard.data for shard in value.addressable_shards]
    return jax.make_array_from_single_device_arrays(value.shape, value.sharding, shards)


class Array(Converting):
    """A value, or the parts of one, each on one island or on several, which then have a copy each.

    It is a promise: reading it waits for it, and raises the error of the task that failed, if one did. Given to a
    step it stays where it is. What else a `jax.Array` can do is done on jax's default device, by `to_jax`.
    """

    def __init__(self, promise: Promise) -> None:
        self.promise = promise  # what controllers work with
        self._port = promise.port

    @property
    def shape(self) -> tuple[int, ...]:
        return self._port.shape

    @property
    def dtype(self) -> Any:  # noqa: ANN401 (a numpy dtype, or jax's for typed keys)
        return dtype_of(self._port.dtype)

    @property
    def weak_type(self) -> bool:
        """Whether jax lets it give way to other dtypes, as a Python number does."""
        return self._port.weak_type

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(numpy.prod(self.shape, dtype=int))

    @property
    def itemsize(self) -> int:
        """The bytes of one element."""
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """The bytes of the whole value, however many islands and devices hold a copy or a part of it."""
        return self.size * self.itemsize

    # Where it is.

    @property
    def islands(self) -> tuple[str, ...]:
        """The names of the islands that hold it, or parts of it; none once it was donated."""
        return self.promise.islands

    @property
    def sharding(self) -> Mapping[str, jax.sharding.NamedSharding]:
        """For each island how its devices hold what it has: the whole, or its first part there.

        The devices of an island in other processes are not here: its sharding is over an `AbstractMesh` then.
        """
        return self.promise.shardings

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts in their order, one if it is not divided: a large value can be read without ever being whole."""
        promise, parts = self.promise, []
        for index, copies in zip(promise.indices, promise.parts(), strict=True):
            islands = tuple(handle.island for handle in copies)
            parts.append(Part(index, islands, tuple(partial(promise.computed, handle) for handle in copies)))
        return tuple(parts)

    def is_ready(self) -> bool:
        """Whether reading it would not wait. Of an island in another process that is known once a step is over."""
        return all(map(self.promise.is_computed, chain.from_iterable(self.promise.parts())))

    def block_until_ready(self) -> "Array":
        """Wait until the value is computed on every island that holds it."""
        for handle in chain.from_iterable(self.promise.parts()):
            self.promise.computed(handle)
        return self

    def delete(self) -> None:
        """Let go of it, as if it had been donated: its islands forget it, once no step needs it any more."""
        self.promise.give_up("deleted")

    def is_deleted(self) -> bool:
        """Whether it was donated to a step or deleted."""
        return self.promise.is_gone

    # Its numbers.

    def to_jax(self) -> jax.Array:
        return restored(self.promise.read(), self._port.dtype, self.weak_type)

    def _number(self) -> Any:  # noqa: ANN401 (as above)
        # That of a `jax.Array` is numpy's too, and to make one first takes longer. What is no number jax refuses.
        is_number = not self.shape and not self._port.dtype.startswith("key<")
        return self.promise.read() if is_number else self.to_jax()

    __jax_array__ = to_jax

    def copy_to_host_async(self) -> None:
        """Have its numbers on their way to this process before they are read, if they are computed here."""
        for copies in self.promise.parts():
            self.promise.bring_to_host(copies[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "numpy.ndarray[Any, Any]":  # noqa: ANN401
        if self._port.dtype.startswith("key<"):
            remedy = "convert it by .to_jax() and take jax.random.key_data of that"
            raise TypeError(f"{self._port.path} is a typed random key, which numpy does not know; {remedy}")
        return numpy.array(self.promise.read(), dtype=dtype, copy=copy)

    def copy(self) -> "Array":
        """The same value on the same islands, which later donations of this one do not touch.

        It takes no memory until one of the two is donated, to a step that then works on a copy.
        """
        return Array(self.promise.shared())

    __copy__ = copy

    def __deepcopy__(self, _: object) -> "Array":
        return self.copy()

    def __reduce__(self) -> tuple[Callable[..., jax.Array], tuple[Any, ...]]:
        """By value: what is unpickled is a `jax.Array`, as it has no islands."""
        return restored, (self.promise.read(), self._port.dtype, self.weak_type)

    # Others where this one is, or was.

    def with_values(self, value: Any) -> "Array":  # noqa: ANN401 (a jax.Array or a numpy array)
        """Another value of its shape and dtype where this one is, or was before it was donated."""
        return Array(self.promise.placer.put_whole(self._port, self.promise.division, value))

    def with_parts(self, read: Callable[[tuple[slice, ...]], Any]) -> "Array":
        """The same, of which each part is read when it is needed, as the numbers at an index of the whole.

        Of typed random keys these are their words, in a dimension more.
        """
        promise = self.promise
        return Array(promise.placer.promised(self._port, promise.division, map(read, promise.indices)))

    # As text, and as a Python value.

    def __repr__(self) -> str:
        place = f"on {', '.join(self.islands)}" if self.islands else self.promise.gone
        return f"Array({self._port.dtype}{list(self.shape)} {place})"

    def _repr_html_(self) -> str:
        """What it is and where, as notebooks show it; waits for nothing."""
        if self.is_deleted():
            return f"<pre>{html.escape(repr(self))}</pre>"
        rows = (f"<tr><td>{_stretch(one.index)}</td><td>{', '.join(one.islands)}</td></tr>" for one in self.parts)
        return f"<table><tr><th>{self._port.dtype}{list(self.shape)}</th><th>on</th></tr>{''.join(rows)}</table>"

    def __str__(self) -> str:
        """The values, as jax prints them; waits for them."""
        return repr(self) if self.is_deleted() else str(self.to_jax())

    def __format__(self, text: str) -> str:
        return format(self.to_jax(), text) if text else str(self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without dimensions has no length")
        return self.shape[0]

    def __getattr__(self, name: str) -> NoReturn:
        known = not name.startswith("_") and hasattr(_arrays(), name)
        remedy = f"; .islands, .sharding and .parts say where it is, or write .to_jax().{name}" if known else ""
        raise AttributeError(f"an array on an island has no {name}{remedy}", name=name, obj=self)


def _stretch(index: tuple[slice, ...]) -> str:
    """Where a part is in the whole, as one would index it."""
    if all(one == slice(None) for one in index):
        return "all of it"
    return f"[{', '.join(':' if one == slice(None) else f'{one.start}:{one.stop}' for one in index)}]"


@cache
def _arrays() -> type:
    """What arrays of jax are, which have more than `jax.Array` says."""
    return type(jax.numpy.zeros(()))


def restored(numbers: "numpy.ndarray[Any, Any]", dtype: str, weak: bool) -> jax.Array:
    """The `jax.Array` of these numbers, which are the words of a typed random key. weak: whether its type is."""
    if weak and not numbers.shape:
        number: jax.Array = jax.numpy.asarray(numbers.item())  # a Python number is what has a weak type
        if number.dtype == numbers.dtype:
            return number
    value: jax.Array = jax.numpy.array(numbers, copy=True)
    return jax.random.wrap_key_data(value, impl=key_names()[dtype]) if dtype.startswith("key<") else value


@cache
def key_names() -> dict[str, str]:
    """What `jax.random` calls the kinds of typed keys, by the name of their dtype: `key<fry>`."""
    return {str(_key_dtype(name)): name for name in ("threefry2x32", "rbg", "unsafe_rbg")}


@cache
def words_of(dtype: str) -> tuple[int, ...]:
    """The shape of the words that a typed random key has for each element."""
    return tuple(jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=key_names()[dtype]))).shape)


@cache
def dtype_of(name: str) -> Any:  # noqa: ANN401 (a numpy dtype, or jax's for typed keys)
    """The dtype of this name in a program's file."""
    return _key_dtype(key_names()[name]) if name.startswith("key<") else numpy.dtype(name)


def _key_dtype(name: str) -> Any:  # noqa: ANN401 (jax has no public class for it)
    return jax.eval_shape(lambda: jax.random.key(0, impl=name)).dtype
