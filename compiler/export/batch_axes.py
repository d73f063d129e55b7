"""Along which axis each leaf of an argument has the batch, from what the user says of the argument."""

import operator
from typing import Any

import jax
import numpy
from atoll.compiler.errors import CompileError
from atoll.compiler.export.job import Job
from atoll.compiler.tracebacks import first_line

# Stands for None, which in pytrees is no leaf.
_WITHOUT = object()


def axes_of(job: Job, argnum: int) -> list[int | None]:
    """For each leaf of an argument the axis with the batch, counted from the first, or None; it may not exist."""
    argument, name = job.args[argnum], job.argument_names()[argnum]
    given = jax.tree.map(lambda axis: _WITHOUT if axis is None else axis, job.batch_axes[argnum], is_leaf=_is_none)
    try:
        prefix = jax.tree.broadcast(given, argument)
    except (ValueError, TypeError) as error:
        what = f"batch_axes of {name} does not fit the argument: {first_line(error)}"
        raise CompileError(
            what, job.where, "write an axis, None, or a pytree prefix of these, as for jax.vmap"
        ) from None
    axes = [None if axis is _WITHOUT else _number(job, name, axis) for axis in jax.tree.leaves(prefix)]
    ranks = map(numpy.ndim, jax.tree.leaves(argument))
    return [axis if axis is None or axis >= 0 else axis + rank for axis, rank in zip(axes, ranks, strict=True)]


def _is_none(node: object) -> bool:
    return node is None


def _number(job: Job, name: str, axis: Any) -> int:  # noqa: ANN401 (whatever the user gave)
    try:
        if isinstance(axis, bool):  # to Python True is an int, but nobody who writes it means a number
            raise TypeError
        return operator.index(axis)
    except TypeError:
        what = f"batch_axes of {name} has {axis!r}"
        raise CompileError(what, job.where, "write the number of an axis, or None where there is no batch") from None
