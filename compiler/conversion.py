"""`atoll.to_jax` and `atoll.from_jax`: whole trees of arrays off the islands, and onto them."""

from typing import Any

import jax
from atoll.compiler.errors import UsageError
from atoll.runtime.array import Array
from atoll.runtime.converting import in_jax
from atoll.runtime.leaves import check_alike, kinds_of, leaves_of

Tree = Any  # a pytree


def to_jax(tree: Tree) -> Tree:
    """A pytree whose arrays on islands have become a `jax.Array` each, on jax's default device.

    What else is in it stays what it is. Functions of jax take the result; they refuse arrays on islands.
    """
    return in_jax(tree)


def from_jax(tree: Tree, like: Tree = ...) -> Tree:
    """The values of a pytree where those of another one are: in the same parts, on the same islands.

    like: a pytree of the same structure, shapes and dtypes, such as what a step returned. Its arrays may have been
        donated since. Where it has a leaf that is on no island, the value stays what it is.
    """
    if like is ...:
        remedy = "give a tree of arrays as a step or its .put returned them"
        raise UsageError("from_jax needs `like`, which says where values go", remedy=remedy)
    values, places = leaves_of(tree), leaves_of(like)
    check_alike("the tree", kinds_of(values), kinds_of(places))
    found = [_placed(values[path], place) for path, place in places.items()]
    return jax.tree.unflatten(jax.tree.structure(like), found)


def _placed(value: Any, place: Any) -> Any:  # noqa: ANN401 (leaves)
    if not isinstance(place, Array):
        return value
    if isinstance(value, Array):
        value = value.to_jax()
    if isinstance(value, jax.Array) and value.dtype != place.dtype:  # numbers without dimensions fit nevertheless
        value = value.astype(place.dtype)
    return place.with_values(value)
