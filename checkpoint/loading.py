"""`atoll.load_checkpoint`: a state as it was saved, wherever it is needed now."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy
from atoll.checkpoint.manifest import LeafEntry, from_json
from atoll.checkpoint.saving import join_saving
from atoll.compiler.errors import AtollError, UsageError, path_fault
from atoll.compiler.tracebacks import first_line
from atoll.runtime.array import Array, restored
from atoll.runtime.leaves import check_alike, kind_of, kinds_of, leaves_of

Tree = Any  # a pytree


def load_checkpoint(directory: str | Path, like: Tree = ..., *, step: int | None = None) -> Tree:
    """What `save_checkpoint` has written, as a pytree of the same structure, shapes and dtypes as another one.

    like: says where each leaf goes. An array on islands: to these, each part read for the island that needs it, even if
        the array was donated or deleted since. A `jax.Array`, or a `jax.ShapeDtypeStruct` that has a sharding: into
        that. Anything else, such as what `jax.eval_shape` returns: into an array of numpy's.
    step: the last one, if it is not given.
    """
    if like is ...:
        remedy = "give the state that a step was called with, or jax.eval_shape of what makes it"
        raise UsageError("load_checkpoint needs `like`, which says where each leaf goes", remedy=remedy)
    from atoll.checkpoint import on_orbax  # an extra, which takes seconds to import

    place = on_orbax.directory_of(directory)
    found = _step(directory, checkpoint_steps(directory), step)
    name = str(place / str(found))
    entries = _manifest(name, lambda: on_orbax.manifest_in(place, found))
    leaves = leaves_of(like)
    check_alike(f"checkpoint {name}", {path: one.kind for path, one in entries.items()}, kinds_of(leaves))
    stored = {path: StoredLeaf(name, path, entries[path]) for path in leaves}
    structure = jax.tree.structure(like)
    wanted = [None if one.entry.is_empty else one for one in stored.values()]
    with _told_where(name):
        tensors = on_orbax.opened(place, found, jax.tree.unflatten(structure, wanted))
    for one, tensor in zip(filter(None, wanted), jax.tree.leaves(tensors), strict=True):
        one.tensor = tensor
    return jax.tree.unflatten(structure, [_restored(stored[path], leaf) for path, leaf in leaves.items()])


def checkpoint_steps(directory: str | Path) -> tuple[int, ...]:
    """The steps of which a directory has a checkpoint, in order; none if there is no such directory."""
    from atoll.checkpoint import on_orbax

    place = on_orbax.directory_of(directory)
    join_saving(place)
    on_orbax.settle(place)
    try:
        return tuple(on_orbax.steps_of(place))
    except NotADirectoryError as error:
        raise path_fault("use", directory, error, "name a directory") from None


@dataclass
class StoredLeaf:
    """A leaf in a checkpoint. tensor: what its numbers are read from; none if there are none."""

    checkpoint: str
    path: str
    entry: LeafEntry
    tensor: Any = None

    def read(self, index: tuple[slice, ...] | None = None) -> "numpy.ndarray[Any, Any]":
        """The numbers at an index of the whole, or all of them."""
        if self.tensor is None:
            return numpy.zeros(self.entry.shape, self.entry.dtype)
        with _told_where(f"{self.checkpoint}, {self.path},"):
            numbers: numpy.ndarray[Any, Any] = (self.tensor if index is None else self.tensor[index]).read().result()
            return numbers


def _step(directory: str | Path, there: tuple[int, ...], wanted: int | None) -> int:
    if not there:
        what = f"{directory} has no checkpoint"
        raise UsageError(what, remedy="name a directory that atoll.save_checkpoint was given")
    if wanted is not None and wanted not in there:
        named = ", ".join(map(str, there[-10:]))
        last = f"the last {min(len(there), 10)} are" if len(there) > 10 else "there are"
        raise UsageError(f"{directory} has no checkpoint of step {wanted}", remedy=f"{last} {named}")
    return there[-1] if wanted is None else wanted


def _manifest(name: str, read: Callable[[], Any]) -> dict[str, LeafEntry]:
    with _told_where(name):
        found = read()
    try:
        return from_json(found)
    except (ValueError, KeyError, TypeError):
        what = f"checkpoint {name} was not written by this version's atoll.save_checkpoint"
        raise UsageError(what, remedy="read it by orbax, and give a step what that returns") from None


@contextmanager
def _told_where(what: str) -> Iterator[None]:
    """Have whatever orbax and tensorstore raise say what cannot be read."""
    try:
        yield
    except Exception as error:
        remedy = "see whether all of its files are there, or give the step of another one"
        raise AtollError(f"checkpoint {what} cannot be read: {first_line(error)}", remedy=remedy) from error


def _restored(stored: StoredLeaf, like: Any) -> Any:  # noqa: ANN401 (leaves)
    kind, wanted = stored.entry.kind, kind_of(stored.path, like)
    dtype = stored.entry.dtype if kind.is_key else numpy.dtype(wanted.dtype)

    def read(index: tuple[slice, ...] | None = None) -> "numpy.ndarray[Any, Any]":
        return stored.read(index).astype(dtype, copy=False)

    if isinstance(like, Array):
        return like.with_parts(read)
    sharding = getattr(like, "sharding", None)
    if wanted.is_weak and not wanted.shape:
        value = restored(read(), wanted.dtype, weak=True)
        return value if isinstance(like, jax.Array) else value.item()
    if kind.is_key:
        key = restored(read(), kind.dtype, weak=False)
        return key if sharding is None else jax.device_put(key, sharding)
    if sharding is None:
        return read()
    return jax.make_array_from_callback(wanted.shape, sharding, read)
