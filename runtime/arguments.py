"""Whether a caller's arguments are what a step takes; what is wrong with one is told in a sentence."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import numpy
from atoll.compiler.errors import UsageError, with_article
from atoll.runtime.array import Array
from atoll.runtime.failure import reason
from atoll.runtime.fed import Fed
from atoll.runtime.program import Input


def check_arguments(inputs: Sequence[Input], arguments: Sequence[Any]) -> None:
    """Raises UsageError for the first argument that does not fit."""
    if len(arguments) != len(inputs):
        raise UsageError(f"the step takes {len(inputs)} arrays, not {len(arguments)}")
    for one, value in zip(inputs, arguments, strict=True):
        if isinstance(value, Array):
            promise = value.promise
            promise.parts()
            if promise.port.kind == one.kind:
                continue
        elif isinstance(value, Fed):  # what comes is checked where it does
            continue
        elif isinstance(value, jax.core.Tracer):
            what = f"{one.path} is being traced: the step is called inside jax.jit, jax.grad or the like"
            raise UsageError(what, remedy="transform the function, and compile the result of that")
        elif isinstance(value, jax.Array) and value.is_deleted():
            raise UsageError(f"the array given as {one.path} was donated or deleted", remedy="pass another one")
        _check_fits(one, value)


def check_donations(inputs: Sequence[Input], arguments: Sequence[Any]) -> None:
    """An array that is donated stands nowhere else among the arguments."""
    if len(set(map(id, arguments))) == len(arguments):
        return
    seen: dict[int, Input] = {}
    for one, value in zip(inputs, arguments, strict=True):
        if not isinstance(value, (Array, jax.Array)):
            continue
        other = seen.setdefault(id(value), one)
        if other is not one and (one.donated or other.donated):
            what = f"{other.path} and {one.path} are the same array, and it is donated"
            raise UsageError(what, remedy="pass a copy for one of them")


def _check_fits(one: Input, value: Any) -> None:  # noqa: ANN401 (whatever the user gave)
    """Raises UsageError unless the program was compiled for values like this."""
    found = value.promise.port.kind if isinstance(value, Array) else _kind_of(one, value)
    if found == one.kind:
        return
    shape, dtype_name, weak = found
    if one.either and (shape, dtype_name) == (one.shape, one.dtype):
        return
    if (shape, dtype_name) != (one.shape, one.dtype):
        what = f"{one.path} is {dtype_name}{list(shape)}, but the step was compiled for {one.dtype}{list(one.shape)}"
        raise UsageError(what, remedy="pass an array of that shape and dtype, or compile again")
    kinds = ("an array with a dtype of its own", "a Python number, or what jax computed from such alone")
    what = f"{one.path} is {kinds[weak]}, but the step was compiled for {kinds[not weak]}"
    told = f'{"compile with" if one.weak_type else "pass"} jax.numpy.asarray(value, "{one.dtype}")'
    raise UsageError(what, remedy=f"jax.jit would compile again, as dtypes of results may depend on it: {told}")


def _kind_of(one: Input, value: Any) -> tuple[tuple[int, ...], str, bool]:  # noqa: ANN401 (whatever the user gave)
    """As `Port.kind`."""
    remedy = f"pass an array of {one.dtype}{list(one.shape)}"
    what = f"{one.path} is {with_article(type(value).__name__)}, not an array"
    if isinstance(value, jax.ShapeDtypeStruct):
        raise UsageError(what, remedy=remedy)
    try:
        if type(value) is numpy.ndarray:  # by what is known of its dtype, in a tenth of the time
            return value.shape, _name_of(jax.dtypes.canonicalize_dtype(value.dtype)), False
        type_ = jax.typeof(value)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(value, (int, numpy.ndarray)):  # jax says what is wrong with it
            what = f"{one.path} is no array for jax: {reason(error)}"
        raise UsageError(what, remedy=remedy) from None
    # Of what is no jax.Array yet, the dtype that it would get: float32 instead of float64.
    dtype = type_.dtype if isinstance(value, jax.Array) else jax.dtypes.canonicalize_dtype(type_.dtype)
    return type_.shape, str(dtype), type_.weak_type


@cache
def _name_of(dtype: "numpy.dtype[Any]") -> str:
    """The name of a dtype; an error of jax's if it knows no such numbers."""
    return str(jax.typeof(numpy.empty((), dtype)).dtype)
