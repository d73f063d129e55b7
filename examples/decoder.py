"""A decoder language model and its train step in plain JAX; only the job at the end knows of atoll."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

import atoll

Params = Any  # a pytree of arrays


@dataclass(frozen=True)
class Config:
    """The size of the model."""

    vocabulary: int = 256
    width: int = 64
    heads: int = 4
    layers: int = 4
    length: int = 32


CONFIG = Config()


def init_params(key: jax.Array, config: Config = CONFIG) -> Params:
    """Random parameters: matrices scaled by their fan-in, norms at one."""

    def matrix(key: jax.Array, *shape: int) -> jax.Array:
        return jax.random.normal(key, shape) * shape[0] ** -0.5

    width = config.width
    keys = iter(jax.random.split(key, 2 + 4 * config.layers))
    layers = [
        {
            "norm_attention": jnp.ones(width),
            "qkv": matrix(next(keys), width, 3 * width),
            "out": matrix(next(keys), width, width),
            "norm_mlp": jnp.ones(width),
            "up": matrix(next(keys), width, 4 * width),
            "down": matrix(next(keys), 4 * width, width),
        }
        for _ in range(config.layers)
    ]
    return {
        "embedding": matrix(next(keys), config.vocabulary, width) * config.vocabulary**0.5,
        "layers": layers,
        "norm": jnp.ones(width),
        "head": matrix(next(keys), width, config.vocabulary),
    }


def normalise(x: jax.Array, scale: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6) * scale


def attention(layer: Params, x: jax.Array, heads: int) -> jax.Array:
    batch, length, width = x.shape
    q, k, v = jnp.split((x @ layer["qkv"]).reshape(batch, length, heads, -1), 3, axis=-1)
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
    scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)
    return mixed.reshape(batch, length, width) @ layer["out"]


def mlp(layer: Params, x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x @ layer["up"]) @ layer["down"]


def logits(params: Params, tokens: jax.Array, config: Config = CONFIG) -> jax.Array:
    """The model: next-token logits for every position."""
    with jax.named_scope("embed"):
        x = params["embedding"][tokens]
    for index, layer in enumerate(params["layers"]):
        with jax.named_scope(f"layer_{index}"):
            x = x + attention(layer, normalise(x, layer["norm_attention"]), config.heads)
            x = x + mlp(layer, normalise(x, layer["norm_mlp"]))
    with jax.named_scope("head"):
        return normalise(x, params["norm"]) @ params["head"]


def loss_fn(params: Params, tokens: jax.Array) -> jax.Array:
    """Mean cross-entropy of predicting each token from those before it."""
    log_probabilities = jax.nn.log_softmax(logits(params, tokens[:, :-1]))
    return -jnp.mean(jnp.take_along_axis(log_probabilities, tokens[:, 1:, None], axis=-1))


def init_state(key: jax.Array, config: Config = CONFIG) -> Params:
    """Parameters with Adam's moments and step count."""
    params = init_params(key, config)
    mean, square = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))  # not the same arrays: both are donated
    return {"params": params, "mean": mean, "square": square, "count": jnp.zeros((), jnp.int32)}


def train_step(state: Params, tokens: jax.Array, rate: float = 1e-3) -> tuple[Params, jax.Array]:
    """One step of Adam; returns the new state and the loss."""
    loss, gradients = jax.value_and_grad(loss_fn)(state["params"], tokens)
    count = state["count"] + 1
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["mean"], gradients)
    square = jax.tree.map(lambda s, g: 0.99 * s + 0.01 * g * g, state["square"], gradients)

    def update(param: jax.Array, m: jax.Array, s: jax.Array) -> jax.Array:
        return param - rate * (m / (1 - 0.9**count)) / (jnp.sqrt(s / (1 - 0.99**count)) + 1e-8)

    params = jax.tree.map(update, state["params"], mean, square)
    return {"params": params, "mean": mean, "square": square, "count": count}, loss


# Shapes are enough to compile: no array is made here.
STATE = jax.eval_shape(lambda: init_state(jax.random.key(0)))
TOKENS = jax.ShapeDtypeStruct((8, CONFIG.length + 1), jnp.int32)

job = atoll.Job(train_step, STATE, TOKENS, batch_argnums=1, donate_argnums=0)
