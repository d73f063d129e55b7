"""Models of many kinds, each as a function with arguments, to be compared with `jax.jit` leaf by leaf.

A train step returns its gradients too: comparing updated parameters alone has hidden wrong gradients.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import equinox
import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import numpy
import optax
from atoll.examples import decoder
from filled import decoder_state, filled

import atoll

KEY = jax.random.key(0)


@dataclass(frozen=True)
class Case:
    """A function with arguments.

    donate: the first arguments, in whose place the first results come.
    batch: the arguments with the batch on axis 0.
    parts: on how many islands it has work, if there are as many.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    donate: tuple[int, ...] = ()
    batch: tuple[int, ...] = ()
    parts: int = 2


# How many examples a batch has: so many that eight microbatches share them.
BATCH = 8

CASES: dict[str, Callable[[], Case]] = {}


def case(build: Callable[[], Case]) -> Callable[[], Case]:
    CASES[build.__name__] = build
    return build


def normal(number: int, *shape: int, scale: float = 1.0) -> jax.Array:
    """By numpy, since jax compiles a program for every shape."""
    return jnp.asarray(scale * numpy.random.default_rng(number).standard_normal(shape))


def words(count: int, *shape: int) -> jax.Array:
    """Numbers of words, of so many that there are."""
    return jnp.asarray(numpy.random.default_rng(0).integers(0, count, shape), jnp.int32)


def dense_params(number: int, *widths: int) -> list[dict[str, jax.Array]]:
    return [
        {"w": normal(number + index, wide, narrow, scale=wide**-0.5), "b": jnp.zeros(narrow)}
        for index, (wide, narrow) in enumerate(itertools.pairwise(widths))
    ]


