"""The arrays among a job's arguments: where each stands, what jax takes it for, and whether it has the batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy
from atoll.compiler.errors import CompileError, with_article
from atoll.compiler.export.batch_axes import axes_of
from atoll.compiler.export.feed import Feed
from atoll.compiler.export.job import Job
from atoll.compiler.export.weak_types import Weak

# For a leaf that is no array: among arrays, such as an activation function in a model of Equinox, and by itself.
_ARRAYS_ALONE = (
    "pass the arrays alone: arrays, rest = eqx.partition({name}, eqx.is_array) of Equinox, or by hand, and put "
    "both together in the function: eqx.combine(arrays, rest)"
)
_ARRAY_OR_STATIC = "pass arrays or jax.ShapeDtypeStruct, or name the argument in static_argnums"


@dataclass(frozen=True)
class Leaf:
    """One array among the arguments."""

    argnum: int
    path: str  # `state['params']['w']`
    value: Any
    batch_axis: int | None  # None if it has no batch


def leaves_of(job: Job) -> Iterator[Leaf]:
    """The leaves of all arguments that are not static, in the order of `@main`'s arguments."""
    for argnum, name in enumerate(job.argument_names()):
        if argnum not in job.static_argnums:
            leaves = jax.tree_util.tree_flatten_with_path(job.args[argnum])[0]
            for (path, value), axis in zip(leaves, axes_of(job, argnum), strict=True):
                yield Leaf(argnum, name + jax.tree_util.keystr(path), value, axis)


def shapes_of(job: Job, weak: Weak | None = None) -> list[jax.ShapeDtypeStruct]:
    """The shape and dtype that jax gives each leaf. jax is asked, as only it knows what it accepts as an array: about
    all at once, which takes as long as about one.

    weak: which leaves are weakly typed; without it, those that are.
    """
    leaves = list(leaves_of(job))
    try:
        shapes = _asked_of_jax([leaf.value for leaf in leaves])
    except (TypeError, ValueError, OverflowError):  # it does not say about which
        shapes = [_shape_of(job, leaf) for leaf in leaves]
    for leaf, shape in zip(leaves, shapes, strict=True):
        if not all(isinstance(size, int) for size in shape.shape):
            what = f"{leaf.path} has the symbolic shape {shape.shape}"
            raise CompileError(what, job.where, "give it a shape of numbers")
    if weak is None:
        return shapes
    return [_abstract(one.shape, one.dtype, is_weak) for one, is_weak in zip(shapes, weak, strict=True)]


def _abstract(shape: Sequence[int], dtype: Any, is_weak: bool) -> jax.ShapeDtypeStruct:  # noqa: ANN401 (jax's or numpy's)
    return jax.ShapeDtypeStruct(shape, dtype, weak_type=is_weak)  # type: ignore[no-untyped-call] # jax's


def _shape_of(job: Job, leaf: Leaf) -> jax.ShapeDtypeStruct:
    try:
        return _asked_of_jax([leaf.value])[0]
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(leaf.value, Feed):
            what = f"{leaf.path} is a feed, which says nothing of the shapes that the step is compiled for"
            raise CompileError(
                what, job.where, "pass arrays or jax.ShapeDtypeStruct here, and the feed to the step"
            ) from None
        kind = "function" if callable(leaf.value) else type(leaf.value).__name__
        dtype = f" of {leaf.value.dtype}" if isinstance(leaf.value, numpy.ndarray) else ""
        what = f"{leaf.path} is {with_article(kind)}{dtype}, which jax does not take for an array"
        name = job.argument_names()[leaf.argnum]
        is_beside_arrays = leaf.path != name and not isinstance(leaf.value, int)
        remedy = _ARRAYS_ALONE.format(name=name) if is_beside_arrays else _ARRAY_OR_STATIC
        raise CompileError(what, job.where, remedy) from error


def _asked_of_jax(values: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    found = jax.eval_shape(lambda arrays: arrays, list(values))
    # Without their mesh, if they are on one.
    return [_abstract(one.shape, one.dtype, one.weak_type) for one in found]


def check_batch(job: Job) -> None:
    """Every leaf with the batch must have its axis, and the same number of examples there."""
    remedy = "name the axis of each leaf in batch_axes, None for a leaf without a batch"
    sizes: dict[int, Leaf] = {}
    for leaf in leaves_of(job):
        axis, shape = leaf.batch_axis, numpy.shape(leaf.value)
        if axis is None:
            continue
        if not 0 <= axis < len(shape):
            _check_no_list_of_numbers(job, leaf)
            raise CompileError(f"{leaf.path} has no axis {axis} for the batch", job.where, remedy)
        sizes.setdefault(shape[axis], leaf)
        if len(sizes) > 1:
            (size, first), (other, second) = sizes.items()
            what = f"{first.path} has {size} examples on axis {first.batch_axis} and {second.path} has {other}"
            where = "" if first.batch_axis == second.batch_axis else f" on axis {second.batch_axis}"
            raise CompileError(what + where, job.where, _several_an_example(sizes) + remedy)


def _several_an_example(sizes: Mapping[int, Leaf]) -> str:
    """What else is to be done where one leaf may have several rows for each example of another."""
    fewer, more = sorted(sizes)
    if not fewer or more % fewer:
        return ""
    return f"give {sizes[more].path} two axes, {fewer} examples of {more // fewer} each, if these belong together; or "


def _check_no_list_of_numbers(job: Job, leaf: Leaf) -> None:
    """CompileError if the leaf is one of an argument that is nothing but numbers in lists: one array was meant."""
    name, given = job.argument_names()[leaf.argnum], job.args[leaf.argnum]
    if type(given) in (list, tuple) and all(isinstance(one, (int, float, complex)) for one in jax.tree.leaves(given)):
        what = f"{name} is a {type(given).__name__} of numbers, each of which jax takes for an array without an axis"
        raise CompileError(what, job.where, f"pass numpy.array({name})")
