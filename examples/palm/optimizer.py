"""Adafactor without factoring, as the paper sets it: Adam with steps in proportion to what they change.

Without factoring the second moments of every weight are kept, so what is left of Adafactor (Shazeer and Stern, 2018)
is its schedule for them and its scaling of steps.
"""

from typing import Any

import jax
import jax.numpy as jnp

Tree = Any  # a pytree of arrays, shaped like the parameters

_MOMENTUM = 0.9
_CLIP = 1.0  # the global norm that gradients are scaled down to
_LEAST_SCALE = 1e-3  # so that parameters that are all zero can leave it
_EPSILON = 1e-30  # keeps the step of a gradient that was always zero finite


def init(params: Tree) -> dict[str, Tree]:
    """What the optimizer remembers; two sets of arrays, since each is donated."""
    return {name: jax.tree.map(jnp.zeros_like, params) for name in ("momentum", "square")}


def learning_rate(step: jax.Array) -> jax.Array:
    """0.01 for the first 10,000 steps, then the inverse square root of the step: the smaller of the two."""
    return jnp.minimum(1e-2, step**-0.5)


def second_moment_decay(step: jax.Array) -> jax.Array:
    """Zero in step 1, which makes bias correction needless, and ever closer to one.

    The second moments of rare tokens' embeddings stay wrong for long under a fixed decay.
    """
    return 1.0 - step**-0.8


def global_norm(tree: Tree) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)))


def scale_of(param: jax.Array, stacked: bool) -> jax.Array:
    """The root mean square of a matrix, and of each one in a stack: layers share a leaf, but nothing else."""
    axes = tuple(range(int(stacked), param.ndim))
    return jnp.maximum(_LEAST_SCALE, jnp.sqrt(jnp.mean(param * param, axis=axes, keepdims=True)))


def update(
    params: Tree, gradients: Tree, memory: dict[str, Tree], step: jax.Array, stacked: Tree
) -> tuple[Tree, dict[str, Tree]]:
    """New parameters, and what to remember.

    step: counts from 1; float32.
    stacked: for every parameter, whether its first dimension counts separate matrices.
    """
    rate, decay = learning_rate(step), second_moment_decay(step)
    clip = jnp.minimum(1.0, _CLIP / jnp.maximum(global_norm(gradients), _EPSILON))
    gradients = jax.tree.map(lambda gradient: gradient * clip, gradients)
    square = jax.tree.map(lambda s, g: decay * s + (1.0 - decay) * (g * g + _EPSILON), memory["square"], gradients)

    def momentum_of(before: jax.Array, g: jax.Array, s: jax.Array, param: jax.Array, of_layers: bool) -> jax.Array:
        return _MOMENTUM * before + (1.0 - _MOMENTUM) * rate * scale_of(param, of_layers) * g * jax.lax.rsqrt(s)

    momentum = jax.tree.map(momentum_of, memory["momentum"], gradients, square, params, stacked)
    # The weight decay falls with the learning rate, and faster.
    params = jax.tree.map(lambda param, m: param - m - rate * rate * param, params, momentum)
    return params, {"momentum": momentum, "square": square}
