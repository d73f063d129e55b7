"""A state in a file, and back: numpy's .npz, with every leaf under its path."""

import os
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import jax
import numpy

import atoll

Tree = Any  # a pytree of arrays
Leaves = dict[str, Any]


def save(file: Path, state: Tree) -> None:
    """Write a state whose arrays may still be on islands or on their way.

    What lives in parts on several islands is written part by part, so it need not fit into this machine's memory; in
    the file it is whole, for a step that is cut differently. The file is written under another name first, so that a
    run that is killed meanwhile still has the one before.
    """
    unfinished = file.with_name(f"{file.name}.unfinished")
    with unfinished.open("wb") as stream:
        with zipfile.ZipFile(stream, "w") as archive:
            for path, leaf in _leaves(state).items():
                with archive.open(f"{path}.npy", "w", force_zip64=True) as entry:
                    _write(entry, leaf)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(file)


def _write(entry: Any, leaf: Any) -> None:  # noqa: ANN401 (a stream of bytes, and an array)
    """A leaf as numpy writes it: shape and dtype, and then all elements, with those of the first parts first."""
    stretches = iter(_stretches(leaf))
    first = _plain(next(stretches))
    header = {"descr": numpy.lib.format.dtype_to_descr(first.dtype), "fortran_order": False, "shape": leaf.shape}
    numpy.lib.format.write_array_header_1_0(entry, header)
    entry.write(first.tobytes())
    for stretch in stretches:
        entry.write(_plain(stretch).tobytes())


def _stretches(leaf: Any) -> Iterator[Any]:  # noqa: ANN401 (arrays)
    """The parts of an array that is divided along its first dimension, one after the other; else the whole."""
    if isinstance(leaf, atoll.Array) and all(index == slice(None) for part in leaf.parts for index in part.index[1:]):
        for part in leaf.parts:
            yield part.read()
    else:
        yield numpy.asarray(leaf)


def hashes(state: Tree) -> dict[str, str]:
    """For each island a hash of all that it holds of a state: twins in two replicas have the same."""
    found: dict[str, Any] = {}
    for path, leaf in _leaves(state).items():
        for part in leaf.parts:
            for island in part.islands:
                content = found.setdefault(island, sha256())
                content.update(f"{path}{part.index}".encode())
                content.update(part.read(island).tobytes())
    return {island: found[island].hexdigest() for island in sorted(found)}


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
