"""Kernels of Pallas, as it interprets them: each microbatch does its part of the grid, or the whole batch is done at
once; whatever the grid, the answer is that of `jax.jit`."""

import functools

import jax
import jax.numpy as jnp
import numpy
import pytest
from jax import lax
from jax.experimental import pallas as pl
from timed_harness import Program, faults, pair_of

B, T, D = 8, 6, 4


def normal(seed, *shape):
    return numpy.random.default_rng(seed).normal(size=shape).astype("float32")


X, W, GAIN = normal(1, B, T, D), normal(2, D, D), normal(3, D)

IN_PARTS, WHOLE = {}, {}


def program(programs):
    def add(fn):
        programs[fn.__name__] = fn
        return fn

    return add


in_parts, whole = program(IN_PARTS), program(WHOLE)
kernel_of = functools.partial(pl.pallas_call, interpret=True)
like = jax.ShapeDtypeStruct(X.shape, X.dtype)
one_example = pl.BlockSpec((1, T, D), lambda b: (b, 0, 0))
one_row = pl.BlockSpec((1, 1, D), lambda b, t: (b, t, 0))
parameter = pl.BlockSpec((D,), lambda *_: (0,))


def doubled(x_ref, o_ref):
    o_ref[...] = 2.0 * jnp.tanh(x_ref[...])


def scaled(x_ref, gain_ref, o_ref):
    o_ref[...] = x_ref[...] * gain_ref[...]


@in_parts
def an_example_a_block(w, gain, x):
    return kernel_of(doubled, out_shape=like, grid=(B,), in_specs=[one_example], out_specs=one_example)(x @ w)


