"""Losses and metrics."""

import jax
import jax.numpy as jnp
import numpy
import optax
from accepted import LABELS, LAYERS, MASK, SEQUENCE, WEIGHTS, B, D, T, W, X, Y, accepted, grads, mlp, normal, square

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
def scores_indexed_by_numbers_of_numpy(w, x, labels):
    return jax.nn.log_softmax(x @ w)[numpy.arange(B), labels]


@accepted(W, X, LABELS, batch=(1, 2))
def scores_indexed_by_a_column_of_numbers_of_numpy(w, x, labels):
    scores = jax.nn.log_softmax(x @ w)
    return scores[numpy.arange(B)[:, None], labels[:, None]], scores.at[numpy.arange(B), labels].set(0.0)


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
