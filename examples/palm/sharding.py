"""How a model is divided within an island: fully over the data axis, and by heads and hidden units over the model axis.

As in the paper, section 4: with `data=256, model=12` every chip of a pod keeps a 3072nd of all weights.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

Specs = Any  # a pytree of PartitionSpec
Params = Any  # a pytree of arrays

# The layers of a stack are not divided within an island: they are divided over stages.
_PARAMS = {
    "embedding": P("model", "data"),
    "layers": {
        "norm": P(),
        "query": P(None, "data", "model"),
        "key": P(None, "data"),
        "value": P(None, "data"),
        "out": P(None, "model", None, "data"),
        "gate": P(None, "data", "model"),
        "up": P(None, "data", "model"),
        "down": P(None, "model", "data"),
    },
    "norm": P(),
}

STATE: Specs = {"params": _PARAMS, "optimizer": {"momentum": _PARAMS, "square": _PARAMS}, "step": P()}
TOKENS: Specs = P("data")


def narrow(params: Params) -> Params:
    """Copies in bfloat16, divided like the parameters: of half the bytes, as are the gradients that pods exchange."""

    def copy(weight: jax.Array, spec: P) -> jax.Array:
        return jax.lax.with_sharding_constraint(weight.astype(jnp.bfloat16), spec)

    return jax.tree.map(copy, params, _PARAMS)


def stream(x: jax.Array) -> jax.Array:
    """Activations between layers: each chip has its examples. Left alone they would follow the weights, by width."""
    return jax.lax.with_sharding_constraint(x, P("data"))