def mlp(layers: list[dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    for index, layer in enumerate(layers):
        with jax.named_scope(f"layer_{index}"):
            x = x @ layer["w"] + layer["b"]
            if index < len(layers) - 1:
                x = jax.nn.gelu(x)
    return x


def squares(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean((x - y) ** 2)


def train(loss_fn: Callable[..., jax.Array], optimizer: optax.GradientTransformation, params: Any, *batch: Any) -> Case:
    """A train step with an optimizer, returning everything it computes."""

    def step(state, *batch):
        params, opt_state = state
        loss, grads = jax.value_and_grad(loss_fn)(params, *batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss, grads

    return Case(step, ((params, optimizer.init(params)), *batch), donate=(0,), batch=tuple(range(1, 1 + len(batch))))


def _mlp_with(optimizer: optax.GradientTransformation) -> Case:
    def loss(params, x, y):
        return squares(mlp(params, x), y)

    return train(loss, optimizer, dense_params(1, 8, 16, 16, 16, 4), normal(90, BATCH, 8), normal(91, BATCH, 4))


@case
def mlp_inference() -> Case:
    return Case(mlp, (dense_params(1, 8, 16, 16, 4), normal(90, BATCH, 8)), batch=(1,))


@case
def mlp_sgd() -> Case:
    return _mlp_with(optax.sgd(0.1, momentum=0.9))


@case
def mlp_adam() -> Case:
    return _mlp_with(optax.adam(1e-2))


@case
def mlp_adamw_clipped() -> Case:
    return _mlp_with(optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(1e-2)))


@case
def mlp_adafactor() -> Case:
    return _mlp_with(optax.adafactor(1e-2, min_dim_size_to_factor=4))


@case
def mlp_lion() -> Case:
    return _mlp_with(optax.lion(1e-2))


@case
def mlp_lamb() -> Case:
    return _mlp_with(optax.lamb(1e-2))


@case
def transformer() -> Case:
    config = decoder.Config(vocabulary=32, width=16, heads=2, layers=4, length=8)
    state = decoder_state(config)
    tokens = words(config.vocabulary, BATCH, config.length + 1)

    def step(state, tokens):
        def loss_fn(params):
            scores = jax.nn.log_softmax(decoder.logits(params, tokens[:, :-1], config))
            return -jnp.mean(jnp.take_along_axis(scores, tokens[:, 1:, None], axis=-1))

        loss, grads = jax.value_and_grad(loss_fn)(state["params"])
        params = jax.tree.map(lambda p, g: p - 0.1 * g, state["params"], grads)
        return {**state, "params": params}, loss, grads

    return Case(step, (state, tokens), donate=(0,), batch=(1,))


@case
def tied_embedding() -> Case:
    params = {"embedding": normal(1, 32, 16), "layers": dense_params(2, 16, 16, 16)}
    tokens = words(32, BATCH, 9)

    def loss(params, tokens):
        with jax.named_scope("embed"):
            x = params["embedding"][tokens[:, :-1]]
        x = mlp(params["layers"], x)
        with jax.named_scope("head"):
            scores = jax.nn.log_softmax(x @ params["embedding"].T)
        return -jnp.mean(jnp.take_along_axis(scores, tokens[:, 1:, None], axis=-1))

    return train(loss, optax.sgd(0.1), params, tokens)


class Linen(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        for _ in range(3):
            x = flax.linen.relu(flax.linen.Dense(16)(x))
        return flax.linen.Dense(4)(x)


@case
def flax_linen() -> Case:
    model = Linen()
    x, y = normal(90, BATCH, 8), normal(91, BATCH, 4)
    params = filled(jax.eval_shape(model.init, KEY, x))
    return train(lambda p, x, y: squares(model.apply(p, x), y), optax.adam(1e-2), params, x, y)


class Nnx(flax.nnx.Module):
    def __init__(self, rngs: flax.nnx.Rngs) -> None:
        self.first = flax.nnx.Linear(8, 16, rngs=rngs)
        self.second = flax.nnx.Linear(16, 16, rngs=rngs)
        self.third = flax.nnx.Linear(16, 4, rngs=rngs)

    def __call__(self, x):
        return self.third(flax.nnx.relu(self.second(flax.nnx.relu(self.first(x)))))


@case
def flax_nnx() -> Case:
    graph, params = flax.nnx.split(flax.nnx.eval_shape(lambda: Nnx(flax.nnx.Rngs(0))))
    pure = filled(flax.nnx.to_pure_dict(params))

    def loss(pure, x, y):
        state = jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(pure))
        return squares(flax.nnx.merge(graph, state)(x), y)

    return train(loss, optax.sgd(0.1), pure, normal(90, BATCH, 8), normal(91, BATCH, 4))


@case
def equinox_mlp() -> Case:
    shapes = equinox.filter_eval_shape(equinox.nn.MLP, 8, 4, 16, 3, key=KEY)
    params, static = equinox.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    params = filled(params)

    def loss(params, x, y):
        return squares(jax.vmap(equinox.combine(params, static))(x), y)

    return train(loss, optax.sgd(0.1), params, normal(90, BATCH, 8), normal(91, BATCH, 4))


@case
def convolutions_with_batch_statistics() -> Case:
    params = {
        "first": normal(1, 3, 3, 3, 8, scale=0.2),
        "second": normal(2, 3, 3, 8, 8, scale=0.1),
        "head": normal(3, 8, 4),
    }
    statistics = {"mean": jnp.zeros(8), "var": jnp.ones(8)}

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def step(params, statistics, x, y):
        def loss_fn(params):
            with jax.named_scope("stem"):
                h = convolve(x, params["first"])
                mean, var = h.mean((0, 1, 2)), h.var((0, 1, 2))
                h = jax.nn.relu((h - mean) * jax.lax.rsqrt(var + 1e-5))
            with jax.named_scope("body"):
                h = jax.nn.relu(convolve(h, params["second"]))
            with jax.named_scope("top"):
                h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
                out = h.mean((1, 2)) @ params["head"]
            return squares(out, y), (mean, var)

        (loss, (mean, var)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        statistics = {"mean": 0.9 * statistics["mean"] + 0.1 * mean, "var": 0.9 * statistics["var"] + 0.1 * var}
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), statistics, loss, grads

    images = normal(90, BATCH, 8, 8, 3)
    return Case(step, (params, statistics, images, normal(91, BATCH, 4)), donate=(0, 1), batch=(2, 3))


@case
def lstm() -> Case:
    params = {"gates": normal(1, 24, 64, scale=0.2), "head": normal(2, 16, 4)}

    def loss(params, x, y):
        def cell(carry, x):
            hidden, memory = carry
            i, f, g, o = jnp.split(jnp.concatenate([x, hidden], axis=-1) @ params["gates"], 4, axis=-1)
            memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(memory), memory), None

        with jax.named_scope("recurrence"):
            start = jnp.zeros((BATCH, 16))
            (hidden, _), _ = jax.lax.scan(cell, (start, start), x.swapaxes(0, 1))
        with jax.named_scope("head"):
            return squares(hidden @ params["head"], y)

    return train(loss, optax.sgd(0.1), params, normal(90, BATCH, 5, 8), normal(91, BATCH, 4))


@case
def variational_autoencoder() -> Case:
    params = {"encoder": dense_params(1, 8, 16, 8), "decoder": dense_params(5, 4, 16, 8)}

    def loss(params, key, x):
        dropout, noise = jax.random.split(key)
        with jax.named_scope("encoder"):
            x_in = x * jax.random.bernoulli(dropout, 0.9, x.shape)
            mean, spread = jnp.split(mlp(params["encoder"], x_in), 2, axis=-1)
        with jax.named_scope("decoder"):
            z = mean + jnp.exp(spread) * jax.random.normal(noise, mean.shape)
            out = mlp(params["decoder"], z)
        return squares(out, x) + jnp.mean(mean**2 + jnp.exp(2 * spread) - 2 * spread - 1)

    made = train(loss, optax.sgd(0.1), params, jax.random.key(7), normal(90, BATCH, 8))
    return replace(made, batch=(2,))


@case
def u_net() -> Case:
    params = {name: normal(number, 8, 8, scale=0.3) for number, name in enumerate(("a", "b", "c", "d", "e"))}

    def loss(params, x):
        with jax.named_scope("down"):
            one = jnp.tanh(x @ params["a"])
            two = jnp.tanh(one @ params["b"])
        with jax.named_scope("bottom"):
            three = jnp.tanh(two @ params["c"])
        with jax.named_scope("up"):
            four = jnp.tanh((three + two) @ params["d"])
            return squares((four + one) @ params["e"], x)

    return train(loss, optax.sgd(0.1), params, normal(90, BATCH, 8))


@case
def encoder_decoder() -> Case:
    params = {"encoder": dense_params(1, 8, 16, 8), "cross": normal(5, 8, 8), "decoder": dense_params(6, 8, 16, 8)}

    def loss(params, source, target):
        with jax.named_scope("encoder"):
            memory = mlp(params["encoder"], source)
        with jax.named_scope("decoder"):
            scores = jax.nn.softmax(jnp.einsum("btd,de,bse->bts", target, params["cross"], memory))
            return squares(mlp(params["decoder"], target + scores @ memory), target)

    return train(loss, optax.sgd(0.1), params, normal(90, BATCH, 5, 8), normal(91, BATCH, 4, 8))


@case
def mixture_of_experts() -> Case:
    params = {"router": normal(1, 8, 4), "up": normal(2, 4, 8, 16, scale=0.3), "down": normal(3, 4, 16, 8, scale=0.3)}

    def loss(params, x):
        with jax.named_scope("router"):
            gates = jax.nn.softmax(x @ params["router"])
            top, chosen = jax.lax.top_k(gates, 2)
            weights = jnp.zeros_like(gates).at[jnp.arange(x.shape[0])[:, None], chosen].set(top)
        with jax.named_scope("experts"):
            hidden = jax.nn.relu(jnp.einsum("bd,edf->bef", x, params["up"]))
            out = jnp.einsum("bef,efd,be->bd", hidden, params["down"], weights)
        return squares(out, x)

    return train(loss, optax.sgd(0.1), params, normal(90, BATCH, 8))


@case
def checkpointed() -> Case:
    params = [normal(number, 8, 8, scale=0.4) for number in range(4)]

    def loss(params, x):
        for index, matrix in enumerate(params):
            with jax.named_scope(f"block_{index}"):
                x = jax.checkpoint(lambda x, m: x + jnp.sin(x @ m))(x, matrix)
        return jnp.mean(x**2)

    return train(loss, optax.sgd(0.1), params, normal(90, BATCH, 8))


@jax.custom_vjp
def _clipped(x):
    return x


_clipped.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -0.01, 0.01),))