@in_parts
def two_examples_a_block(w, gain, x):
    two = pl.BlockSpec((2, T, D), lambda b: (b, 0, 0))
    return kernel_of(doubled, out_shape=like, grid=(B // 2,), in_specs=[two], out_specs=two)(x @ w)


@in_parts
def a_grid_of_examples_and_rows(w, gain, x):
    return kernel_of(doubled, out_shape=like, grid=(B, T), in_specs=[one_row], out_specs=one_row)(x @ w)


@in_parts
def a_parameter_beside(w, gain, x):
    return kernel_of(scaled, out_shape=like, grid=(B, T), in_specs=[one_row, parameter], out_specs=one_row)(x @ w, gain)


@in_parts
def a_block_without_the_examples_dimension(w, gain, x):
    own = pl.BlockSpec((None, T, D), lambda b: (b, 0, 0))
    return kernel_of(doubled, out_shape=like, grid=(B,), in_specs=[own], out_specs=own)(x @ w)


@in_parts
def the_number_of_a_row(w, gain, x):
    def kernel(x_ref, o_ref):
        o_ref[...] = jnp.where(pl.program_id(1) < 2, x_ref[...], 0.0)

    return kernel_of(kernel, out_shape=like, grid=(B, T), in_specs=[one_row], out_specs=one_row)(x @ w)


@in_parts
def attention_with_a_loop_inside(w, gain, x):
    def kernel(q_ref, k_ref, o_ref):
        def step(at, state):
            total, summed = state
            row = k_ref[0, pl.dslice(at, 1)]
            weight = jnp.exp(q_ref[0] @ row.T)
            return total + weight, summed + weight @ row

        total, summed = lax.fori_loop(0, T, step, (jnp.zeros((2, 1)), jnp.zeros((2, D))))
        o_ref[0] = summed / total

    rows = pl.BlockSpec((1, 2, D), lambda b, i: (b, i, 0))
    keys = pl.BlockSpec((1, T, D), lambda b, i: (b, 0, 0))
    call = kernel_of(kernel, out_shape=like, grid=(B, T // 2), in_specs=[rows, keys], out_specs=rows)
    return call(jnp.tanh(x @ w), jnp.tanh(x))


@in_parts
def two_results_of_other_shapes(w, gain, x):
    def kernel(x_ref, o_ref, sum_ref):
        o_ref[...] = -x_ref[...]
        sum_ref[...] = x_ref[...].sum((1, 2))

    shapes = [like, jax.ShapeDtypeStruct((B,), "float32")]
    out_specs = [one_example, pl.BlockSpec((1,), lambda b: (b,))]
    return kernel_of(kernel, out_shape=shapes, grid=(B,), in_specs=[one_example], out_specs=out_specs)(x @ w)


@in_parts
def of_each_example_by_vmap(w, gain, x):
    row = pl.BlockSpec((1, D), lambda t: (t, 0))
    call = kernel_of(
        doubled, out_shape=jax.ShapeDtypeStruct((T, D), "float32"), grid=(T,), in_specs=[row], out_specs=row
    )
    return jax.vmap(call)(x @ w)


@in_parts
def in_a_scan_over_layers_with_its_gradient(w, gain, x):
    @jax.custom_vjp
    def tanh(x):
        return kernel_of(doubled, out_shape=like, grid=(B, T), in_specs=[one_row], out_specs=one_row)(x)

    tanh.defvjp(lambda x: (tanh(x), x), lambda x, g: (2.0 * g * (1.0 - jnp.tanh(x) ** 2),))

    def loss(w):
        return lax.scan(lambda h, one: (tanh(h @ one), None), x, jnp.stack([w, w.T, w]))[0].mean()

    return jax.value_and_grad(loss)(w)


@in_parts
def a_block_of_all_examples(w, gain, x):
    everything = pl.BlockSpec((B, 1, D), lambda t: (0, t, 0))
    return kernel_of(doubled, out_shape=like, grid=(T,), in_specs=[everything], out_specs=everything)(x @ w)


# The number of the example is used, or blocks of several parts come in turn


@whole
def the_number_of_an_example(w, gain, x):
    def kernel(x_ref, o_ref):
        o_ref[...] = x_ref[...] * (1.0 + pl.program_id(0))

    return kernel_of(kernel, out_shape=like, grid=(B,), in_specs=[one_example], out_specs=one_example)(x @ w)


@whole
def examples_that_come_in_turn(w, gain, x):
    row = pl.BlockSpec((1, 1, D), lambda t, b: (b, t, 0))
    return kernel_of(doubled, out_shape=like, grid=(T, B), in_specs=[row], out_specs=row)(x @ w)


@whole
def examples_from_the_last_on(w, gain, x):
    back = pl.BlockSpec((1, T, D), lambda b: (B - 1 - b, 0, 0))
    return kernel_of(doubled, out_shape=like, grid=(B,), in_specs=[back], out_specs=back)(x @ w)


@whole
def only_the_first_examples_in_order(w, gain, x):
    turned = pl.BlockSpec((1, T, D), lambda b: (jnp.where(b < 2, b, B + 1 - b), 0, 0))
    return kernel_of(doubled, out_shape=like, grid=(B,), in_specs=[turned], out_specs=one_example)(x @ w)


@whole
def examples_put_elsewhere(w, gain, x):
    back = pl.BlockSpec((1, T, D), lambda b: (B - 1 - b, 0, 0))
    return kernel_of(doubled, out_shape=like, grid=(B,), in_specs=[one_example], out_specs=back)(x @ w)


@whole
def a_sum_over_the_examples(w, gain, x):
    def kernel(x_ref, o_ref):
        @pl.when(pl.program_id(0) == 0)
        def _():
            o_ref[...] = jnp.zeros_like(o_ref)

        o_ref[...] += x_ref[0]

    shape = jax.ShapeDtypeStruct((T, D), "float32")
    everywhere = pl.BlockSpec((T, D), lambda b: (0, 0))
    return kernel_of(kernel, out_shape=shape, grid=(B,), in_specs=[one_example], out_specs=everywhere)(x @ w)


@whole
def a_row_that_the_data_chooses(w, gain, x):
    def kernel(x_ref, o_ref):
        row = (x_ref[0, 0, 0] > 0).astype("int32")
        o_ref[0] = jnp.broadcast_to(x_ref[0, pl.dslice(row, 1)], (T, D)) + pl.program_id(0).astype("float32")

    return kernel_of(kernel, out_shape=like, grid=(B,), in_specs=[one_example], out_specs=one_example)(x @ w)


@functools.cache
def pairs(microbatches):
    return {
        name: pair_of(Program(fn, (W, GAIN, X), (2,), microbatches, name)) for name, fn in (IN_PARTS | WHOLE).items()
    }


@pytest.mark.parametrize("microbatches", [2, 4])
def test_right(microbatches):
    wrong = next(filter(None, faults(list(pairs(microbatches).values()))), "")
    assert not wrong, wrong


@pytest.mark.parametrize("name", [*IN_PARTS, *WHOLE])
def test_how_often_the_microbatches_are_gone_over(name):
    module = pairs(4)[name].module
    is_in_loop = "stablehlo.while" in module.partition("mpmd.for")[2].partition("mpmd.return")[0]
    assert is_in_loop == (name in IN_PARTS)
