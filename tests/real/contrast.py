"""Losses that compare examples with each other: what is learned without labels, and pictures with their texts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from programs import B, Program, cross_entropy, layers, mlp, normal, real, trained


class Projected(nn.Module):
    """An encoder with batch statistics, and the projection that the loss sees."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8, use_bias=False, name="encoder")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=False, name="norm")(x))
        x = nn.relu(nn.Dense(8, name="hidden")(x))
        return nn.Dense(4, name="projection")(x)


@real
def contrast_with_the_other_pictures():
    """CLIP: each with its own, and not with any other of the batch."""

    def loss_fn(params, x, y):
        a, b = (z / jnp.linalg.norm(z, axis=-1, keepdims=True) for z in (mlp(params, x), mlp(params, y)))
        logits = a @ b.T / 0.1
        return cross_entropy(logits, jnp.arange(B))

    return trained(loss_fn, optax.sgd(0.1), layers(1, 6, 8, 4), normal(2, B, 6), normal(3, B, 6))


@real
def contrast_with_the_hardest_of_the_others():
    """VSE++: each picture against the text that is most like it but not its own, and each text likewise."""

    def loss_fn(params, x, y):
        a, b = mlp(params, x), mlp(params, y)
        scores = a @ b.T
        own, others = jnp.diagonal(scores), jnp.where(jnp.eye(B, dtype=bool), -jnp.inf, scores)
        hardest = others.max(1), others.max(0)
        return sum(jax.nn.relu(0.2 + one - own).mean() for one in hardest)

    return trained(loss_fn, optax.sgd(0.1), layers(1, 6, 8, 4), normal(2, B, 6), normal(3, B, 6))


@real
def views_against_all_others():
    """SimCLR in Flax: both views in one batch, batch statistics in the encoder, and LARS."""
    model = Projected()
    optimizer = optax.lars(0.1, weight_decay=1e-4)

    def step(state, x, y):
        params, statistics, memory = state

        def loss_fn(params):
            views = jnp.concatenate([x, y])
            variables = {"params": params, "batch_stats": statistics}
            z, changes = model.apply(variables, views, mutable=["batch_stats"])
            labels = jnp.tile(jnp.arange(len(x)), 2)
            return optax.ntxent(z, labels, 0.5), changes["batch_stats"]

        (loss, statistics), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        updates, memory = optimizer.update(grads, memory, params)
        return (optax.apply_updates(params, updates), statistics, memory), loss, grads

    x = normal(1, B, 6)
    variables = model.init(jax.random.key(0), x)
    params = variables["params"]
    state = params, variables["batch_stats"], optimizer.init(params)
    return Program(step, (state, x, x + normal(2, B, 6, scale=0.1)), batch=(1, 2))


@real(double=True)
def variance_and_covariance():
    """VICReg: views are alike, no feature is constant over the batch, and no two follow each other."""

    def loss_fn(params, x, y):
        a, b = mlp(params, x), mlp(params, y)
        return 25 * jnp.mean((a - b) ** 2) + sum(25 * spread(z) + covariance(z) for z in (a, b))

    def spread(z):
        return jnp.mean(jax.nn.relu(1 - jnp.sqrt(z.var(0) + 1e-4)))

    def covariance(z):
        size, features = z.shape
        z = z - z.mean(0)
        cov = z.T @ z / (size - 1)
        return jnp.sum(jnp.where(jnp.eye(features, dtype=bool), 0, cov) ** 2) / features

    x = normal(2, B, 6)
    return trained(loss_fn, optax.sgd(0.01), layers(1, 6, 8, 8, 4), x, x + normal(3, B, 6, scale=0.3))


@real(double=True)
def contrast_of_more_than_fits():
    """GradCache: embeddings in pieces, the loss over all of them, and gradients piece by piece of what it gives."""

    def embedded(params, x):
        z = mlp(params, x)
        return z / jnp.linalg.norm(z, axis=-1, keepdims=True)

    def pieces(x):
        return x.reshape(2, B // 2, -1)

    def loss_fn(a, b):
        logits = a @ b.T / 0.2
        return (cross_entropy(logits, jnp.arange(B)) + cross_entropy(logits.T, jnp.arange(B))) / 2

    def step(params, x, y):
        a, b = (jax.lax.map(lambda one: embedded(params, one), pieces(z)).reshape(B, -1) for z in (x, y))
        loss, given = jax.value_and_grad(loss_fn, (0, 1))(a, b)

        def piece(total, one):
            *taken, given = one
            for x, g in zip(taken, given, strict=True):
                total = jax.tree.map(jnp.add, total, jax.vjp(lambda params, x=x: embedded(params, x), params)[1](g)[0])
            return total, None

        given = tuple(pieces(g) for g in given)
        grads, _ = jax.lax.scan(piece, jax.tree.map(jnp.zeros_like, params), (pieces(x), pieces(y), given))
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss, grads

    return Program(step, (layers(1, 6, 8, 4), normal(2, B, 6), normal(3, B, 6)), batch=(1, 2))
