"""The leaves of a pytree by their paths, and whether two pytrees are alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy
from atoll.compiler.errors import UsageError, with_article
from atoll.runtime.array import Array


@dataclass(frozen=True)
class LeafKind:
    """What a leaf is.

    dtype: what numpy, ml_dtypes or jax call it.
    is_weak: whether it gives way to other types, as a Python number does.
    """

    shape: tuple[int, ...]
    dtype: str
    is_weak: bool = False

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    @property
    def is_key(self) -> bool:
        """Whether it is a typed random key, whose numbers are words of another dtype."""
        return self.dtype.startswith("key<")

    def fits(self, other: "LeafKind") -> bool:
        """Whether a value of one kind can stand for one of the other."""
        if self.shape != other.shape or self.is_key != other.is_key:
            return False
        if self.is_key:
            return self.dtype == other.dtype
        ours, theirs = (jax.dtypes.canonicalize_dtype(numpy.dtype(one.dtype)) for one in (self, other))
        if (self.is_weak or other.is_weak) and not self.shape:  # a number, however it was counted
            return ours.kind == theirs.kind
        return ours == theirs


def kind_of(path: str, leaf: Any) -> LeafKind:  # noqa: ANN401 (whatever the user gave)
    """UsageError if it is no array, no description of one and no number."""
    if isinstance(leaf, jax.core.Tracer):
        raise UsageError(f"{path} is being traced", remedy="do this outside of jax.jit, jax.grad and the like")
    if isinstance(leaf, (Array, jax.Array, jax.ShapeDtypeStruct)):
        return LeafKind(tuple(leaf.shape), str(leaf.dtype), getattr(leaf, "weak_type", False))  # keys have none
    if isinstance(leaf, (numpy.ndarray, numpy.generic)) and leaf.dtype.kind not in "OSUMm":
        return LeafKind(leaf.shape, str(leaf.dtype))
    if isinstance(leaf, (bool, int, float, complex)):
        return LeafKind((), str(numpy.asarray(leaf).dtype), is_weak=True)
    what = f"{path} is {with_article(type(leaf).__name__)}, not an array or a number"
    raise UsageError(what, remedy="leave it out of the tree, or make it an array")


def leaves_of(tree: Any, name: str = "tree") -> dict[str, Any]:  # noqa: ANN401 (any pytree)
    """The leaves by path, such as `tree['params']['w']`, in the order of the tree."""
    return {name + jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def kinds_of(leaves: Mapping[str, Any]) -> dict[str, LeafKind]:
    return {path: kind_of(path, leaf) for path, leaf in leaves.items()}


def check_alike(name: str, found: Mapping[str, LeafKind], like: Mapping[str, LeafKind]) -> None:
    """UsageError for the first path at which two trees differ. name: of what was found."""
    remedy = "give a `like` of the same tree, such as jax.eval_shape of what made it"
    for path, kind in like.items():
        if path not in found:
            raise UsageError(f"{name} has no {path}, which in `like` is {kind}", remedy=remedy)
        if not found[path].fits(kind):
            raise UsageError(f"{path} is {found[path]} in {name}, but {kind} in `like`", remedy=remedy)
    for path, kind in found.items():
        if path not in like:
            raise UsageError(f"{name} has {path}, which is {kind}, and `like` has no such leaf", remedy=remedy)
