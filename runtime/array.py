"""What a step returns: an array that may still be on its way."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from typing import Any, NoReturn

import jax
import numpy
from atoll.compiler.errors import AtollError, UsageError
from atoll.runtime.program import Division, Port
from atoll.runtime.step import reason
from atoll.runtime.store import Failure, Held, wait_ready

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
    _copies: "tuple[Callable[[], jax.Array], ...]"

    def read(self, island: str | None = None) -> "numpy.ndarray[Any, Any]":
        """The numbers of the copy on an island, else of the first; waits for them, and for no other part."""
        return numpy.asarray(self._copies[0 if island is None else self.islands.index(island)]())


class Array:
    """A value, or the parts of one, each on one island or on several, which then have a copy each.

    It is a promise: reading it waits for it, and raises the error of the task that failed, if one did. Given to a
    step it stays where it is. Arithmetic on it gives `jax.Array`s on jax's default device.
    """

    def __init__(self, output: Port, held: Sequence[Sequence[Held]], division: Division, patience: float) -> None:
        """held: for each part, or for the whole, its copies."""
        self._output = output
        self._held = tuple(map(tuple, held))
        self._division = division
        self._patience = patience

    @property
    def shape(self) -> tuple[int, ...]:
        return self._output.shape

    @property
    def dtype(self) -> Any:  # noqa: ANN401 (a numpy dtype, or jax's for typed keys)
        return dtype_of(self._output.dtype)

    @property
    def kind(self) -> tuple[tuple[int, ...], str, bool]:
        """Its shape, its dtype as a program's file calls it, and whether it is weak."""
        return self._output.kind

    @property
    def weak_type(self) -> bool:
        """Whether jax lets it give way to other dtypes, as a Python number does."""
        return self._output.weak_type

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(numpy.prod(self.shape, dtype=int))

    @property
    def islands(self) -> tuple[str, ...]:
        """The names of the islands that hold it, or parts of it; none once it was donated."""
        return tuple(dict.fromkeys(held.origin.island for copies in self._held for held in copies))

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts in their order, one if it is not divided: a large value can be read without ever being whole."""
        parts = []
        for index, copies in zip(self._indices, self._alive(), strict=True):
            islands = tuple(held.origin.island for held in copies)
            parts.append(Part(index, islands, tuple(partial(self._computed, held) for held in copies)))
        return tuple(parts)

    def is_deleted(self) -> bool:
        """Whether it was donated to a step."""
        return not self._held

    def block_until_ready(self) -> "Array":
        """Wait until the value is computed on every island that holds it."""
        for held in chain.from_iterable(self._alive()):
            self._computed(held)
        return self

    def to_jax(self) -> jax.Array:
        """A copy as a `jax.Array` on jax's default device; later donations do not touch it."""
        value: jax.Array = jax.numpy.array(self._read(), copy=True)
        if self._output.dtype.startswith("key<"):
            value = jax.random.wrap_key_data(value, impl=key_names()[self._output.dtype])
        return value

    __jax_array__ = to_jax

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "numpy.ndarray[Any, Any]":  # noqa: ANN401
        if self._output.dtype.startswith("key<"):
            remedy = "convert it by .to_jax() and take jax.random.key_data of that"
            raise TypeError(f"{self._output.path} is a typed random key, which numpy does not know; {remedy}")
        return numpy.array(self._read(), dtype=dtype, copy=copy)

    def is_divided_like(self, division: Division) -> bool:
        """Whether it has the parts that another value has, or like that is whole."""
        return self._division == division

    @property
    def _indices(self) -> tuple[tuple[slice, ...], ...]:
        """Where each part is in the whole."""
        return self._division.indices or ((slice(None),) * self.ndim,)

    def _read(self) -> "numpy.ndarray[Any, Any]":
        parts = [self._computed(copies[0]) for copies in self._alive()]
        first, *others = map(numpy.asarray, parts)
        if not others:
            return first
        words = first.shape[self.ndim :]  # of a random key
        whole = numpy.empty((*self.shape, *words), first.dtype)
        for index, part in zip(self._indices, (first, *others), strict=True):
            whole[index] = part
        return whole

    def _computed(self, held: Held) -> jax.Array:
        """The value on one island, once it is there; the error of the task that failed otherwise."""
        value: jax.Array | Failure = held.get(self._patience)
        origin = held.origin
        if isinstance(value, Failure):
            raise value.error.with_traceback(None)
        try:
            wait_ready(value, self._patience, f"{self._output.path} has not been computed on island {origin.island}")
            value.block_until_ready()
        except AtollError:
            raise
        except Exception as error:
            if not self._held:
                self._alive()  # another thread donated it meanwhile
            raise self._explained(held, error) from error
        return value

    def _explained(self, held: Held, error: Exception) -> AtollError:
        island, step = held.origin.island, held.origin.step
        if step is None:
            return AtollError(f"{self._output.path} could not be brought to island {island}: {reason(error)}")
        return step.explain(island, held.origin.buffer, error, self._patience)

    def _alive(self) -> tuple[tuple[Held, ...], ...]:
        held = self._held
        if not held:
            what = f"{self._output.path} was donated to a step and is gone"
            raise UsageError(what, remedy="use what the step returned instead, or do not donate it")
        return held

    def _give_up(self) -> None:
        """It was donated."""
        self._held = ()

    def __repr__(self) -> str:
        place = f"on {', '.join(self.islands)}" if self._held else "donated"
        return f"Array({self._output.dtype}{list(self.shape)} {place})"

    def __str__(self) -> str:
        """The values, as jax prints them; waits for them."""
        return str(self.to_jax()) if self._held else repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self._output.path} lives on an island and cannot be pickled; pickle numpy.asarray of it")

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
    """The dtype that a program's file calls so."""
    return _key_dtype(key_names()[name]) if name.startswith("key<") else numpy.dtype(name)


def _key_dtype(name: str) -> Any:  # noqa: ANN401 (jax has no public class for it)
    return jax.eval_shape(lambda: jax.random.key(0, impl=name)).dtype
