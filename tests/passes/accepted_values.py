"""Types of all kinds, and what is passed and returned."""

import jax
import jax.numpy as jnp
import numpy
from accepted import LABELS, MASK, SEQUENCE, B, D, W, X, Y, accepted, grads, normal
from jax import lax

# Types


@accepted(W.astype("bfloat16"), X)
@grads
def bfloat16(w, x):
    y = jax.nn.gelu(x.astype(jnp.bfloat16) @ w)
    return jnp.mean(y.astype(jnp.float32) ** 2)


# The gradient is a product in bfloat16 that contracts the batch. Processors with instructions for bfloat16 add up its
# examples exactly and round once; a microbatch's part of it is rounded by itself.
@accepted(W, X, rounded_to="bfloat16")
@grads
def bfloat16_with_float32_parameters(w, x):
    y = jnp.tanh(x.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16))
    y = jnp.matmul(y, w.astype(jnp.bfloat16), preferred_element_type=jnp.float32)
    return jnp.mean(y**2)


@accepted(W.astype("float16"), X.astype("float16"))
def float16(w, x):
    return x @ w, (x @ w).sum(0), (x @ w).max(0), (x @ w).mean()


@accepted(W + 1j, X)
def complex_numbers(w, x):
    y = x @ w * jnp.exp(1j * x)
    return y, jnp.abs(y), y.sum(0), jnp.mean(y * y.conj()).real, y.imag


@accepted(numpy.arange(16).reshape(4, 4), numpy.arange(B * 4).reshape(B, 4), MASK, batch=(1, 2))
def integers_and_booleans(a, x, mask):
    return {
        "product": x @ a,
        "sum": x.sum(0),
        "wrapped": x.astype(jnp.uint8).sum(0, dtype=jnp.uint8),
        "shifted": (x << 2) ^ a,
        "bits": jnp.bitwise_or.reduce(x, 0),
        "common": jnp.bitwise_and.reduce(x, 0),
        "any": mask.any(0),
        "all": mask.all(),
        "not": ~mask,
        "number": mask.sum(),
        "remainder": x // 3 % 2,
        "ones": lax.population_count(x),
        "exclusive": jnp.where(mask, x, -1),
    }


@accepted(W, X.astype("int8"), X.astype("uint8"), batch=(1, 2))
def small_integers(w, x, y):
    return x @ w, x.max(0), y.min(), x.astype(jnp.float32).sum(), x * 2, y + y


# What is passed and returned


@accepted({"w": W}, {"a": X, "b": [Y, LABELS]}, (SEQUENCE,), batch=(1, 2))
def trees(params, batch, more):
    y = batch["a"] @ params["w"] + batch["b"][0] + more[0].sum(1)
    return {"y": y, "loss": [jnp.sum(y), (batch["b"][1],)]}


@accepted(W, X)
def results_of_all_kinds(w, x):
    y = x @ w
    return {
        "argument": x,
        "parameter": w,
        "twice": (y, y),
        "transposed": y.T,
        "in the middle": jnp.einsum("bd,e->dbe", y, w[0]),
        "constant": jnp.arange(5),
        "number": 3.0,
        "zeros": jnp.zeros((B, 3)),
        "sum": y.sum(),
        "sum and sum": y.sum() + y.sum(0),
        "of parameters": w @ w,
        "scaled sum": 2 * y.sum(0) / w[0],
        "flat": y.reshape(-1),
    }


@accepted(W, X, Y, batch=(1, 2))
def unused_batch(w, x, _y):
    return x @ w


@accepted(W, X, batch=(1,))
def hardly_anything_of_the_batch(w, x):
    return w @ w, jnp.ones(3), x.sum()


@accepted(W, X)
def only_the_batch(_w, x):
    return x, x, x + 1


@accepted(X, batch=(0,))
def no_parameters(x):
    return jnp.sin(x).sum(-1), jnp.sum(x, 0)


@accepted(W, X, numpy.float32(3), 2, True)
def scalars(w, x, f, i, b):
    return x @ w * f + i, jnp.sum(x) * f + i * b, f * i


@accepted(normal(1, 0, D), normal(1, B, 0), normal(2, B, 0, D), batch=(1, 2))
def nothing_in_arrays(w, x, y):
    return x @ w, y, y.sum(), y.sum(1), (x @ w).sum(0), jnp.concatenate([x, x], 1), x.sum(0)


@accepted(W, X)
def counted_examples(w, x):
    number = jnp.arange(B)
    return x @ w + number[:, None], jnp.where(number % 2 == 0, x.sum(-1), 0).sum(), jnp.zeros(B) + number / B


@accepted(W, X)
def arrays_as_long_as_the_batch(w, x):
    table = jnp.arange(B * D, dtype=x.dtype).reshape(B, D)
    ones, weights = jnp.ones(B, x.dtype), jnp.linspace(0.0, 1.0, B, dtype=x.dtype)
    return x * table, jnp.dot(ones, x @ w), weights @ (x @ w), jnp.sum(x * table, 0)


@accepted(W, X)
def batch_under_other_names(w, x):
    y = x[:, None, :, None]
    y = jnp.broadcast_to(y, (B, B, D, D)) * w
    return y.sum((1, 3)), jnp.squeeze(jnp.expand_dims(x, 0), 0), jnp.swapaxes(y, 0, 1)[0].shape[0] * x


@accepted(W, X[:, 0])
def an_example_a_number(w, x):
    return w[0] * x[:, None], x.sum() * w, jnp.outer(x, w[0]), jnp.dot(x, x)
