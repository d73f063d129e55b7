"""Programs that treat examples alike and must not be refused, each with the answer of `jax.jit`.

Each runs in float64 with two microbatches, where rounding cannot hide a wrong rule, and in float32 with microbatches
of one example, where the batch dimension looks like any dimension of size one. Sizes coincide on purpose.
"""

import functools
import itertools

import equinox
import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import numpy
import optax
import pytest
from atoll.compiler.errors import CompileError
from atoll.compiler.functions import operations_in
from atoll.compiler.locations import place
from atoll.compiler.mlir import stablehlo
from atoll.examples import decoder
from jax import lax
from timed_harness import ContractBrokenError, Program, answers, differences, lowered, pair_of, take_to

pytestmark = pytest.mark.timeout(1200)  # all are compiled together

B, T, D = 4, 4, 4
FEW, SINGLE = 2, B

PROGRAMS = {}


def normal(seed, *shape, scale=1.0):
    return scale * numpy.random.default_rng(seed).normal(size=shape)


def accepted(*args, batch=(1,)):
    """Add a function with its arguments to those that must be accepted; the second argument is the batch."""

    def add(fn):
        PROGRAMS[fn.__name__] = (fn, args, batch)
        return fn

    return add


def grads(loss):
    """Value and gradient of a loss: comparing updated parameters alone has hidden wrong gradients."""

    @functools.wraps(loss)
    def step(params, *batch):
        return jax.value_and_grad(loss)(params, *batch)

    return step


W, X, Y = normal(1, D, D, scale=0.5), normal(2, B, D), normal(3, B, D)
SEQUENCE = normal(4, B, T, D)
LABELS = numpy.arange(B) % D
TOKENS = (numpy.arange(B * T).reshape(B, T) * 7) % 5
WEIGHTS = numpy.array([1.0, 0.0, 2.0, 1.0])
MASK = numpy.arange(B * T).reshape(B, T) % 3 > 0
LAYERS = [{"w": normal(10 + i, D, D, scale=0.5), "b": normal(20 + i, D)} for i in range(3)]
STACK = {"w": normal(30, 3, D, D, scale=0.5), "b": normal(31, 3, D)}
IMAGES = normal(5, B, 6, 6, 2)
KERNEL = normal(6, 3, 3, 2, 3, scale=0.3)
KEY = numpy.array([7, 9], "uint32")


def mlp(layers, x):
    for layer in layers:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x


def square(a, b):
    return jnp.mean((a - b) ** 2)


def norm(x, axes=-1):
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / jnp.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + 1e-5)


# Losses and metrics


@accepted(LAYERS, X, Y, batch=(1, 2))
@grads
def mean_square(layers, x, y):
    return square(mlp(layers, x), y)


@accepted(W, X)
@grads
def sum_of_squares(w, x):
    return jnp.sum((x @ w) ** 2)


@accepted(W, X, LABELS, batch=(1, 2))
@grads
def cross_entropy_one_hot(w, x, labels):
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(x @ w) * jax.nn.one_hot(labels, D), -1))


@accepted(W, X, LABELS, batch=(1, 2))
@grads
def cross_entropy_gathered(w, x, labels):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x @ w), labels[:, None], 1))


@accepted(W, X, LABELS, batch=(1, 2))
@grads
def cross_entropy_indexed_by_example(w, x, labels):
    return -jax.nn.log_softmax(x @ w)[jnp.arange(B), labels].mean()


@accepted(W, X, LABELS, batch=(1, 2))
@grads
def cross_entropy_of_optax(w, x, labels):
    return optax.softmax_cross_entropy_with_integer_labels(x @ w, labels).mean()


@accepted(W, X, LABELS, batch=(1, 2))
@grads
def label_smoothing(w, x, labels):
    return optax.softmax_cross_entropy(x @ w, optax.smooth_labels(jax.nn.one_hot(labels, D), 0.1)).mean()


@accepted(W, X, WEIGHTS, batch=(1, 2))
@grads
def weighted_mean(w, x, weights):
    return jnp.sum(weights * jnp.sum((x @ w) ** 2, -1)) / jnp.sum(weights)


