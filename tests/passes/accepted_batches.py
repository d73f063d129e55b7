"""Several batches one after another along the dimension of the examples, joined and parted again."""

import jax
import jax.numpy as jnp
import numpy
from accepted import (
    KEY,
    LABELS,
    LAYERS,
    SEQUENCE,
    STACK,
    TOKENS,
    B,
    D,
    T,
    W,
    X,
    Y,
    accepted,
    grads,
    mlp,
    norm,
    normal,
    square,
)
from jax import lax


@accepted(LAYERS, X, Y, batch=(1, 2))
@grads
def preferences(layers, chosen, rejected):
    """Direct preference optimisation: one pass over both, and a loss over pairs."""
    both = mlp(layers, jnp.concatenate([chosen, rejected])).sum(-1)
    return -jnp.mean(jax.nn.log_sigmoid(both[:B] - both[B:]))


@accepted(LAYERS, X, numpy.float32(3.0), batch=(1,))
def guidance(layers, x, strength):
    """Diffusion without a classifier: the same noise with the condition and without."""
    noise = jnp.tile(x, (2, 1)) + jnp.concatenate([jnp.ones((B, D)), jnp.zeros((B, D))])
    without, given = jnp.split(mlp(layers, noise), 2)
    return without + strength * (given - without)


@accepted(LAYERS, X, KEY)
@grads
def two_views(layers, x, key):
    """Self-supervision: each example with two kinds of noise, numbered over both."""
    views = jnp.concatenate([x, x])
    views = views + jax.random.normal(jax.random.wrap_key_data(key), views.shape)
    first, second = mlp(layers, views).reshape(2, B, D)
    return square(first, lax.stop_gradient(second)) + square(second, lax.stop_gradient(first))


@accepted(W, X, Y, batch=(1, 2))
@grads
def a_batch_joined_twice(w, x, y):
    pair = jnp.concatenate([x, y]) @ w
    four = jnp.tanh(jnp.concatenate([pair, 2 * pair])) * jnp.arange(4.0 * B)[:, None]
    return jnp.mean(four[B : 3 * B] ** 3) + jnp.mean(four[-B:] - four[:B])


@accepted(W, X, Y, batch=(1, 2))
@grads
def a_padded_batch(w, x, y):
    """As the gradient of a slice is; between two others, and less than it was."""
    wide = lax.pad(x @ w, 1.0, ((B, 2 * B, 0), (0, 0, 0)))
    parted = lax.pad(wide, 0.0, ((-B, -B, 0), (0, 0, 0)))
    return jnp.sum(jnp.sin(parted).reshape(2, B, D) * y)


@accepted(W, SEQUENCE)
@grads
def flattened_time_major(w, x):
    flat = x.transpose(1, 0, 2).reshape(T * B, D) @ w
    numbered = norm(flat) * jnp.arange(T * B)[:, None]
    return jnp.mean(jnp.cumsum(numbered.reshape(T, B, D), 0) ** 2)


@accepted(W, SEQUENCE, TOKENS, batch=(1, 2))
@grads
def tokens_of_joined_batches(w, x, tokens):
    """Several tokens an example, looked up in their own rows."""
    both = jnp.concatenate([x, x[:, ::-1]]).reshape(2 * B * T, D) @ w
    wanted = jnp.concatenate([tokens, tokens]).reshape(-1) % D
    return -jnp.mean(jax.nn.log_softmax(both)[jnp.arange(2 * B * T), wanted])


@accepted(W, X, LABELS, batch=(1, 2))
def rows_of_joined_batches(w, x, labels):
    both, wanted = jnp.tile(x @ w, (3, 1)), jnp.tile(labels, 3)
    scattered = both.at[jnp.arange(3 * B), wanted].set(7.0)
    taken = jnp.take_along_axis(both, wanted[:, None], 1)[:, 0]
    return scattered.reshape(3, B, D), taken.reshape(3, B).T, both.max(0), (both > 0).any(0), both.sum()


@accepted(STACK, X, Y, batch=(1, 2))
@grads
def joined_through_layers(stack, x, y):
    both = lax.scan(lambda h, layer: (jnp.tanh(h @ layer["w"] + layer["b"]), None), jnp.concatenate([x, y]), stack)[0]
    return jnp.mean(both[:B] * both[B:])


@accepted(W, X, Y, batch=(1, 2))
def joined_in_a_branch_and_a_loop(w, x, y):
    both = jnp.concatenate([x, y])
    both = lax.cond(w[0, 0] > 0, lambda one: one @ w, lambda one: jnp.concatenate([one[B:], one[:B]]), both)
    both = lax.fori_loop(0, 3, lambda i, one: one + i * jnp.roll(one, B, 0), both)
    return both[B:], both.T[:, :B], both.reshape(2, B, D)


@accepted(W, X, Y, batch=(1, 2))
def joined_batches_as_results(w, x, y):
    both = jnp.concatenate([x @ w, y])
    return {"rows": both, "columns": jnp.tile(both.T, (1, 2)), "numbers": jnp.arange(2 * B) * (both[:, 0] > 0)}


@accepted(numpy.arange(3.0), X)
def every_pair_with_a_few(few, x):
    """A batch repeated for each of some numbers, and the mean over these."""
    repeated = jnp.tile(x, (3, 1)) * jnp.repeat(few, B)[:, None]
    return repeated.reshape(3, B, D).mean(0), repeated.sum(0)


@accepted(W, X, KEY)
def masks_of_joined_batches(w, x, key):
    """Masks that are drawn, given and counted."""
    both = jnp.concatenate([x @ w, -x])
    drawn = jax.random.bernoulli(jax.random.wrap_key_data(key), 0.5, both.shape)
    given = jnp.asarray(numpy.arange(2 * B * D).reshape(2 * B, D) % 3 > 0)
    counted = lax.broadcasted_iota("float32", both.shape, 0) - lax.broadcasted_iota("float32", both.shape, 1)
    kept = jnp.where(drawn & given, both, counted.astype(both.dtype))
    return kept[:B], kept[B:]


@accepted(W, SEQUENCE, axes=(None, 1))
@grads
def two_views_with_time_first(w, x):
    """Both go through a recurrence side by side, along the axis of the batch."""

    def cell(h, row):
        h = jnp.tanh(row + h @ w)
        return h, None

    both = jnp.concatenate([x, x * 2 + jnp.arange(B)[:, None]], 1)
    first, second = jnp.split(lax.scan(cell, jnp.zeros((2 * B, D), x.dtype), both)[0], 2)
    return jnp.mean((first - second) ** 2) + jnp.mean(first**3)


@accepted(W, normal(43, 3, 4 * B, D), axes=(None, 1))
def halves_of_an_axis_within(w, x):
    """Pairs along the second axis: the chosen ones and then the rejected ones."""
    scores = jnp.einsum("tbd,de->tbe", x, w).sum(-1)
    return jax.nn.log_sigmoid(scores[:, : 2 * B] - scores[:, 2 * B :]).mean(0), scores
