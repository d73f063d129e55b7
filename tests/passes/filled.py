"""Numbers for parameters, from numpy: `jax.random`, and with it initialisers of libraries, compile a program for every
shape."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy
from atoll.examples import decoder


def filled(shapes: Any, scale: float = 0.3) -> Any:
    """A pytree of arrays: floats are random, all else is zero."""
    leaves, structure = jax.tree.flatten(shapes)
    return jax.tree.unflatten(structure, [_array(number, leaf, scale) for number, leaf in enumerate(leaves)])


def _array(number: int, leaf: Any, scale: float) -> jax.Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.asarray(numpy.zeros(leaf.shape, leaf.dtype))
    drawn = numpy.random.default_rng(number).standard_normal(leaf.shape)
    return jnp.asarray(scale * drawn, leaf.dtype)


def decoder_params(config: decoder.Config) -> Any:
    """What `decoder.init_params` makes, with other numbers."""
    return filled(jax.eval_shape(partial(decoder.init_params, config=config), jax.random.key(0)))


def decoder_state(config: decoder.Config = decoder.CONFIG) -> Any:
    """What `decoder.init_state` makes, with other numbers."""
    shapes = jax.eval_shape(partial(decoder.init_state, config=config), jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: jnp.asarray(numpy.zeros(leaf.shape, leaf.dtype)), shapes)
    return {**zeros, "params": filled(shapes["params"])}
