"""Measures how CPU devices put values in another order, which products with several dimensions need.

The way back of one layer is measured with its rows in one dimension, where nothing is put in another order, and with
the same rows in two: what that takes more is for the order. It is what a task does, as what the way there keeps comes
from memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from atoll.compiler.cost.work import Work

# Of a layer whose way back takes several values of as many elements as it makes.
_WIDTH, _POSITIONS = (128, 512), 32
# Examples whose values any cache holds, and those whose values none does.
_FEW, _MANY = 8, 64
# So near to each other are the numbers of examples between which values become too large.
_NEAR_ENOUGH = 1.25
# Where more examples take less than so many times as long for each, caches make no difference.
_LEAST_LOSS = 1.5
# What is taken to be the least part that anything measured has of a time, as noise may leave nothing.
LEAST_PART = 0.01


class Reordering(NamedTuple):
    """The bytes a second that are put in another order; and above how many bytes read for one value it takes longer,
    by as long as so many of these take in a second. Both are None if it never does."""

    rate: float
    across: float | None = None
    reach: float | None = None


class OrderMeasured(NamedTuple):
    """What putting one value in another order took: the bytes made and read, and the seconds."""

    made: float
    read: float
    seconds: float


@dataclass(frozen=True)
class BackwardLayer:
    """The way back of a layer that is nothing but a product and what comes behind it."""

    examples: int
    has_positions: bool

    def traced(self) -> Any:  # noqa: ANN401 (jax's)
        """For what is counted of it."""
        _, back = jax.eval_shape(lambda weights, x: jax.vjp(_layer, weights, x), *self._shapes())
        y = jax.eval_shape(_layer, *self._shapes())
        return jax.jit(_followed).trace(back, y)

    def ready(self, device: jax.Device) -> Callable[[], None]:
        """The same on a device, compiled by now, as often as `_MANY` examples need it; it returns when all is done."""
        given = [jnp.full(one.shape, 1e-3, device=device) for one in self._shapes()]
        y, back = jax.jit(lambda weights, x: jax.vjp(_layer, weights, x))(*given)
        function = jax.jit(_followed)

        def do() -> None:
            for _ in range(_MANY // self.examples):
                jax.block_until_ready(function(back, y))  # type: ignore[no-untyped-call] # jax's

        do()
        return do

    def _shapes(self) -> tuple[jax.ShapeDtypeStruct, ...]:
        rows = (self.examples, _POSITIONS) if self.has_positions else (self.examples * _POSITIONS,)
        shapes = _WIDTH, (*rows, _WIDTH[0])
        return tuple(jax.ShapeDtypeStruct(one, jnp.float32) for one in shapes)  # type: ignore[no-untyped-call] # jax's


def _layer(weights: jax.Array, x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x @ weights)


def _followed(back: Callable[[jax.Array], Any], y: jax.Array) -> Any:  # noqa: ANN401 (a tree)
    return back(y)


def order_measured(way: BackwardLayer, work: Work, with_positions: float, without: float) -> OrderMeasured:
    """What the order takes of one way back, by the seconds of `_MANY` examples, with positions and without."""
    (one,) = work.reordered
    seconds = max(with_positions - without, LEAST_PART * with_positions)
    return OrderMeasured(one.made, one.read, seconds / (_MANY // way.examples))


def reordering_of(measured: Callable[[int], OrderMeasured]) -> Reordering:
    """By what is measured of some examples, of as few as tell."""
    few, many = measured(_FEW), measured(_MANY)
    rate = few.made / few.seconds
    loss = many.seconds - many.made / rate
    if many.seconds < _LEAST_LOSS * many.made / rate:
        return Reordering(rate)
    across = many.read / loss
    fits, exceeds, least, most = _FEW, _MANY, few, many
    while exceeds > max(_NEAR_ENOUGH * fits, fits + 1):
        between = round(sqrt(fits * exceeds))
        one = measured(between)
        if one.seconds < one.made / rate + one.read / across / 2:
            fits, least = between, one
        else:
            exceeds, most = between, one
    return Reordering(rate, across, sqrt(least.read * most.read))
