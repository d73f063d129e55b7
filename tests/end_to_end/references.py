"""What `jax.jit` gives, as tests on islands compare with it.

Where numpy computes what tasks compute, it computes the reference as well: from the module that jax lowered for the
islands, if it did already, so that nothing is traced, lowered or compiled for the sake of a comparison. `jax.jit` does
what numpy cannot do, and all of it where XLA compiles the tasks.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy
import pytest
from atoll.compiler.export import frontend
from atoll.compiler.mlir.ir_text import copy_module, to_bytecode
from evaluating import module_of


class _Lowered(NamedTuple):
    """What jax made of a function."""

    traced: jax.stages.Traced
    bytecode: bytes


# By the function; None while XLA compiles tasks.
_known: dict[Callable[..., Any], _Lowered] | None = None


@contextmanager
def by_numpy(is_wanted: bool = True) -> Iterator[None]:
    """References are computed so meanwhile; or are not."""
    global _known
    before, _known = _known, {} if is_wanted else None
    lower_traced = frontend.lower_traced

    def remembering(job, traced, platform):
        module, callbacks = lower_traced(job, traced, platform)
        if _known is not None and job.fn not in _known and not job.static_argnums:
            _known[job.fn] = _Lowered(traced, to_bytecode(module))
        return module, callbacks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frontend, "lower_traced", remembering)
        try:
            yield
        finally:
            _known = before


def reference(fn: Callable[..., Any], *args: Any) -> Any:
    """What `jax.jit` gives for arguments."""
    if _known is not None:
        lowered = _known[fn] if fn in _known else _known.setdefault(fn, _lowered(fn, args))
        found = _computed(lowered, args)
        if found is not None:
            return found
    values, structure = jax.tree.flatten(args)
    return _compiled(fn, structure, *map(jax.typeof, values))(*args)


def _lowered(fn: Callable[..., Any], args: tuple[Any, ...]) -> _Lowered:
    traced = jax.jit(fn, keep_unused=True).trace(*args)
    return _Lowered(traced, to_bytecode(copy_module(traced.lower().compiler_ir("stablehlo"))))


@functools.cache
def _compiled(fn: Callable[..., Any], structure: Any, *kinds: Any) -> Callable[..., Any]:
    shapes = [jax.ShapeDtypeStruct(one.shape, one.dtype, weak_type=one.weak_type) for one in kinds]
    return jax.jit(fn).lower(*jax.tree.unflatten(structure, shapes)).compile()


def _computed(lowered: _Lowered, args: tuple[Any, ...]) -> Any:
    """What numpy makes of arguments; None if they are of other types than the program's, or it cannot."""
    values, kinds = jax.tree.leaves(args), jax.tree.leaves(lowered.traced.args_info)
    shapes, structure = jax.tree.flatten(lowered.traced.out_info)
    types = map(jax.typeof, values)
    is_alike = all((one.shape, one.dtype) == (kind.shape, kind.dtype) for one, kind in zip(types, kinds, strict=True))
    if not is_alike or any(jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key) for one in shapes):
        return None
    module = module_of(lowered.bytecode)
    if module is None:
        return None
    given = [_numbers(one, kind.dtype) for one, kind in zip(values, kinds, strict=True)]
    results = [numpy.array(one) for one in module(*given)]
    assert [(one.shape, one.dtype) for one in results] == [(one.shape, one.dtype) for one in shapes]
    return jax.tree.unflatten(structure, results)


def _numbers(value: Any, dtype: Any) -> numpy.ndarray:
    is_key = jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)
    return numpy.asarray(jax.random.key_data(value)) if is_key else numpy.asarray(value, dtype)
