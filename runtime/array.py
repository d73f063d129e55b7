"""What a step returns: an array that may still be on its way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from typing import Any, NoReturn

import jax
import numpy
from atoll.runtime.promise import Promise

# How numpy is asked for what Python writes as an operator.
_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
_COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
_UNARY = ("neg", "pos", "abs", "invert")


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
        return numpy.asarray(self._copies[0 if island is None else self.islands.index(island)]())


class Array:
    """A value, or the parts of one, each on one island or on several, which then have a copy each.

    It is a promise: reading it waits for it, and raises the error of the task that failed, if one did. Given to a
    step it stays where it is. Arithmetic on it gives `jax.Array`s on jax's default device.
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
    def islands(self) -> tuple[str, ...]:
        """The names of the islands that hold it, or parts of it; none once it was donated."""
        return self.promise.islands

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts in their order, one if it is not divided: a large value can be read without ever being whole."""
        promise, parts = self.promise, []
        for index, copies in zip(promise.indices, promise.parts(), strict=True):
            islands = tuple(handle.island for handle in copies)
            parts.append(Part(index, islands, tuple(partial(promise.computed, handle) for handle in copies)))
        return tuple(parts)

    def is_deleted(self) -> bool:
        """Whether it was donated to a step."""
        return self.promise.is_gone

    def block_until_ready(self) -> "Array":
        """Wait until the value is computed on every island that holds it."""
        for handle in chain.from_iterable(self.promise.parts()):
            self.promise.computed(handle)
        return self

    def to_jax(self) -> jax.Array:
        """A copy as a `jax.Array` on jax's default device; later donations do not touch it."""
        value: jax.Array = jax.numpy.array(self.promise.read(), copy=True)
        if self._port.dtype.startswith("key<"):
            value = jax.random.wrap_key_data(value, impl=key_names()[self._port.dtype])
        return value

    __jax_array__ = to_jax

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "numpy.ndarray[Any, Any]":  # noqa: ANN401
        if self._port.dtype.startswith("key<"):
            remedy = "convert it by .to_jax() and take jax.random.key_data of that"
            raise TypeError(f"{self._port.path} is a typed random key, which numpy does not know; {remedy}")
        return numpy.array(self.promise.read(), dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        place = "donated" if self.is_deleted() else f"on {', '.join(self.islands)}"
        return f"Array({self._port.dtype}{list(self.shape)} {place})"

    def __str__(self) -> str:
        """The values, as jax prints them; waits for them."""
        return repr(self) if self.is_deleted() else str(self.to_jax())

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self._port.path} lives on an island and cannot be pickled; pickle numpy.asarray of it")

    def __getattr__(self, name: str) -> NoReturn:
        remedy = f"; write .to_jax().{name}" if not name.startswith("_") and hasattr(jax.Array, name) else ""
        raise AttributeError(f"an array on an island has no {name}{remedy}", name=name, obj=self)

    # As a Python value.

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without dimensions has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[jax.Array]:
        return iter(self.to_jax())

    def __getitem__(self, index: Any) -> jax.Array:  # noqa: ANN401 (whatever jax takes)
        return self.to_jax()[index]

    def __float__(self) -> float:
        return float(self.to_jax())

    def __int__(self) -> int:
        return int(self.to_jax())

    def __complex__(self) -> complex:
        return complex(self.to_jax())

    def __bool__(self) -> bool:
        return bool(self.to_jax())

    def __index__(self) -> int:
        return self.to_jax().__index__()

    def __format__(self, text: str) -> str:
        return format(self.to_jax(), text) if text else str(self)

    def item(self) -> Any:  # noqa: ANN401 (a Python number)
        return self.to_jax().item()

    def astype(self, dtype: Any) -> jax.Array:  # noqa: ANN401 (whatever jax takes)
        return self.to_jax().astype(dtype)

    __hash__ = None  # type: ignore[assignment] # as of other arrays, whose == compares elements


def _binary(name: str) -> Callable[[Array, Any], Any]:
    def operate(self: Array, other: Any) -> Any:  # noqa: ANN401 (whatever jax takes)
        return getattr(self.to_jax(), name)(other.to_jax() if isinstance(other, Array) else other)

    operate.__name__ = name
    return operate


def _unary(name: str) -> Callable[[Array], Any]:
    def operate(self: Array) -> Any:  # noqa: ANN401 (as jax says)
        return getattr(self.to_jax(), name)()

    operate.__name__ = name
    return operate


for _name in (*_BINARY, *(f"r{one}" for one in _BINARY), *_COMPARE):
    setattr(Array, f"__{_name}__", _binary(f"__{_name}__"))
for _name in _UNARY:
    setattr(Array, f"__{_name}__", _unary(f"__{_name}__"))


@cache
def key_names() -> dict[str, str]:
    """What `jax.random` calls the kinds of typed keys, by the name of their dtype: `key<fry>`."""
    return {str(_key_dtype(name)): name for name in ("threefry2x32", "rbg", "unsafe_rbg")}


@cache
def dtype_of(name: str) -> Any:  # noqa: ANN401 (a numpy dtype, or jax's for typed keys)
    """The dtype of this name in a program's file."""
    return _key_dtype(key_names()[name]) if name.startswith("key<") else numpy.dtype(name)


def _key_dtype(name: str) -> Any:  # noqa: ANN401 (jax has no public class for it)
    return jax.eval_shape(lambda: jax.random.key(0, impl=name)).dtype