@case
def custom_vjp() -> Case:
    def loss(params, x, y):
        return squares(_clipped(mlp(params, x)), y)

    return train(loss, optax.sgd(0.1), dense_params(1, 8, 16, 4), normal(90, BATCH, 8), normal(91, BATCH, 4))


@case
def control_flow() -> Case:
    params = {"a": normal(1, 8, 8, scale=0.3), "b": normal(2, 8, 8, scale=0.3)}

    def loss(params, x, flag):
        with jax.named_scope("first"):
            x = jax.lax.cond(flag > 0, lambda x: jnp.tanh(x @ params["a"]), lambda x: x, x)
        with jax.named_scope("second"):
            x = jax.lax.fori_loop(0, 3, lambda _, x: jnp.tanh(x @ params["b"]), x)
        return jnp.mean(x**2)

    def step(params, x, flag):
        loss_value, grads = jax.value_and_grad(loss)(params, x, flag)
        with jax.named_scope("count"):
            steps = jax.lax.while_loop(lambda n: n < 10, lambda n: n + flag, flag)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss_value, grads, steps

    return Case(step, (params, normal(90, BATCH, 8), jnp.int32(3)), batch=(1,))


@case
def gradient_of_gradient() -> Case:
    params = dense_params(1, 4, 8, 1)

    def energy(params, x):
        return mlp(params, x)[0]

    def loss(params, x):
        forces = jax.vmap(jax.grad(energy, argnums=1), (None, 0))(params, x)
        return jnp.mean(forces**2)

    return train(loss, optax.sgd(0.1), params, normal(90, BATCH, 4))


