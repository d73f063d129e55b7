"""Numbers for arguments of which only the shape is known, so that a program can be tried."""

import zlib
from typing import Any

import jax
import numpy
from atoll.runtime.array import key_names
from atoll.runtime.program import Input

_MOST_SPREAD = 0.02


def seeded(one: Input, seed: int) -> Any:  # noqa: ANN401 (what the program takes as that argument)
    """A value that depends on the seed and the argument's path alone, so that a job and its dumps get the same.

    Whole numbers are 0 to 7, as they may be indices, and floating-point numbers small and not negative, as they may be
    variances; the more rows a matrix has, the smaller, so that a deep network does not overflow.
    """
    random = numpy.random.default_rng([seed, zlib.crc32(one.path.encode())])
    if one.dtype.startswith("key<"):
        # The words of a key are drawn as those of an array, which is all that a key is in a dump.
        name = key_names()[one.dtype]
        words = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=name))).shape
        drawn = _whole(random, (*one.shape, *words)).astype(numpy.uint32)
        return jax.random.wrap_key_data(jax.numpy.asarray(drawn), impl=name)
    value = _array(random, one.shape, numpy.dtype(one.dtype))
    return value.item() if one.weak_type else value


def _array(random: numpy.random.Generator, shape: tuple[int, ...], dtype: "numpy.dtype[Any]") -> Any:  # noqa: ANN401
    if dtype == numpy.dtype(bool):
        return random.integers(0, 2, shape).astype(bool)
    if jax.numpy.issubdtype(dtype, jax.numpy.integer):
        return _whole(random, shape).astype(dtype)
    spread = min(_MOST_SPREAD, 1 / max(1, *shape[-2:-1])) if len(shape) > 1 else _MOST_SPREAD
    value: numpy.ndarray[Any, Any] = spread * numpy.abs(random.standard_normal(shape))
    if jax.numpy.issubdtype(dtype, jax.numpy.complexfloating):
        value = value + 1j * spread * numpy.abs(random.standard_normal(shape))
    return numpy.asarray(value).astype(dtype)


def _whole(random: numpy.random.Generator, shape: tuple[int, ...]) -> "numpy.ndarray[Any, Any]":
    return numpy.asarray(random.integers(0, 8, shape))
