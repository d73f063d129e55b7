"""Loops whose iterations are the batch: accumulated gradients, chunks of a loss, maps in pieces."""

import jax
import jax.numpy as jnp
import numpy
from accepted import KEY, LABELS, LAYERS, B, D, W, X, Y, accepted, grads, mlp, normal
from jax import lax

MANY = normal(40, 64, D)
WIDE = normal(41, 8 * B, D)


def loss(w, x, y):
    return jnp.mean((jnp.tanh(x @ w) - y) ** 2)


@accepted(W, X, Y, batch=(1, 2))
def accumulated_gradients(w, x, y):
    def piece(total, batch):
        found = jax.value_and_grad(loss)(w, *batch)
        return jax.tree.map(jnp.add, total, found), None

    pieces = x.reshape(4, -1, D), y.reshape(4, -1, D)
    return lax.scan(piece, (0.0, jnp.zeros_like(w)), pieces)[0]


@accepted(LAYERS, WIDE, axes=(None, 0))
def accumulated_in_a_counted_loop(layers, x):
    def piece(i, carry):
        total, count = carry
        part = lax.dynamic_slice_in_dim(x, i * B, B)
        gradient = jax.grad(lambda layers: jnp.mean(jnp.sort(mlp(layers, part), 0)[0] ** 2))(layers)
        return jax.tree.map(lambda one, other: one + other / 8, total, gradient), count + 1

    return lax.fori_loop(0, 8, piece, (jax.tree.map(jnp.ones_like, layers), 5))


@accepted(W, X, LABELS, batch=(1, 2))
@grads
def loss_in_chunks(w, x, labels):
    """Its backward loop goes the other way, and adds up and stacks as well."""

    def chunk(total, batch):
        h, label = batch
        logits = jax.nn.log_softmax(h @ w)
        return total - jnp.take_along_axis(logits, label[:, None], 1).sum(), None

    h = jnp.tanh(x @ w)
    return lax.scan(chunk, 0.0, (h.reshape(4, -1, D), labels.reshape(4, -1)))[0] / B


@accepted(W, WIDE)
@grads
def chunks_that_are_computed_again(w, x):
    @jax.checkpoint
    def chunk(total, rows):
        return total + jnp.sum((rows @ w) ** 2), None

    return lax.scan(chunk, 0.0, jnp.tanh(x @ w).reshape(4, -1, D))[0] / 3


@accepted(W, MANY, batch=(1,))
@grads
def more_chunks_than_stand_one_after_the_other(w, x):
    def chunk(total, row):
        return total + jnp.cumsum(jnp.tanh(row @ w))[-2], row.sum() * w[0]

    total, sums = lax.scan(chunk, 0.0, x)
    return total + jnp.sum(sums**2)


@accepted(W, X, KEY)
def pieces_with_keys_and_numbers(w, x, key):
    """What differs from piece to piece and is no batch: keys, the number of the piece, a number that is counted."""

    def piece(carry, given):
        total, largest, number = carry
        one, rows = given
        drawn = jax.random.bernoulli(jax.random.fold_in(one, number), 0.7, rows.shape)
        rows = jnp.where(drawn, rows, 0.0) * (number - 3)
        return (total + rows.sum(0), jnp.maximum(largest, (rows @ w).max()), number + 2), (number, rows @ w)

    begin = jnp.ones_like(w[0]), jnp.asarray(-9.0, x.dtype), 1
    return lax.scan(piece, begin, (jax.random.split(key, 4), x.reshape(4, -1, D)))


@accepted(W, X)
def pieces_from_the_last_to_the_first(w, x):
    def piece(carry, given):
        number, rows = given
        return carry + (rows * number) @ w, (rows - number, jnp.flip(rows))

    return lax.scan(piece, jnp.zeros_like(w[0]), (jnp.arange(4), x), reverse=True)


@accepted(W, X, jnp.ones(2, "int32"))
def counts_and_flags_of_pieces(w, x, begin):
    def piece(carry, rows):
        count, has_large, all_small = carry
        is_large = rows @ w > 0.5
        return (
            count + is_large.sum(dtype="int32"),
            has_large | is_large.any(),
            all_small & ~is_large.any(0),
        ), is_large.argmax()

    return lax.scan(piece, (begin, False, jnp.ones(D, bool)), x.reshape(4, -1, D))


@accepted(W, WIDE)
def mapped_in_pieces(w, x):
    return lax.map(lambda row: jnp.tanh(row @ w) - row.max(), x, batch_size=8)


@accepted(W, normal(42, 6, B, D), axes=(None, 1))
@grads
def pieces_along_another_axis(w, x):
    def piece(total, i):
        return total + jnp.tanh(lax.dynamic_slice_in_dim(x, i, 1, 1) @ w).sum((0, 1)), None

    return jnp.sum(lax.scan(piece, jnp.zeros_like(w[0]), jnp.arange(B))[0] * jnp.arange(D))


@accepted(W, WIDE)
def pieces_counted_down(w, x):
    def piece(i, total):
        return total + (i + 1) * (lax.dynamic_slice_in_dim(x, (7 - i) * B, B) @ w).max(0)

    return lax.fori_loop(0, 8, piece, jnp.zeros_like(w[0]))


@accepted(W, X)
def rows_that_are_replaced_one_by_one(w, x):
    return lax.fori_loop(0, B, lambda i, x: lax.dynamic_update_index_in_dim(x, jnp.cumsum(x[i]) @ w, i, 0), x)


@accepted(W, numpy.float32(X))
def pieces_that_are_added_in_a_wider_type(w, x):
    narrow = x.astype("bfloat16").reshape(4, -1, D)
    return lax.scan(lambda total, rows: (total + rows.astype(w.dtype).sum(0), None), jnp.zeros_like(w[0]), narrow)[0]


# Written out, since one piece hands to the next what is no sum of theirs.


@accepted(W, WIDE)
def a_step_of_the_optimizer_in_each_piece(w, x):
    return lax.scan(
        lambda w, rows: (w - 0.1 * jax.grad(loss)(w, rows, rows), loss(w, rows, rows)), w, x.reshape(4, -1, D)
    )


@accepted(W, WIDE)
def running_softmax_over_pieces(w, x):
    def piece(carry, rows):
        largest, total, _ = carry
        scores = rows @ w
        now = jnp.maximum(largest, scores.max())
        return (now, total * jnp.exp(largest - now) + jnp.exp(scores - now).sum(), scores.sum()), scores

    return lax.scan(piece, (-jnp.inf, 0.0, 0.0), x.reshape(4, -1, D))


@accepted(W, normal(42, 3 * B, D))
def pieces_of_which_there_are_too_few(w, x):
    def piece(i, total):
        return total + lax.dynamic_slice_in_dim(x, i * B, B).sum(0)

    return lax.fori_loop(0, 3, piece, jnp.zeros(D)) @ w
