"""The runtime with fragments that numpy computes, where it can: XLA compiles none of these.

All else is as it is for users: islands, threads, links, donation, the way of every value.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy
from atoll.runtime.devices import Devices
from atoll.runtime.fragment import Executable, lower_code, sharding_of
from atoll.runtime.program import Buffer, Code
from evaluated import Module
from evaluated_reading import UnknownError


@functools.cache
def module_of(bytecode: bytes) -> Module | None:
    """What computes a module; None if numpy cannot do what is in it."""
    try:
        return Module(bytecode)
    except UnknownError:
        return None


@functools.partial(jax.jit, donate_argnums=0)
def _take(array: jax.Array) -> jax.Array:
    """Have XLA take an array's memory: to delete it from Python crashes whoever asks meanwhile whether it is ready."""
    return array


def _lower(
    code: Code,
    inputs: Sequence[Buffer],
    donated: Sequence[int],
    mesh: jax.sharding.Mesh,
    callbacks: Sequence[Callable[..., Any]],
) -> Callable[[], Executable]:
    """What `lower_code` makes, on an island of one device; on more, and for what numpy cannot do, it is XLA's."""
    module = module_of(code.module) if mesh.size == 1 and not callbacks else None
    if module is None:
        return lower_code(code, inputs, donated, mesh, callbacks)
    shardings = [sharding_of(one, mesh) for one in code.results]

    def call(*arguments: jax.Array) -> list[jax.Array]:
        found = module(*map(numpy.asarray, arguments))
        for one, buffer in zip(found, code.results, strict=True):
            assert (one.shape, one.dtype) == (buffer.shape, numpy.dtype(buffer.dtype)), code.name
        results = jax.device_put([numpy.array(one) for one in found], shardings)
        for number in donated:
            _take(arguments[number])
        return results or [jax.numpy.zeros((), bool)]

    return lambda: Executable(call, may_fail=False)


EVALUATING = Devices(lower=_lower)
