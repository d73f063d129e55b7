"""Export and normalise, then run: every value must be that of `jax.jit`, to the bit."""

import equinox
import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import numpy
import optax
import pytest
from atoll.compiler.export.frontend import export
from atoll.compiler.export.leaves import leaves_of
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import PATH
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from atoll.examples import decoder
from atoll.runtime.fragment import Fragment
from filled import decoder_state, filled

from atoll import Job


def values(*shape, seed=0, dtype="float32"):
    return jnp.asarray(numpy.random.default_rng(seed).standard_normal(shape), dtype)


def sgd(loss):
    """A plain train step."""

    def step(params, *batch):
        value, gradients = jax.value_and_grad(loss)(params, *batch)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), value

    return step


def mean_square(predicted, target):
    return jnp.mean((predicted - target) ** 2)


X, Y = values(8, 4), values(8, 4, seed=1)
TOKENS = numpy.random.default_rng(0).integers(0, 256, (4, 17), "int32")

ZOO = {}


def model(make):
    """Add a function that returns a step and its arguments."""
    ZOO[make.__name__] = make
    return make


@model
def mlp():
    params = [values(4, 16, seed=2), values(16, 4, seed=3)]
    return sgd(lambda params, x, y: mean_square(jax.nn.relu(x @ params[0]) @ params[1], y)), params, X, Y


@model
def decoder_language_model():
    config = decoder.Config(layers=1, width=16)
    return decoder.train_step, decoder_state(config), TOKENS


@model
def flax_linen():
    class Net(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            x = flax.linen.LayerNorm()(flax.linen.gelu(flax.linen.Dense(16)(x)))
            return flax.linen.Dense(4)(x)

    net = Net()
    params = filled(jax.eval_shape(net.init, jax.random.key(0), X))
    return sgd(lambda params, x, y: mean_square(net.apply(params, x), y)), params, X, Y


@model
def flax_nnx():
    class Net(flax.nnx.Module):
        def __init__(self, rngs):
            self.first = flax.nnx.Linear(4, 16, rngs=rngs)
            self.second = flax.nnx.Linear(16, 4, rngs=rngs)

        def __call__(self, x):
            return self.second(flax.nnx.relu(self.first(x)))

    graph, shapes = flax.nnx.split(flax.nnx.eval_shape(lambda: Net(flax.nnx.Rngs(0))))
    params = filled(shapes)
    return sgd(lambda params, x, y: mean_square(flax.nnx.merge(graph, params)(x), y)), params, X, Y


@model
def equinox_mlp():
    shapes = equinox.filter_eval_shape(equinox.nn.MLP, 4, 4, 16, 2, key=jax.random.key(0))
    params, static = equinox.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    params = filled(params)
    return sgd(lambda params, x, y: mean_square(jax.vmap(equinox.combine(params, static))(x), y)), params, X, Y


@model
def convolution():
    def loss(params, images, labels):
        x = jax.lax.conv_general_dilated(
            images, params["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.lax.reduce_window(jax.nn.relu(x), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        logits = x.reshape(x.shape[0], -1) @ params["head"]
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1))

    params = {"kernel": values(3, 3, 1, 8), "head": values(128, 10)}
    return sgd(loss), params, values(4, 8, 8, 1), jnp.arange(4)


@model
def lstm():
    def loss(params, sequence, y):
        def cell(carry, x):
            h, c = carry
            i, f, g, o = jnp.split(jnp.concatenate([x, h], -1) @ params, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((sequence.shape[0], 4))
        (h, _), _ = jax.lax.scan(cell, (zeros, zeros), sequence.swapaxes(0, 1))
        return mean_square(h, y)

    return sgd(loss), values(8, 16), values(8, 6, 4), Y


@model
def dropout():
    def step(params, key, x, y):
        key, used = jax.random.split(key)

        def loss(params):
            mask = jax.random.bernoulli(used, 0.5, x.shape)
            return mean_square(jnp.where(mask, x / 0.5, 0) @ params, y)

        return params - 0.1 * jax.grad(loss)(params), jax.random.key_data(key)

    return (
        lambda params, data, x, y: step(params, jax.random.wrap_key_data(data), x, y),
        values(4, 4),
        jax.random.PRNGKey(3),
        X,
        Y,
    )


@model
def typed_keys():
    return lambda key, x: (jax.random.split(key), x + jax.random.normal(key, x.shape)), jax.random.key(7), X


@model
def loops_and_branches():
    def fn(x, n):
        x = jax.lax.fori_loop(0, n, lambda i, x: x + jnp.sin(x) * i, x)
        x = jax.lax.while_loop(lambda x: jnp.sum(x * x) < 1000, lambda x: x * 1.5, x)
        x = jax.lax.cond(x[0, 0] > 0, jnp.tanh, lambda x: -x, x)
        return jax.lax.switch(n % 3, [lambda x: x, lambda x: x + 1, lambda x: x * 2], x)

    return fn, X, 5


@model
def custom_gradient():
    @jax.custom_vjp
    def clipped(x):
        return x

    clipped.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -0.01, 0.01),))
    return sgd(lambda params, x, y: mean_square(clipped(x @ params), y)), values(4, 4), X, Y


