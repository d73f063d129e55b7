"""Layer loops as libraries write them."""

from dataclasses import replace

import equinox
import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import optax
from filled import filled
from layered import LAYERS, TRAINED, WIDTH, Model, Stack, examples, model, train

KEY = jax.random.key(0)


class LinenBlock(flax.linen.Module):
    rate: float = 0.0

    @flax.linen.compact
    def __call__(self, x, _):
        hidden = flax.linen.gelu(flax.linen.Dense(20)(flax.linen.LayerNorm()(x)))
        hidden = flax.linen.Dropout(self.rate, deterministic=not self.rate)(hidden)
        return x + flax.linen.Dense(WIDTH)(hidden), None


class Linen(flax.linen.Module):
    remat: bool = False
    rate: float = 0.0
    axis: int = 0

    @flax.linen.compact
    def __call__(self, x):
        block = flax.linen.remat(LinenBlock, prevent_cse=False) if self.remat else LinenBlock
        layers = flax.linen.scan(
            block,
            variable_axes={"params": self.axis},
            split_rngs={"params": True, "dropout": True},
            length=LAYERS,
        )
        x, _ = layers(self.rate, name="layers")(x, None)
        return flax.linen.Dense(3, name="head")(x)


def linen(axis=0, **options) -> Model:
    module = Linen(axis=axis, **options)
    x = examples()
    params = filled(jax.eval_shape(module.init, {"params": KEY, "dropout": KEY}, x))

    def loss(params, key, x):
        return jnp.mean(module.apply(params, x, rngs={"dropout": key}) ** 2)

    case = train(loss, params, jax.random.key(9), x, optimizer=optax.adam(1e-2))
    return Model(replace(case, batch=(2,)), stacks=(Stack(axis=axis),), traffic=TRAINED)


@model
def linen_scan() -> Model:
    return linen()


@model
def linen_scan_recomputed() -> Model:
    return linen(remat=True)


@model
def linen_scan_with_dropout() -> Model:
    return linen(remat=True, rate=0.2)


@model
def linen_scan_on_axis_one() -> Model:
    return linen(axis=1)


class NnxBlock(flax.nnx.Module):
    def __init__(self, rngs: flax.nnx.Rngs) -> None:
        self.norm = flax.nnx.LayerNorm(WIDTH, rngs=rngs)
        self.up = flax.nnx.Linear(WIDTH, 20, rngs=rngs)
        self.down = flax.nnx.Linear(20, WIDTH, rngs=rngs)

    def __call__(self, x):
        return x + self.down(flax.nnx.gelu(self.up(self.norm(x))))


class Nnx(flax.nnx.Module):
    def __init__(self, rngs: flax.nnx.Rngs, remat: bool) -> None:
        @flax.nnx.split_rngs(splits=LAYERS)
        @flax.nnx.vmap
        def create(rngs):
            return NnxBlock(rngs)

        self.layers = create(rngs)
        self.head = flax.nnx.Linear(WIDTH, 3, rngs=rngs)
        self.remat = remat

    def __call__(self, x):
        apply = lambda x, block: block(x)  # noqa: E731
        forward = flax.nnx.scan(
            flax.nnx.remat(apply) if self.remat else apply, in_axes=(flax.nnx.Carry, 0), out_axes=flax.nnx.Carry
        )
        with jax.named_scope("layers"):
            x = forward(x, self.layers)
        with jax.named_scope("head"):
            return self.head(x)


def nnx(remat) -> Model:
    graph, params = flax.nnx.split(flax.nnx.eval_shape(lambda: Nnx(flax.nnx.Rngs(0), remat)))
    pure = filled(flax.nnx.to_pure_dict(params))

    def loss(pure, x):
        state = jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(pure))
        return jnp.mean(flax.nnx.merge(graph, state)(x) ** 2)

    return Model(train(loss, pure, examples(), optimizer=optax.adam(1e-2)), traffic=TRAINED)


@model
def nnx_scan() -> Model:
    return nnx(remat=False)


@model
def nnx_scan_recomputed() -> Model:
    return nnx(remat=True)


class EquinoxBlock(equinox.Module):
    up: equinox.nn.Linear
    down: equinox.nn.Linear

    def __init__(self, key):
        up, down = jax.random.split(key)
        self.up, self.down = equinox.nn.Linear(WIDTH, 20, key=up), equinox.nn.Linear(20, WIDTH, key=down)

    def __call__(self, x):
        return x + self.down(jax.nn.gelu(self.up(x)))


class Equinox(equinox.Module):
    layers: EquinoxBlock
    head: equinox.nn.Linear

    def __init__(self, key):
        self.layers = equinox.filter_vmap(EquinoxBlock)(jax.random.split(key, LAYERS))
        self.head = equinox.nn.Linear(WIDTH, 3, key=key)

    def __call__(self, x):
        dynamic, static = equinox.partition(self.layers, equinox.is_array)

        @jax.checkpoint
        def body(x, layer):
            return equinox.combine(layer, static)(x), None

        with jax.named_scope("layers"):
            x, _ = jax.lax.scan(body, x, dynamic)
        with jax.named_scope("head"):
            return self.head(x)


@model
def equinox_scan() -> Model:
    shapes = equinox.filter_eval_shape(Equinox, KEY)
    params, static = equinox.partition(shapes, lambda one: isinstance(one, jax.ShapeDtypeStruct))
    params = filled(params)

    def loss(params, x):
        return jnp.mean(jax.vmap(jax.vmap(equinox.combine(params, static)))(x) ** 2)

    case = train(loss, params, examples(), optimizer=optax.adam(1e-2))
    return Model(case, stacks=(Stack(r"\.layers\."),), traffic=TRAINED)
