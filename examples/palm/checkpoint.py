"""A state in a file, and back: numpy's .npz, with every leaf under its path."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy

Tree = Any  # a pytree of arrays
Leaves = dict[str, Any]


def save(file: Path, state: Tree) -> None:
    """Write a state, of which arrays may still be on an island or on their way.

    It is written under another name first, so that whoever is killed meanwhile still has the file before.
    """
    unfinished = file.with_name(f"{file.name}.unfinished")
    with unfinished.open("wb") as stream:
        arrays: Leaves = {path: _plain(numpy.asarray(leaf)) for path, leaf in _leaves(state).items()}
        numpy.savez(stream, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(file)


def load(file: Path, like: Tree) -> Tree:
    """Read a state with the paths, shapes and dtypes of another, of which shapes are enough."""
    expected = _leaves(like)
    with numpy.load(file) as arrays:
        if set(arrays.files) != set(expected):
            different = sorted(set(arrays.files) ^ set(expected))
            raise ValueError(f"{file} is of another state: only one of the two has {', '.join(different)}")
        found = [_typed(arrays[path], leaf, path, file) for path, leaf in expected.items()]
    return jax.tree.unflatten(jax.tree.structure(like), found)


def _leaves(tree: Tree) -> Leaves:
    """The leaves by path, such as `['params']['norm']`, in the order of the tree."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _plain(array: Any) -> Any:  # noqa: ANN401 (an array of numpy)
    """Its bytes with its shape, where numpy's files do not know the dtype, such as bfloat16."""
    return array if array.dtype.isbuiltin == 1 else array.view(f"u{array.dtype.itemsize}")


def _typed(array: Any, like: Any, path: str, file: Path) -> Any:  # noqa: ANN401 (arrays)
    """The array as it was before `_plain`."""
    stored = _plain(numpy.empty(0, like.dtype)).dtype
    if (array.shape, array.dtype) != (tuple(like.shape), stored):
        wanted = f"{like.dtype}{list(like.shape)}"
        raise ValueError(
            f"{file} has {array.dtype}{list(array.shape)} for {path}, not {wanted}: it is of another model"
        )
    return array.view(like.dtype)