@accepted(W, SEQUENCE, MASK, batch=(1, 2))
@grads
def masked_mean_over_tokens(w, x, mask):
    return jnp.sum(jnp.where(mask, jnp.sum((x @ w) ** 2, -1), 0)) / jnp.maximum(mask.sum(), 1)


@accepted(W, X, WEIGHTS, batch=(1, 2))
@grads
def normalised_weights(w, x, weights):
    return jnp.sum(weights / jnp.sum(weights) * jnp.sum((x @ w) ** 2, -1))


@accepted(W, X, LABELS, batch=(1, 2))
def metrics(w, x, labels):
    logits = x @ w
    hit = logits.argmax(-1) == labels
    loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()
    return {
        "accuracy": hit.mean(),
        "hits": hit.sum(),
        "perplexity": jnp.exp(loss),
        "largest": logits.max(),
        "smallest": logits.min(0),
        "any": jnp.any(logits > 1),
        "all": jnp.all(logits < 1, 0),
        "finite": jnp.isfinite(logits).all(),
        "counts": jnp.bincount(labels, length=D),
        "norm": jnp.linalg.norm(logits),
        "deviation": jnp.sqrt((logits**2).mean() - logits.mean() ** 2),
    }


@accepted(W, X)
@grads
def regularised(w, x):
    return jnp.mean((x @ w) ** 2) + 0.1 * jnp.sum(w**2)


@accepted(W, X)
@grads
def with_a_bias_summed_outside(w, x):
    return jnp.sum(x @ w) / B - jnp.sum(w) * 2


@accepted(LAYERS, X, Y, batch=(1, 2))
@grads
def huber(layers, x, y):
    return optax.huber_loss(mlp(layers, x), y).mean()


@accepted(W, X, Y, batch=(1, 2))
@grads
def cosine_similarity(w, x, y):
    return optax.cosine_distance(x @ w, y, epsilon=1e-6).mean()


@accepted(W, X, Y, normal(9, B, D), batch=(1, 2, 3))
@grads
def triplets_of_each_example(w, anchor, positive, negative):
    near = jnp.sum((anchor @ w - positive @ w) ** 2, -1)
    far = jnp.sum((anchor @ w - negative @ w) ** 2, -1)
    return jnp.mean(jax.nn.relu(near - far + 1.0))


@accepted(normal(8, T, 5), normal(9, B, T, 5), numpy.array([[1, 2], [2, 3], [1, 1], [4, 0]]), batch=(1, 2))
@grads
def connectionist_temporal_classification(w, logits, labels):
    nothing = jnp.zeros((B, T), logits.dtype)
    return optax.ctc_loss(logits + w, nothing, labels, (labels == 0).astype(logits.dtype)).mean()


# Normalisation


@accepted({"scale": normal(1, D), "w": W}, X)
@grads
def layer_norm(params, x):
    return jnp.mean((norm(x @ params["w"]) * params["scale"]) ** 3)


@accepted({"scale": normal(1, D), "w": W}, X)
@grads
def rms_norm(params, x):
    x = x @ params["w"]
    return jnp.mean(jnp.tanh(x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * params["scale"]))


@accepted(KERNEL, IMAGES)
@grads
def group_norm(kernel, images):
    x = convolve(images, jnp.concatenate([kernel, kernel[..., :1]], -1))
    groups = x.reshape(B, 6, 6, 2, 2)
    return jnp.mean(norm(groups, (1, 2, 4)).reshape(x.shape) ** 3)


@accepted(KERNEL, IMAGES)
@grads
def instance_norm(kernel, images):
    return jnp.mean(norm(convolve(images, kernel), (1, 2)) ** 3)


@accepted({"w": W, "mean": normal(2, D), "variance": normal(3, D) ** 2}, X)
@grads
def batch_norm_in_inference(params, x):
    return jnp.mean(jnp.tanh((x @ params["w"] - params["mean"]) / jnp.sqrt(params["variance"] + 1e-5)))


@accepted(W, X)
def running_statistics_for_later(w, x):
    y = x @ w
    return y, 0.9 * w[0] + 0.1 * y.mean(0), (y**2).mean(0) - y.mean(0) ** 2


# Convolution and pooling


def convolve(images, kernel, **options):
    return lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )


def pool(x, initial, function):
    return lax.reduce_window(x, initial, function, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


@accepted({"kernel": KERNEL, "head": normal(7, 27, D)}, IMAGES, LABELS, batch=(1, 2))
@grads
def convolution_and_max_pooling(params, images, labels):
    x = pool(jax.nn.relu(convolve(images, params["kernel"])), -jnp.inf, lax.max)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x.reshape(B, -1) @ params["head"]), labels[:, None], 1))


@accepted(KERNEL, IMAGES)
@grads
def average_pooling(kernel, images):
    return jnp.mean(pool(convolve(images, kernel), 0.0, lax.add) ** 2)


@accepted(KERNEL, IMAGES)
@grads
def global_average_pooling(kernel, images):
    return jnp.mean(jnp.tanh(convolve(images, kernel).mean((1, 2))))


@accepted(normal(1, 3, 3, 1, 4), IMAGES)
@grads
def depthwise_convolution(kernel, images):
    return jnp.mean(convolve(images, kernel, feature_group_count=2) ** 2)


@accepted(normal(1, 3, 2, 3), normal(2, B, 2, 8))
@grads
def dilated_convolution_over_time(kernel, x):
    y = lax.conv_general_dilated(x, kernel, (1,), [(4, 0)], rhs_dilation=(2,), dimension_numbers=("NCH", "HIO", "NCH"))
    return jnp.mean(y**2)


