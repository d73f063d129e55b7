"""Attention, recurrence and other programs over a sequence."""

import jax
import jax.numpy as jnp
import numpy
from accepted import MASK, SEQUENCE, STACK, TOKENS, B, D, T, W, X, Y, accepted, grads, normal, square
from atoll.examples import decoder
from filled import decoder_params
from jax import lax

# Attention and sequences


def attention(q, k, v, mask=None):
    scores = jnp.einsum("bthd,bshd->bhts", q, k) / 2.0
    if mask is not None:
        scores = jnp.where(mask, scores, -1e9)
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), v)


@accepted(normal(1, 3, D, 2, 2), SEQUENCE)
@grads
def causal_attention(w, x):
    q, k, v = (jnp.einsum("btd,dhk->bthk", x, one) for one in w)
    rows, columns = lax.broadcasted_iota(jnp.int32, (T, T), 0), lax.broadcasted_iota(jnp.int32, (T, T), 1)
    return jnp.mean(attention(q, k, v, rows >= columns) ** 2)


@accepted(normal(1, 3, D, 2, 2), SEQUENCE, MASK, batch=(1, 2))
@grads
def attention_with_padding(w, x, mask):
    q, k, v = (jnp.einsum("btd,dhk->bthk", x, one) for one in w)
    return jnp.mean(attention(q, k, v, mask[:, None, None, :]) ** 2 * mask[:, :, None, None])


@accepted(normal(1, 3, D, 2, 2), SEQUENCE)
@grads
def attention_of_jax(w, x):
    q, k, v = (jnp.einsum("btd,dhk->bthk", x, one) for one in w)
    return jnp.mean(jax.nn.dot_product_attention(q, k, v, is_causal=True) ** 2)


@accepted(W, SEQUENCE, axes=(None, 1))
@grads
def recurrence_with_time_first(w, x):
    def step(h, one):
        h = jnp.tanh(one + h @ w)
        return h, h.sum(-1)

    last, sums = lax.scan(step, jnp.zeros((B, D)), x)
    return jnp.mean(last**2) + jnp.mean(sums**3)


@accepted(W, {"x": SEQUENCE, "mask": MASK, "table": normal(7, T, D)}, axes=(None, {"x": -2, "mask": 1, "table": None}))
def positions_in_the_batch(w, batch):
    """Leaves with the batch on other axes, and one without."""
    x = batch["x"] @ w + batch["table"][:, None]
    return jnp.where(batch["mask"][..., None], x, 0.0), x.sum(1), batch["mask"], jnp.arange(B) + batch["x"][0, :, 0]