@case
def no_parameters() -> Case:
    def fn(x, y):
        with jax.named_scope("one"):
            z = jnp.sort(x, axis=-1) @ y
        with jax.named_scope("two"):
            return jnp.cumsum(z, axis=0), jnp.argmax(z, axis=-1)

    return Case(fn, (normal(90, BATCH, 6), normal(91, 6, 3)), batch=(0,))


@case
def passed_through_twice_and_unused() -> Case:
    def fn(x, unused, y):
        z = jnp.tanh(x @ y)
        return x, {"z": z, "again": z}, y, jnp.zeros(3), 2.0 * jnp.ones((2, 2))

    return Case(fn, (normal(90, BATCH, 6), normal(92, 5), normal(91, 6, 3)), batch=(0,))


@case
def many_dtypes() -> Case:
    def fn(values):
        with jax.named_scope("one"):
            key = jax.random.fold_in(values["key"], values["count"])
            drawn = jax.random.normal(key, (3,), jnp.bfloat16)
        with jax.named_scope("two"):
            spectrum = jnp.fft.fft(values["complex"]) * 2j
            flags = values["flags"] ^ (values["bytes"] > 3)
        return {
            "key": key,
            "half": values["half"] * drawn,
            "complex": spectrum,
            "flags": flags,
            "count": values["count"] + 1,
            "empty": values["empty"] + 1.0,
            "scalar": values["scalar"] * 2,
        }

    values = {
        "key": jax.random.key(3),
        "half": jnp.arange(3, dtype=jnp.bfloat16),
        "complex": jnp.arange(4) * (1 + 1j),
        "flags": jnp.array([True, False, True]),
        "bytes": jnp.array([1, 4, 9], jnp.uint8),
        "count": jnp.int32(5),
        "empty": jnp.zeros((0, 4)),
        "scalar": 1.5,
    }
    return Case(fn, (values,))


# For those who compare.


def leaves(tree: Any) -> Iterator[numpy.ndarray]:
    """The leaves as numpy arrays, keys as their words."""
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf.to_jax() if isinstance(leaf, atoll.Array) else leaf)
        yield numpy.asarray(leaf)


@functools.cache
def named(name: str, _trouble: str = "") -> tuple[Case, list[numpy.ndarray], Any]:
    """A case, the leaves that `jax.jit` gives, and the structure they are in; anew for other trouble that XLA takes."""
    case = CASES[name]()
    expected = by_jit(case)
    return case, list(leaves(expected)), jax.tree.structure(expected)


def by_jit(case: Case) -> Any:
    """What `jax.jit` gives, compiled as a test module has all compiled that it lowers."""
    return jax.jit(case.fn).lower(*case.args).compile()(*case.args)


def arguments_of(case: Case) -> list[Any]:
    """The case's arguments; those that are donated as copies, since they are gone afterwards."""
    return [
        jax.tree.map(jnp.copy, argument) if number in case.donate else argument
        for number, argument in enumerate(case.args)
    ]