@accepted(KERNEL, IMAGES)
@grads
def strided_and_transposed_convolution(kernel, images):
    down = lax.conv_general_dilated(images, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    up = lax.conv_transpose(down, kernel.swapaxes(2, 3), (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return square(up, images)


@accepted(KERNEL, IMAGES.transpose(0, 3, 1, 2))
@grads
def convolution_of_channels_first(kernel, images):
    return jnp.mean(lax.conv_general_dilated(images, kernel.transpose(3, 2, 0, 1), (1, 1), "VALID") ** 2)


@accepted(normal(1, 2, 2), IMAGES)
@grads
def resized_images(w, images):
    return jnp.mean((jax.image.resize(images, (B, 3, 9, 2), "bilinear") @ w) ** 2)


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
DECODER_PARAMS = decoder.init_state(jax.random.key(0), DECODER)["params"]


@accepted(DECODER_PARAMS, numpy.arange(B * 7).reshape(B, 7) % 16)
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


# Random numbers


@accepted(KEY, SEQUENCE)
def dropout_masks_to_the_bit(key, x):
    key = jax.random.wrap_key_data(key)
    first, second = jax.random.split(key)
    mask = jax.random.bernoulli(first, 0.7, x.shape)
    return mask, jnp.where(mask, x / 0.7, 0), jax.random.bits(second, (B, 3)), jax.random.randint(key, (B,), 0, 100)


@accepted(W, SEQUENCE, KEY)
@grads
def dropout(w, x, key):
    keys = jax.random.split(jax.random.wrap_key_data(key), 2)
    for key in keys:
        x = jnp.tanh(x @ w) * jax.random.bernoulli(key, 0.7, x.shape) / 0.7
    return jnp.mean(x**2)


@accepted(W, X, KEY)
@grads
def dropout_with_folded_keys_in_a_layer_scan(w, x, key):
    key = jax.random.wrap_key_data(key)

    def layer(x, index):
        mask = jax.random.bernoulli(jax.random.fold_in(key, index), 0.7, x.shape)
        return jnp.where(mask, jnp.tanh(x @ w), 0), None

    return jnp.mean(lax.scan(layer, x, jnp.arange(3))[0] ** 2)


@accepted(W, X, numpy.arange(2 * B, dtype="uint32").reshape(B, 2), batch=(1, 2))
@grads
def a_key_for_each_example(w, x, keys):
    def one(x, key):
        return jnp.sum((x @ w * jax.random.normal(jax.random.wrap_key_data(key), (D,), x.dtype)) ** 2)

    return jnp.mean(jax.vmap(one)(x, keys))


@accepted(W, X, KEY)
@grads
def keys_split_for_examples(w, x, key):
    keys = jax.random.split(jax.random.wrap_key_data(key), B)
    return jnp.mean(jax.vmap(lambda x, key: x @ w * jax.random.uniform(key, (D,), x.dtype))(x, keys) ** 2)


@accepted({"encoder": normal(1, D, 2 * D), "decoder": W}, X, KEY)
@grads
def variational_autoencoder(params, x, key):
    mean, log = jnp.split(x @ params["encoder"], 2, -1)
    noise = jax.random.normal(jax.random.wrap_key_data(key), mean.shape, mean.dtype)
    again = (mean + jnp.exp(0.5 * log) * noise) @ params["decoder"]
    return square(x, again) - 0.5 * jnp.mean(1 + log - mean**2 - jnp.exp(log))


@accepted(jax.random.key(5), X)
def a_typed_key(key, x):
    key, used = jax.random.split(key)
    return key, x + jax.random.uniform(used, x.shape, x.dtype)


@accepted(W, X, KEY)
def gumbel_and_categorical(w, x, key):
    key = jax.random.wrap_key_data(key)
    logits = x @ w
    return jax.random.categorical(key, logits), jax.random.gumbel(key, logits.shape, logits.dtype) + logits


# Per-example functions and gradients of gradients


@accepted(W, X)
def vmap_of_an_example(w, x):
    return jax.vmap(lambda one: jnp.outer(one, one) @ w)(x)


@accepted(W, X, Y, batch=(1, 2))
def gradients_of_each_example(w, x, y):
    each = jax.vmap(jax.grad(lambda w, x, y: jnp.sum((x @ w - y) ** 2)), (None, 0, 0))(w, x, y)
    length = jnp.sqrt(jnp.sum(each**2, (1, 2), keepdims=True))
    return jnp.mean(each / jnp.maximum(1.0, length), 0), each


@accepted(LAYERS, X)
def clipped_by_global_norm(layers, x):
    found = jax.grad(lambda layers: jnp.mean(mlp(layers, x) ** 2))(layers)
    length = jnp.sqrt(sum(jnp.sum(one**2) for one in jax.tree.leaves(found)))
    return jax.tree.map(lambda one: one * jnp.minimum(1.0, 0.1 / length), found), length


@accepted(LAYERS, X)
@grads
def gradient_penalty(layers, x):
    slope = jax.grad(lambda x: jnp.sum(mlp(layers, x)))(x)
    return jnp.mean((jnp.sqrt(jnp.sum(slope**2, -1) + 1e-6) - 1) ** 2)


@accepted(LAYERS, X)
def hessian_vector_product(layers, x):
    loss = jax.grad(lambda layers: jnp.mean(mlp(layers, x) ** 2))
    return jax.jvp(loss, (layers,), (jax.tree.map(jnp.ones_like, layers),))


@accepted(W, X)
def hessian_of_a_regression(w, x):
    return jax.hessian(lambda v: jnp.mean((x @ v) ** 2))(w[0])


@accepted(W, X)
def jvp_along_the_input(w, x):
    return jax.jvp(lambda x: jnp.tanh(x @ w), (x,), (jnp.cos(x),))


@accepted(W, X)
def jacobian_of_each_example(w, x):
    return jax.vmap(jax.jacfwd(lambda x: jnp.tanh(x @ w)))(x), jax.vmap(jax.jacrev(lambda x: jnp.sin(x @ w)))(x)


@accepted(W, X)
def gradient_of_the_input(w, x):
    return jax.grad(lambda x: jnp.sum(jnp.tanh(x @ w) ** 2))(x), jax.grad(lambda x: jnp.mean((x @ w) ** 2))(x)


# Sorting, choosing, gathering


@accepted(W, X)
def sorting_features(w, x):
    y = x @ w
    values, places = lax.top_k(y, 2)
    return jnp.sort(y), jnp.argsort(y), values, places, y.argmax(-1), y.argmin(-1), jnp.median(y, -1)


@accepted(W, X)
@grads
def gradients_through_sorting(w, x):
    return jnp.mean(lax.top_k(x @ w, 2)[0] ** 2) + jnp.mean(jnp.sort(x @ w, -1)[:, 0] ** 3) + (x @ w).max(-1).sum()


@accepted(W, SEQUENCE, LABELS, batch=(1, 2))
@grads
def gathered_by_each_example(w, x, places):
    x = x @ w
    one = jnp.take_along_axis(x, places[:, None, None], 1)
    two = jax.vmap(lambda x, place: lax.dynamic_slice_in_dim(x, place, 2))(x, places)
    return jnp.mean(one**2) + jnp.mean(two**3)


@accepted(W, SEQUENCE, LABELS, batch=(1, 2))
@grads
def scattered_by_each_example(w, x, places):
    x = x @ w
    one = jax.vmap(lambda x, place: x.at[place].add(x[0] ** 2))(x, places)
    two = jax.vmap(lambda x, place: lax.dynamic_update_slice(x, x[:1] * 2, (place, 0)))(x, places)
    return jnp.mean(one**2) + jnp.mean(two**2) + jnp.mean(x.at[jnp.arange(B), places].set(1.0) ** 2)


@accepted(W, SEQUENCE)
@grads
def gathered_along_time(w, x):
    x = x @ w
    return jnp.mean(x[:, jnp.array([0, 2, 2])] ** 2) + jnp.mean(x[:, 1] * x[:, -1]) + jnp.mean(x[..., 2] ** 2)


@accepted(W, SEQUENCE)
@grads
def updated_along_time(w, x):
    x = x @ w
    x = x.at[:, 1].set(0.0).at[:, 2:].multiply(2.0).at[:, :, 1].add(x[:, :, 0])
    return jnp.mean(x**2)


@accepted(normal(1, D, D), TOKENS)
def histogram(table, tokens):
    return table.at[tokens.reshape(-1) % D].add(1.0), jnp.zeros(5).at[tokens].add(1), jnp.zeros(5).at[tokens].max(2.0)


@accepted(W, X)
@grads
def chosen_by_each_example(w, x):
    y = x @ w
    return jnp.mean(jnp.where(y.sum(-1, keepdims=True) > 0, y, y**2) + jnp.where(x[:, :1] > 0, 1.0, y))


@accepted({"router": W, "experts": normal(1, 3, D, D), "gate": normal(2, D, 3)}, X)
@grads
def mixture_of_experts(params, x):
    gate = jax.nn.softmax(x @ params["router"] @ params["gate"])
    values, places = lax.top_k(gate, 2)
    weights = jnp.sum(jax.nn.one_hot(places, 3) * values[..., None], 1)
    return jnp.mean(jnp.einsum("be,edf,bd->bf", weights, params["experts"], x) ** 2)


# Control flow


@accepted(W, X, 3)
def loop_of_an_unchanging_length(w, x, n):
    y = lax.fori_loop(0, n, lambda i, y: jnp.tanh(y @ w) + i, x)
    return y, lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 2), (0, x))[1], y.sum()


@accepted(W, X)
@grads
def loop_that_sums_examples(w, x):
    def body(i, carry):
        return carry + jnp.sum((x * i) @ w, 0)

    return jnp.sum(lax.fori_loop(0, 3, body, jnp.zeros(D, x.dtype)) * jnp.arange(D))


@accepted(W, X, True)
@grads
def branch_on_a_flag(w, x, flag):
    return jnp.mean(lax.cond(flag, lambda x: jnp.tanh(x @ w), lambda x: x, x) ** 2)


@accepted(W, X, 1)
@grads
def switch_on_a_number(w, x, which):
    branches = [lambda x: x @ w, lambda x: jnp.sin(x @ w), lambda x: x]
    return jnp.mean(lax.switch(which, branches, x) ** 2) + lax.switch(
        which, [jnp.sum, jnp.mean, lambda y: 2 * y.sum()], x @ w
    )


@accepted(W, X)
def branch_of_each_example(w, x):
    return jax.vmap(lambda x: lax.cond(x[0] > 0, lambda x: x @ w, lambda x: -x, x))(x)


@accepted(W, X)
@grads
def checkpointed(w, x):
    for _ in range(3):
        x = jax.checkpoint(lambda x: jnp.tanh(jnp.sin(x @ w)))(x)
    return jnp.mean(x**2)


@accepted(W, X)
@grads
def barriers(w, x):
    x, w = lax.optimization_barrier((x, w))
    return jnp.mean(lax.optimization_barrier(jnp.tanh(x @ w)) ** 2)


@jax.custom_vjp
def clipped_gradient(x):
    return x * 2


clipped_gradient.defvjp(lambda x: (x * 2, x), lambda x, g: (jnp.clip(g, -0.01, 0.01) * x,))


@jax.custom_jvp
def soft(x):
    return jnp.log1p(jnp.exp(x))


soft.defjvp(lambda x, t: (soft(x[0]), t[0] * jax.nn.sigmoid(x[0])))


@accepted(W, X)
@grads
def custom_derivatives(w, x):
    return jnp.mean(soft(clipped_gradient(x @ w)) ** 2)


@accepted(W, X)
@grads
def stopped_gradients(w, x):
    y = x @ w
    return jnp.mean((y - lax.stop_gradient(jnp.tanh(y))) ** 2) * lax.stop_gradient(jnp.sum(w))


@accepted(W, X)
def elementwise_of_all_kinds(w, x):
    y = x @ w
    functions = (
        *(jnp.exp, jnp.sin, jnp.abs, jnp.sign, jnp.floor, jnp.ceil, jnp.round, jnp.exp2, jnp.tan, jnp.arctan),
        *(jnp.sinh, jnp.cosh, jnp.arcsinh, jnp.cbrt, jnp.square, jnp.isnan, jnp.signbit, jnp.expm1, jnp.logical_not),
        *(jax.nn.relu, jax.nn.gelu, jax.nn.silu, jax.nn.elu, jax.nn.softplus, jax.nn.sigmoid, jax.nn.hard_tanh),
        *(jax.scipy.special.erf, jax.scipy.special.erfinv, jax.scipy.special.digamma, jax.scipy.special.bessel_jn),
    )
    return [one(y) for one in functions[:-1]], [
        jnp.power(jnp.abs(y), 1.5),
        jnp.arctan2(y, x),
        jnp.nextafter(y, x),
        y % 0.7,
        jnp.clip(y, -0.5, x),
        jnp.hypot(x, y),
        lax.reduce_precision(y, 5, 7),
        y.astype(jnp.int32),
        (y > x).astype(jnp.float32),
    ]


@accepted(normal(1, D, D) @ normal(1, D, D).T + 5 * numpy.eye(D), X)
def linear_algebra_of_parameters(a, x):
    return x @ jnp.linalg.inv(a), jnp.linalg.cholesky(a) @ x.sum(0), jnp.linalg.det(a) * x


# Sums over the batch that are carried by loops, changed and combined


@accepted(W, X)
def gram_matrices_of_layers(w, x):
    def layer(carry, scale):
        h, total, count = carry
        h = jnp.tanh(h @ w * scale)
        total = total * 2 + jnp.where(count > 1, h.T @ h, h.T @ x)
        return (h, total, count + 1), (total.sum(), h.sum(0), count)

    return lax.scan(layer, (x, jnp.ones((D, D), x.dtype), 0), jnp.arange(3, dtype=x.dtype))


@accepted(W, X)
def largest_of_layers(w, x):
    def body(i, carry):
        most, least, any_, all_ = carry
        most = jnp.maximum(most[::-1], (x * i).max(0))
        return most, least.at[i].min(jnp.min(x[:, i] * w[i, i])), any_ | jnp.any(x * i > 2, 0), all_ & jnp.all(x < i, 0)

    false = jnp.zeros(D, bool)
    return lax.fori_loop(0, 3, body, (jnp.full(D, 0.3, x.dtype), jnp.zeros(D, x.dtype), false, ~false))


@accepted(W, X)
def sums_in_branches_of_loops(w, x):
    def body(i, carry):
        h, total = carry
        h = lax.switch(i, [lambda h: h @ w, lambda h: jnp.ones_like(h), lambda h: h], h)
        return h, lax.cond(i > 1, lambda: total + h.sum(0), lambda: total - 1.0)

    return lax.fori_loop(0, 3, body, (x, jnp.zeros(D, x.dtype)))


@accepted(W, X)
@grads
def gradient_of_sums_in_nested_loops(w, x):
    def outer(h, scale):
        def inner(total, step):
            return total * 0.5 + jnp.sum(h * step, 0), None

        total, _ = lax.scan(inner, jnp.zeros(D, x.dtype), jnp.arange(3, dtype=x.dtype))
        return jnp.sin(h @ w) * scale, total

    return jnp.sum(lax.scan(outer, x, jnp.arange(1, 4, dtype=x.dtype))[1])


@accepted(W, X)
def sums_overwritten(w, x):
    zeros = jnp.zeros(D, x.dtype)
    return (
        lax.fori_loop(0, 3, lambda i, a: jnp.where(i == 1, jnp.ones_like(a), a + x.sum(0)), zeros),
        lax.fori_loop(0, 3, lambda i, a: lax.cond(i == 1, jnp.ones_like, lambda a: a + x.sum(0), a), zeros),
        lax.fori_loop(0, 3, lambda i, a: lax.dynamic_update_slice(a, x.sum()[None] * i, (i,)), w[1]),
    )


@accepted(W, X)
def sums_moved_about(w, x):
    def again(step):
        return lax.fori_loop(0, 3, step, w[1])

    return (
        again(lambda i, a: a + x.sum(0) + w[0]),
        again(lambda i, a: a + jnp.pad(x.sum(0)[1:], (1, 0), constant_values=5.0)),
        again(lambda i, a: jnp.concatenate([a[1:], x.sum()[None] * i])),
        again(lambda i, a: a[jnp.array([0, 0, 1, 2])] + x.sum(0)),
        again(lambda i, a: lax.reduce_window(a, 1.0, lax.add, (2,), (1,), "SAME") + x.sum(0)),
        again(lambda i, a: lax.reduce(jnp.outer(a, w[0]) + x.sum(0), numpy.ones((), x.dtype), lax.add, (0,))),
        again(lambda i, a: jnp.cumsum(a) * 0.1 - x.sum(0) / 3),
        again(lambda i, a: a.at[i].add(x.sum()) @ w),
    )


@accepted(W, X)
def reductions_from_other_values(w, x):
    three = numpy.full((), 3.0, x.dtype)
    return lax.reduce(x, three, lax.add, (0,)), lax.reduce(x, w[0, 0], lax.add, (0, 1))


@accepted(W, X)
def cheap_sums_before_the_model(w, x):
    a = x / jnp.abs(x).sum(0)
    b = a / jnp.sqrt((a**2).sum(0))
    return (b / (b**4).sum(0)) @ w, (b @ w).sum(0)


@accepted(W, X)
def sums_as_long_as_the_batch(w, x):
    """What is complete meets the batch along another dimension than the one that was summed."""
    total = x.sum(0)
    return x * total[:, None], (x + jnp.outer(total, total)) @ w, jnp.roll(x.max(0), 1)[:, None] * x


@accepted(W, X)
def a_gradient_through_a_branch_with_a_sum(w, x):
    def sums(w, x):
        def layer(carry, p):
            h, total, count = carry
            total = lax.cond(count > 1, lambda: total + h.sum() * p, lambda: total - p)
            return (jnp.sin(h) + p, total, count + 1), h.sum(0)

        return lax.scan(layer, (x, jnp.ones(D, x.dtype), 0), jnp.arange(3, dtype=x.dtype))[0][1]

    def loss(w, x):
        total = sums(w, x)
        return jnp.sum(total**2), total

    return jax.value_and_grad(loss, (0, 1), has_aux=True)(w, x)


@accepted(KEY, X)
def a_carried_key(key, x):
    def layer(carry, _):
        x, key = carry
        one, other = jax.random.split(jax.random.wrap_key_data(key))
        return (x * jax.random.bernoulli(one, 0.5, (B, D)), jax.random.key_data(other)), key

    return lax.scan(layer, (x, key), None, length=3)


@accepted(W, X)
def a_barrier_around_all(w, x):
    total, x, w = lax.optimization_barrier((x.sum(), x, w))
    return total, x @ w


@accepted(normal(1, 3), SEQUENCE, X, batch=(1, 2))
def kernels_of_each_example(w, x, kernels):
    def one(x, kernel):
        names = ("NHC", "OIH", "NHC")
        return lax.conv_general_dilated(x[None], kernel[None, None], (1,), "SAME", dimension_numbers=names)

    def loss(kernels):
        return jnp.sum(jax.vmap(one)(x[:, :, :1], kernels) ** 2)

    return jax.value_and_grad(loss)(kernels), w


# Types


@accepted(W.astype("bfloat16"), X)
@grads
def bfloat16(w, x):
    y = jax.nn.gelu(x.astype(jnp.bfloat16) @ w)
    return jnp.mean(y.astype(jnp.float32) ** 2)


@accepted(W, X)
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


class Linen(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        x = flax.linen.LayerNorm()(flax.linen.gelu(flax.linen.Dense(8)(x)))
        x = flax.linen.MultiHeadDotProductAttention(num_heads=2, use_bias=False)(x)
        return flax.linen.Dense(D)(x)


@accepted(Linen().init(jax.random.key(0), SEQUENCE.astype("float32")), SEQUENCE)
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


GRAPH, NNX_PARAMS = flax.nnx.split(Nnx(flax.nnx.Rngs(0)))


@accepted(NNX_PARAMS, X, Y, batch=(1, 2))
@grads
def flax_nnx(params, x, y):
    return square(flax.nnx.merge(GRAPH, params)(x), y)


EQUINOX, STATIC = equinox.partition(equinox.nn.MLP(D, D, 8, 2, key=jax.random.key(0)), equinox.is_array)


@accepted(EQUINOX, X, Y, batch=(1, 2))
@grads
def equinox_mlp(params, x, y):
    return square(jax.vmap(equinox.combine(params, STATIC))(x), y)


class Recurrent(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        return flax.linen.Dense(D)(flax.linen.RNN(flax.linen.GRUCell(8))(x))


@accepted(Recurrent().init(jax.random.key(0), SEQUENCE.astype("float32")), SEQUENCE)
@grads
def flax_recurrent(params, x):
    x = x.astype("float32")  # the cell computes in it, in double precision too: so does what is compared
    return square(Recurrent().apply(params, x), x)


CASES = [
    pytest.param(name, double, id=f"{name}-{'float64-2' if double else f'float32-{SINGLE}'}")
    for name, double in itertools.product(PROGRAMS, (True, False))
]
AT_ONCE = 40  # programs in one XLA module


def prepared(name, double):
    fn, args, batch = PROGRAMS[name]
    program = Program(fn, args, batch, FEW if double else SINGLE, f"{name} in {'float64' if double else 'float32'}")
    with jax.enable_x64(double):
        try:
            return pair_of(program)
        except (CompileError, ContractBrokenError) as error:
            return error


def _selected(session):
    """The tests of programs that run; what else is collected need not be functions."""
    return [one for one in session.items if getattr(one, "function", None) is test_accepted_and_right]


@pytest.fixture(scope="module")
def outcomes(request):
    """What is wrong with each of the selected programs, which are compiled together."""
    selected = [one.callspec.params for one in _selected(request.session)]
    made = {(one["name"], one["double"]): prepared(**one) for one in selected}
    told = {case: f"{type(one).__name__}: {one}" for case, one in made.items() if isinstance(one, Exception)}
    pairs = [(case, one) for case, one in made.items() if not isinstance(one, Exception)]
    for start in range(0, len(pairs), AT_ONCE):
        some = pairs[start : start + AT_ONCE]
        for (case, pair), both in zip(some, answers([pair for _, pair in some]), strict=True):
            wrong = differences(pair, *both)
            told[case] = "\n".join(["WRONG ANSWER", *wrong, pair.module]) if wrong else ""
    return told


@pytest.mark.parametrize(("name", "double"), CASES)
def test_accepted_and_right(name, double, outcomes):
    assert not outcomes[name, double], outcomes[name, double]


def places_in(module):
    """Where in the user's files the products of matrices and the waves stand."""
    kinds = (stablehlo.DotGeneralOp, stablehlo.TanhOp, stablehlo.WhileOp)
    return {(kind, place(one.location)) for kind in kinds for one in operations_in(module.operation, kind)}


@pytest.mark.parametrize("name", ["mean_square", "layer_scan_with_remat", "decoder_language_model"])
def test_operations_keep_their_places(name):
    program = Program(*PROGRAMS[name])
    modules = {}
    for phase in ("stablehlo", "timed"):
        _, modules[phase], _ = lowered(program)
        take_to(modules[phase], phase, FEW)
    found = places_in(modules["timed"])
    assert found == places_in(modules["stablehlo"])
    assert all(where for _, where in found)


def test_one_microbatch_changes_the_phase_alone():
    _, module, _ = lowered(Program(*PROGRAMS["mean_square"]))
    take_to(module, "stablehlo", 1)
    before = str(module)
    take_to(module, "timed", 1)
    assert str(module) == before.replace('atoll.phase = "stablehlo"', 'atoll.phase = "timed"')