@model
def checkpoint():
    def loss(params, x, y):
        for param in params:
            x = jax.checkpoint(lambda param, x: jnp.tanh(x @ param))(param, x)
        return mean_square(x, y)

    return sgd(loss), [values(4, 4, seed=index) for index in range(3)], X, Y


@model
def adamw_with_clipping():
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(1e-2, 10)))
    params = {"a": values(4, 16), "b": values(16, 4, seed=1)}

    def step(params, state, x, y):
        gradients = jax.grad(lambda params: mean_square(jnp.tanh(x @ params["a"]) @ params["b"], y))(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return step, params, optimizer.init(params), X, Y


@model
def complex_numbers():
    return lambda x: (jnp.fft.fft(x * 1j), jnp.abs(jnp.fft.rfft(x)), jnp.exp(x + 2j)), X


@model
def low_precision():
    params = values(4, 4, dtype="bfloat16")
    return (
        sgd(lambda params, x, y: mean_square(jax.nn.gelu(x @ params), y)),
        params,
        X.astype("bfloat16"),
        Y.astype("bfloat16"),
    )


@model
def integers_and_booleans():
    def fn(i, u, b):
        return (
            i // 3,
            i % -3,
            u << 2,
            ~b & (i > 0),
            jnp.cumsum(i),
            jnp.sort(-i),
            jnp.argmax(u),
            jnp.where(b, i, -1),
            i.sum(),
        )

    return fn, jnp.arange(-5, 5), jnp.arange(10, dtype="uint8"), jnp.arange(10) % 2 == 0


@model
def gather_and_scatter():
    def fn(table, rows):
        return table[rows], table.at[rows].add(1.0), table.at[rows[0]].set(7.0), jnp.zeros_like(table).at[rows].max(2.0)

    return fn, values(10, 4), jnp.array([1, 1, 3, 9])


@model
def nothing_used():
    return lambda x, ignored: (jnp.ones(3), x, x), X, {"a": Y}


@model
def empty_arrays():
    return lambda x: (x @ x.T, jnp.sum(x), x), jnp.zeros((3, 0))


@pytest.mark.one_in(5)
@pytest.mark.parametrize("name", ZOO)
def test_normalised_programs_give_the_bits_of_jax(name):
    step, *arguments = ZOO[name]()
    job = Job(step, *arguments)
    module = export(job)
    run_passes(module, steps_of_text("normalize"))
    expected = jax.tree.leaves(jax.jit(step)(*arguments))
    given = {leaf.path: leaf.value for leaf in leaves_of(job)}
    kept = [given[text_attribute(one, PATH)] for one in argument_attributes(entry_function(module))]
    found = jax.jit(Fragment.of(module, expected))(*kept)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        assert numpy.asarray(one).tobytes() == numpy.asarray(other).tobytes()
