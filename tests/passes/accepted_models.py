"""Optimizers behind the loop, and models of libraries."""

import equinox
import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import numpy
import optax
from accepted import SEQUENCE, D, X, Y, accepted, grads, normal, square
from filled import filled

# Optimizers behind the loop


def optimised(name, optimizer):
    params = {"a": normal(1, D, 8), "b": normal(2, 8, D), "c": normal(3, D)}

    def step(params, state, x, y):
        def loss(params):
            return square(jnp.tanh(x @ params["a"]) @ params["b"] + params["c"], y)

        value, found = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(found, state, params)
        return optax.apply_updates(params, updates), state, value, found

    step.__name__ = name
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, params)
        state = jax.tree.map(numpy.asarray, optimizer.init(params))
    accepted(jax.tree.map(numpy.asarray, params), state, X, Y, batch=(2, 3))(step)


for _name, _optimizer in {
    "sgd": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": optax.adam(optax.cosine_decay_schedule(1e-2, 10)),
    "adamw_clipped": optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(1e-2)),
    "adafactor": optax.adafactor(1e-2, min_dim_size_to_factor=4),
    "lion": optax.lion(1e-2),
    "lamb": optax.lamb(1e-2),
    "adam_unless_not_finite": optax.apply_if_finite(optax.adam(1e-2), 3),
    "accumulating": optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation(),
}.items():
    optimised(f"optax_{_name}", _optimizer)


# Models of libraries

KEY = jax.random.key(0)


def parameters(module):
    """Of a module of Flax that takes sequences."""
    return filled(jax.eval_shape(module.init, KEY, SEQUENCE.astype("float32")))


class Linen(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        x = flax.linen.LayerNorm()(flax.linen.gelu(flax.linen.Dense(8)(x)))
        x = flax.linen.MultiHeadDotProductAttention(num_heads=2, use_bias=False)(x)
        return flax.linen.Dense(D)(x)


@accepted(parameters(Linen()), SEQUENCE)
@grads
def flax_linen(params, x):
    return square(Linen().apply(params, x), x)


class Nnx(flax.nnx.Module):
    def __init__(self, rngs):
        self.first = flax.nnx.Linear(D, 8, rngs=rngs)
        self.norm = flax.nnx.RMSNorm(8, rngs=rngs)
        self.second = flax.nnx.Linear(8, D, rngs=rngs)

    def __call__(self, x):
        return self.second(self.norm(flax.nnx.relu(self.first(x))))


GRAPH, NNX_SHAPES = flax.nnx.split(flax.nnx.eval_shape(lambda: Nnx(flax.nnx.Rngs(0))))


@accepted(filled(NNX_SHAPES), X, Y, batch=(1, 2))
@grads
def flax_nnx(params, x, y):
    return square(flax.nnx.merge(GRAPH, params)(x), y)


SHAPES = equinox.filter_eval_shape(equinox.nn.MLP, D, D, 8, 2, key=KEY)
EQUINOX, STATIC = equinox.partition(SHAPES, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))


@accepted(filled(EQUINOX), X, Y, batch=(1, 2))
@grads
def equinox_mlp(params, x, y):
    return square(jax.vmap(equinox.combine(params, STATIC))(x), y)


class Recurrent(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        return flax.linen.Dense(D)(flax.linen.RNN(flax.linen.GRUCell(8))(x))


@accepted(parameters(Recurrent()), SEQUENCE)
@grads
def flax_recurrent(params, x):
    x = x.astype("float32")  # the cell computes in it, in double precision too: so does what is compared
    return square(Recurrent().apply(params, x), x)
