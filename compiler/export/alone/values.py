"""The forms of a value, where some of a function is done for each microbatch alone.

Outside of such scopes a value is whole. In them it is *own*: what one microbatch makes of it, those of all microbatches
beside each other along an axis of their own, or once if it is the same for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

# The scope in which the examples of each microbatch are cut out; `export.frontend` marks what stands in it.
CUT = "cut_for_each_alone"

_Array = Any  # of jax, or a tracer


class NoForm(Exception):  # noqa: N818 (it says what was found, and is always caught)
    """A value that has no such form; the message is a clause that follows an operation."""


@dataclass(frozen=True)
class OwnArray:
    """What the microbatches have.

    axis: along which theirs are beside each other; None if it is the same for each.
    """

    array: _Array
    axis: int | None = None


@dataclass(eq=False)
class AloneValue:
    """A value of the function, in at least one form; another one is kept once it is made.

    shape: of the whole.
    maker: the operation of a scope that has made it.
    is_back: whether that stands on the way back of a gradient.
    is_cotangent: whether it follows from the seed of a gradient, so that what is made of it is linear in it.
    is_zero: whether it is nothing but zeros, which jax writes for no gradient at all.
    is_mean: whether it is a mean over the microbatches, and what has been made of it since may leave no trace in a
    gradient.
    """

    shape: Sequence[int]
    whole: _Array = None
    own: OwnArray | None = None
    maker: Any = None
    is_back: bool = False
    is_cotangent: bool = False
    is_zero: bool = False
    is_mean: bool = False


@dataclass(frozen=True)
class AloneForms:
    """Makes one form of a value of the other. parts: how many microbatches there are."""

    parts: int

    def own(self, value: AloneValue, shape: Sequence[int], *, is_back: bool) -> OwnArray:
        """What a microbatch takes, of this shape there.

        is_back: whether the way back of a gradient takes it. A mean over the microbatches has of each of them one of so
        many parts, and so has each of them of what comes back to the mean.
        """
        if value.own is None:
            axis = self.axis(value.shape, shape)
            if axis is None:
                is_shared = is_back and value.is_cotangent and not value.is_zero
                return OwnArray(value.whole / self.parts if is_shared else value.whole)
            length = value.shape[axis] // self.parts
            with jax.named_scope(CUT):
                array = value.whole.reshape(*value.shape[:axis], self.parts, length, *value.shape[axis + 1 :])
            value.own = OwnArray(array, axis)
        return value.own

    def whole(self, value: AloneValue) -> _Array:
        """What all microbatches make together.

        Examples come one after another again. Of all else there is one value: the mean, and on the way back, where
        each microbatch has its part of a gradient, the sum.
        """
        if value.whole is None:
            assert value.own is not None
            value.whole = self._whole(value, value.own)
        return value.whole

    def crossing(self, value: AloneValue) -> AloneValue:
        """The value in one form: whole, unless that would lose what each microbatch has; then own, along axis 0."""
        if self.is_only_own(value):
            assert value.own is not None
            assert value.own.axis is not None
            return replace(value, whole=None, own=OwnArray(jnp.moveaxis(value.own.array, value.own.axis, 0), 0))
        return replace(value, whole=self.whole(value), own=None)

    def is_only_own(self, value: AloneValue) -> bool:
        """Whether the whole of a value loses what each microbatch has, so that this cannot be cut out of it again."""
        if value.own is None or value.own.axis is None:
            return False
        shape = list(value.own.array.shape)
        del shape[value.own.axis]
        return not self._makes_whole(value.shape, shape)

    def like(self, value: AloneValue, form: AloneValue) -> AloneValue:
        """The value in the form of another one that stands for the same; both have one form."""
        if form.whole is not None:
            # Not kept in the value, which tells by its form what a turn makes.
            whole = value.whole if value.own is None else self._whole(value, value.own)
            return replace(value, whole=whole, own=None)
        assert form.own is not None
        if value.own is not None:
            return value
        shape = form.own.array.shape[1:]
        own = self.own(value, shape, is_back=form.is_back or value.is_back)
        array = jnp.broadcast_to(own.array, (self.parts, *shape)) if own.axis is None else own.array
        return replace(value, whole=None, own=OwnArray(array, 0))

    def _makes_whole(self, whole: Sequence[int], own: Sequence[int]) -> bool:
        """Whether what microbatches have can be put one after another, and cut again."""
        try:
            return self.axis(whole, own) is not None
        except NoForm:
            return False

    def _whole(self, value: AloneValue, own: OwnArray) -> _Array:
        array = own.array if own.axis is None else jnp.moveaxis(own.array, own.axis, 0)
        shape = array.shape if own.axis is None else array.shape[1:]
        axis = self.axis(value.shape, shape)
        is_number = jnp.issubdtype(array.dtype, jnp.inexact) and not value.is_zero
        if value.is_back and is_number and not value.is_cotangent:
            raise NoForm("stands on the way back of a gradient, and is not shown to be a part of one")
        if axis is not None:
            array = jnp.broadcast_to(array, (self.parts, *shape)) if own.axis is None else array
            return jnp.moveaxis(array, 0, axis).reshape(value.shape)
        if own.axis is None:
            return array * self.parts if value.is_back and not value.is_zero else array
        if not jnp.issubdtype(array.dtype, jnp.inexact):
            raise NoForm(f"gives a value of {array.dtype} for each microbatch, of which there is no mean")
        return array.sum(0) if value.is_back else array.mean(0)

    def axis(self, whole: Sequence[int], own: Sequence[int]) -> int | None:
        """The axis along which a microbatch has its part of a whole; None if both are alike."""
        if tuple(whole) == tuple(own):
            return None
        axes = [axis for axis, (all_, one) in enumerate(zip(whole, own, strict=False)) if all_ != one]
        if len(whole) != len(own) or len(axes) != 1 or whole[axes[0]] != self.parts * own[axes[0]]:
            told = [" x ".join(map(str, shape)) or "a scalar" for shape in (own, whole)]
            raise NoForm(f"has {told[0]} for a microbatch and {told[1]} for the batch, which differ along several axes")
        return axes[0]
