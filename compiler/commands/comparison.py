"""How far two arrays that should be equal are from each other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import ml_dtypes
import numpy

# Sums may be added up in another order; in narrow types a few units in the last place come to more.
TOLERANCE = 1e-5
_UNITS = 4


# What is judged by the last bits of the arguments: how many other ones are tried, how many times as far as these a leaf
# may be, and how many of its numbers none of them has moved, for one that was moved. A number that is nothing but
# rounding, and of which only the sign is kept, has the same sign in all of eight tries once in 128 times.
DRAWS = 8
_TIMES = 10
_UNMOVED = 0.05


@dataclass(frozen=True)
class Difference:
    """relative: the largest difference, relative to the largest number; infinite if they cannot be compared.

    by_last_bits: how far other last bits in the arguments move what `jax.jit` computes; None if that was not tried.
    is_as_far: whether that explains the difference.
    """

    path: str
    step: int
    relative: float
    tolerance: float
    is_bit_equal: bool
    by_last_bits: float | None = None
    is_as_far: bool = False

    @property
    def is_beyond_tolerance(self) -> bool:
        return not self.relative <= self.tolerance

    @property
    def is_too_large(self) -> bool:
        return self.is_beyond_tolerance and not self.is_as_far


def compare(path: str, step: int, found: Any, expected: Any) -> Difference:  # noqa: ANN401 (arrays, typed keys among them)
    """Compare a leaf with what it should be."""
    one, other = _plain(found), _plain(expected)
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return Difference(path, step, numpy.inf, 0.0, is_bit_equal=False)
    is_inexact = jax.numpy.issubdtype(one.dtype, jax.numpy.inexact)
    tolerance = max(TOLERANCE, _UNITS * _spacing(one.dtype)) if is_inexact else 0.0
    return Difference(path, step, _relative(one, other), tolerance, one.tobytes() == other.tobytes())


def judged_by_last_bits(
    difference: Difference,
    found: Any,  # noqa: ANN401 (as above)
    expected: Any,  # noqa: ANN401
    others: Sequence[Any],
) -> Difference:
    """A difference beyond tolerance, judged by what `jax.jit` makes of arguments with other last bits.

    Where rounding is made large, as by Adam of a gradient that is zero, the function itself gives no more digits. Most
    numbers that differ must be of those that move, and none by much more than they do, so that a wrong answer in other
    numbers of the same leaf is still found.
    """
    one, base = _plain(found), _plain(expected)
    if (one.shape, one.dtype) != (base.shape, base.dtype):
        return difference
    least = difference.tolerance * _largest(base)
    far = _distances(one, base)
    moved = numpy.max([_distances(_plain(other), base) for other in others], axis=0)
    unmoved = numpy.count_nonzero((far > least) & (moved <= least))
    most = float(moved.max(initial=0.0))
    is_as_far = far.max(initial=0.0) <= _TIMES * most and unmoved <= _UNMOVED * numpy.count_nonzero(moved > least)
    return replace(difference, by_last_bits=most / _largest(base), is_as_far=bool(is_as_far))


def with_other_last_bits(value: Any, random: numpy.random.Generator) -> Any:  # noqa: ANN401 (as above)
    """An argument with each floating-point number multiplied by 1 - e, 1 or 1 + e, where 1 + e is the next after 1."""
    if isinstance(value, int):
        return value
    if isinstance(value, (float, complex)):
        return type(value)(_moved(numpy.asarray(value), _spacing(numpy.dtype("float32")), random))
    if not jax.numpy.issubdtype(value.dtype, jax.numpy.inexact):
        return value
    array = numpy.asarray(value)
    return _moved(array, _spacing(array.dtype), random).astype(array.dtype)


def _moved(array: "numpy.ndarray[Any, Any]", spacing: float, random: numpy.random.Generator) -> Any:  # noqa: ANN401
    wide = array.astype(numpy.complex128 if array.dtype.kind == "c" else numpy.float64)
    return wide * (1 + spacing * random.integers(-1, 2, array.shape))


def _spacing(dtype: "numpy.dtype[Any]") -> float:
    return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call] # numpy's finfo does not know bfloat16


def _plain(value: Any) -> "numpy.ndarray[Any, Any]":  # noqa: ANN401 (as above)
    if jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    return numpy.asarray(value)


def _relative(one: "numpy.ndarray[Any, Any]", other: "numpy.ndarray[Any, Any]") -> float:
    return float(_distances(one, other).max(initial=0.0) / _largest(other))


def _largest(array: "numpy.ndarray[Any, Any]") -> float:
    """The largest number of an array, or 1 if all are 0."""
    wide = array.astype(numpy.complex128)
    return float(numpy.abs(wide[numpy.isfinite(wide)]).max(initial=0.0)) or 1.0


def _distances(one: "numpy.ndarray[Any, Any]", other: "numpy.ndarray[Any, Any]") -> "numpy.ndarray[Any, Any]":
    """How far each number is from the other one; what is not finite has to be the same on both sides."""
    one, other = (array.astype(numpy.complex128) for array in (one, other))
    is_same = (one == other) | (numpy.isnan(one) & numpy.isnan(other))
    with numpy.errstate(invalid="ignore"):
        far = numpy.abs(one - other)
    return numpy.where(is_same, 0.0, numpy.where(numpy.isfinite(far), far, numpy.inf))