@accepted(W, SEQUENCE)
@grads
def rotary_positions(w, x):
    x = x @ w
    angle = jnp.arange(T)[:, None] / 10.0 ** jnp.arange(D // 2)
    low, high = jnp.split(x, 2, -1)
    turned = jnp.concatenate(
        [low * jnp.cos(angle) - high * jnp.sin(angle), low * jnp.sin(angle) + high * jnp.cos(angle)], -1
    )
    return jnp.mean(turned**3)


@accepted({"table": normal(1, 5, D), "positions": normal(2, T, D)}, TOKENS)
@grads
def embedding(params, tokens):
    return jnp.mean(jnp.tanh(params["table"][tokens] + params["positions"]) ** 2)


@accepted(normal(1, 5, D), TOKENS)
@grads
def embedding_by_one_hot(table, tokens):
    return jnp.mean(jnp.tanh(jax.nn.one_hot(tokens, 5) @ table) ** 2)


@accepted({"table": normal(1, 5, D), "w": W}, TOKENS)
@grads
def tied_embedding(params, tokens):
    logits = jnp.tanh(params["table"][tokens] @ params["w"]) @ params["table"].T
    scores = jax.nn.log_softmax(logits[:, :-1])
    return -jnp.mean(jnp.take_along_axis(scores, tokens[:, 1:, None], -1))


DECODER = decoder.Config(vocabulary=16, width=8, heads=2, layers=2, length=6)


@accepted(decoder_params(DECODER), numpy.arange(B * 7).reshape(B, 7) % 16)
@grads
def decoder_language_model(params, tokens):
    scores = jax.nn.log_softmax(decoder.logits(params, tokens[:, :-1], DECODER))
    return -jnp.mean(jnp.take_along_axis(scores, tokens[:, 1:, None], axis=-1))


@accepted({"w": normal(1, D + D, 4 * D, scale=0.5), "b": normal(2, 4 * D)}, SEQUENCE, Y, batch=(1, 2))
@grads
def lstm_over_time(params, sequence, y):
    def cell(carry, x):
        h, c = carry
        i, f, g, o = jnp.split(jnp.concatenate([x, h], -1) @ params["w"] + params["b"], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((B, D), sequence.dtype)
    (last, _), hidden = lax.scan(cell, (zeros, zeros), sequence.swapaxes(0, 1))
    return square(last, y) + jnp.mean(hidden.swapaxes(0, 1) ** 2)


@accepted({"w": W, "u": normal(2, D, D)}, SEQUENCE)
@grads
def gru_of_each_example(params, sequence):
    def cell(h, x):
        gate = jax.nn.sigmoid(x @ params["w"] + h @ params["u"])
        h = gate * h + (1 - gate) * jnp.tanh(x @ params["u"])
        return h, h

    def one(sequence):
        return lax.scan(cell, jnp.zeros(D, sequence.dtype), sequence)[1]

    return jnp.mean(jax.vmap(one)(sequence) ** 2)


@accepted(W, SEQUENCE)
@grads
def scan_backward_in_time_unrolled(w, x):
    def cell(h, x):
        return jnp.tanh(h @ w + x), h.sum(-1)

    last, sums = lax.scan(cell, x[:, 0], x.swapaxes(0, 1), reverse=True, unroll=2)
    return jnp.mean(last**2) + jnp.mean(sums)


@accepted(W, X)
@grads
def scan_with_a_sum_over_examples_as_output(w, x):
    def cell(h, _):
        h = jnp.tanh(h @ w)
        return h, jnp.sum(h**2)

    return jnp.sum(lax.scan(cell, x, None, length=3)[1])


@accepted(W, X)
@grads
def scan_that_carries_a_loss(w, x):
    def cell(carry, _):
        h, loss = carry
        h = jnp.tanh(h @ w)
        return (h, loss + jnp.mean(h**2)), None

    return lax.scan(cell, (x, jnp.zeros((), x.dtype)), None, length=3)[0][1]


@accepted(STACK, X)
@grads
def layer_scan(stack, x):
    return jnp.mean(lax.scan(lambda x, p: (jnp.tanh(x @ p["w"] + p["b"]), None), x, stack)[0] ** 2)


@accepted(STACK, X)
@grads
def layer_scan_with_remat(stack, x):
    layer = jax.checkpoint(lambda x, p: (jnp.tanh(jnp.sin(x @ p["w"]) + p["b"]), None))
    return jnp.mean(lax.scan(layer, x, stack)[0] ** 2)


@accepted(STACK, X)
@grads
def layer_scan_with_a_policy(stack, x):
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    layer = jax.checkpoint(lambda x, p: (jnp.tanh(jnp.sin(x @ p["w"]) + p["b"]), None), policy=policy)
    return jnp.mean(lax.scan(layer, x, stack)[0] ** 2)


@accepted(W, SEQUENCE)
@grads
def cumulative_over_time(w, x):
    x = x @ w
    return jnp.mean(jnp.cumsum(x, 1) ** 2 + jnp.cumsum(x[:, ::-1], 1)[:, ::-1])


@accepted(W, SEQUENCE)
def cumulative_of_all_kinds(w, x):
    x = x @ w
    return lax.cummax(x, 1), lax.cummin(x, 2), lax.cumprod(x, 1), lax.cumlogsumexp(x, 1), jnp.cumsum(x, 1)


@accepted({"decay": normal(1, D), "w": W}, SEQUENCE)
@grads
def associative_scan_over_time(params, x):
    decay = jax.nn.sigmoid(x @ params["w"] + params["decay"])

    def combine(one, other):
        return one[0] * other[0], other[0] * one[1] + other[1]

    return jnp.mean(lax.associative_scan(combine, (decay, x), axis=1)[1] ** 2)


@accepted(W, SEQUENCE)
@grads
def padding_flips_and_pieces_of_time(w, x):
    x = jnp.pad(x @ w, ((0, 0), (1, 2), (0, 0)))
    x = jnp.concatenate([x[:, 1:], jnp.flip(x, 1), jnp.roll(x, 1, axis=1)], 1)
    return jnp.mean(x[:, ::2] ** 2) + jnp.mean(x[:, -1] * x[:, 0])


@accepted(W, SEQUENCE)
@grads
def tokens_in_one_dimension(w, x):
    flat = x.reshape(B * T, D) @ w
    return jnp.mean(jnp.tanh(flat.reshape(B, T, D)).sum(1) ** 2)


@accepted(W, SEQUENCE, TOKENS, batch=(1, 2))
@grads
def tokens_in_one_dimension_for_the_loss(w, x, labels):
    scores = jax.nn.log_softmax(x.reshape(-1, D) @ w)
    return -jnp.take_along_axis(scores, (labels % D).reshape(-1)[:, None], 1).mean()


@accepted(W, SEQUENCE)
@grads
def features_split_and_joined(w, x):
    heads = (x @ w).reshape(B, T, 2, 2).transpose(0, 2, 1, 3)
    joined = heads.transpose(0, 2, 1, 3).reshape(B, T, D)
    return jnp.mean(jnp.concatenate([joined, x], -1) ** 2) + jnp.mean(jnp.stack([joined, x], 0).sum(0) ** 3)


@accepted(W, SEQUENCE)
@grads
def time_major(w, x):
    return jnp.mean(jnp.tanh(jnp.einsum("tbd,de->tbe", x.transpose(1, 0, 2), w)).mean(0) ** 2)


@accepted(W, SEQUENCE)
@grads
def batch_as_the_last_dimension(w, x):
    return jnp.mean(jnp.tanh(jnp.einsum("dtb,de->etb", x.transpose(2, 1, 0), w)).max(0) ** 2)


@accepted({"w": W, "v": normal(2, D, D, D)}, SEQUENCE, X, batch=(1, 2))
@grads
def einsums_of_all_kinds(params, x, y):
    a = jnp.einsum("btd,bd->bt", x, y)
    b = jnp.einsum("bd,def,bf->be", y, params["v"], y)
    c = jnp.einsum("btd,bsd->bts", x, x)
    e = jnp.einsum("btd,bte->de", x, x)
    return jnp.mean(a**2) + jnp.mean(b * (y @ params["w"])) + jnp.mean(c**2) + jnp.sum(e * params["w"])


@accepted(W, SEQUENCE)
def fourier_over_time(w, x):
    spectrum = jnp.fft.fft(x @ w, axis=1)
    return spectrum, jnp.abs(jnp.fft.rfft(x, axis=2)), jnp.mean(jnp.abs(spectrum) ** 2), jnp.sum(spectrum, 0)
