"""How far two arrays that should be equal are from each other."""

from dataclasses import dataclass
from typing import Any

import jax
import ml_dtypes
import numpy

# Sums may be added up in another order; in narrow types a few units in the last place come to more.
TOLERANCE = 1e-5
_UNITS = 4


@dataclass(frozen=True)
class Difference:
    """relative: the largest difference, relative to the largest number; infinite if they cannot be compared."""

    path: str
    step: int
    relative: float
    tolerance: float
    is_bit_equal: bool

    @property
    def is_too_large(self) -> bool:
        return not self.relative <= self.tolerance


def compare(path: str, step: int, found: Any, expected: Any) -> Difference:  # noqa: ANN401 (arrays, typed keys among them)
    """Compare a leaf with what it should be."""
    one, other = _plain(found), _plain(expected)
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return Difference(path, step, numpy.inf, 0.0, is_bit_equal=False)
    is_inexact = jax.numpy.issubdtype(one.dtype, jax.numpy.inexact)
    tolerance = max(TOLERANCE, _UNITS * _spacing(one.dtype)) if is_inexact else 0.0
    return Difference(path, step, _relative(one, other), tolerance, one.tobytes() == other.tobytes())


def _spacing(dtype: "numpy.dtype[Any]") -> float:
    return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call] # numpy's finfo does not know bfloat16


def _plain(value: Any) -> "numpy.ndarray[Any, Any]":  # noqa: ANN401 (as above)
    if jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    return numpy.asarray(value)


def _relative(one: "numpy.ndarray[Any, Any]", other: "numpy.ndarray[Any, Any]") -> float:
    one, other = (array.astype(numpy.complex128) for array in (one, other))
    is_finite = numpy.isfinite(other)
    # What is no number has to be the same on both sides.
    if not numpy.array_equal(one[~is_finite], other[~is_finite], equal_nan=True):
        return numpy.inf
    far = numpy.abs(one[is_finite] - other[is_finite]).max(initial=0.0)
    largest = numpy.abs(other[is_finite]).max(initial=0.0)
    return float(far / (largest or 1.0)) if numpy.isfinite(far) else numpy.inf
