"""Random numbers; functions of one example and gradients of gradients; sorting and choosing."""

import jax
import jax.numpy as jnp
import numpy
from accepted import KEY, LABELS, LAYERS, SEQUENCE, TOKENS, B, D, W, X, Y, accepted, grads, mlp, normal, square
from jax import lax

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
