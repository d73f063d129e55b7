"""Models of pictures."""

import functools
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax
from programs import (
    B,
    Program,
    cross_entropy,
    layer_norm,
    layers,
    mlp,
    normal,
    real,
    trained,
    weights,
    whole,
)

IMAGES, LABELS = (B, 8, 8, 3), 4


def images(seed=1):
    return normal(seed, *IMAGES)


def encoder():
    return layers(1, 192, 16, 8)


class Residual(nn.Module):
    width: int = 8
    norm: Any = functools.partial(nn.GroupNorm, 2)

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (3, 3))(x)
        for _ in range(2):
            h = self.norm()(nn.Conv(self.width, (3, 3), use_bias=False)(nn.relu(x)))
            x = x + h
        x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(LABELS)(x.mean((1, 2)))


@real
def residual_network_with_smoothed_labels():
    model = Residual()

    def loss_fn(params, x, labels):
        soft = optax.smooth_labels(jax.nn.one_hot(labels, LABELS), 0.1)
        return optax.softmax_cross_entropy(model.apply(params, x), soft).mean()

    params = model.init(jax.random.key(0), images())
    return trained(loss_fn, optax.sgd(optax.cosine_decay_schedule(0.1, 9), 0.9), params, images(), whole(2, 4, B))


@real
def residual_network_with_batch_statistics():
    model = Residual(norm=functools.partial(nn.BatchNorm, use_running_average=False, momentum=0.9))
    optimizer = optax.sgd(0.1, momentum=0.9, nesterov=True)

    def step(state, x, labels):
        def loss_fn(params):
            variables = {"params": params, "batch_stats": state["statistics"]}
            logits, changes = model.apply(variables, x, mutable=["batch_stats"])
            return cross_entropy(logits, labels), (changes["batch_stats"], logits)

        (loss, (statistics, logits)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state["params"])
        updates, memory = optimizer.update(grads, state["memory"])
        params = optax.apply_updates(state["params"], updates)
        accuracy = jnp.mean(logits.argmax(-1) == labels)
        return {"params": params, "statistics": statistics, "memory": memory}, loss, accuracy, grads

    variables = model.init(jax.random.key(0), images())
    params = variables["params"]
    state = {"params": params, "statistics": variables["batch_stats"], "memory": optimizer.init(params)}
    return Program(step, (state, images(), whole(2, 4, B)), batch=(1, 2))


@real
def batch_normalisation():
    class Normalised(nn.Module):
        @nn.compact
        def __call__(self, x, is_training):
            x = nn.Dense(8, use_bias=False)(x)
            x = nn.BatchNorm(use_running_average=not is_training)(x)
            return nn.Dense(LABELS)(nn.relu(x))

    model = Normalised()

    def step(variables, x, labels):
        def loss_fn(params):
            logits, changes = model.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])
            return cross_entropy(logits, labels), changes

        (loss, changes), grads = jax.value_and_grad(loss_fn, has_aux=True)(variables["params"])
        return {"params": optax.tree.add_scale(variables["params"], -0.1, grads), **changes}, loss

    x = normal(1, B, 6)
    return Program(step, (model.init(jax.random.key(0), x, False), x, whole(2, 4, B)), batch=(1, 2))


@real
def batch_normalisation_that_is_frozen():
    """Fine-tuning: the statistics are those of the model as it was."""
    model = nn.Sequential([nn.Dense(8), nn.BatchNorm(use_running_average=True), nn.relu, nn.Dense(LABELS)])

    def step(params, x, labels, statistics):
        def loss_fn(params):
            return cross_entropy(model.apply({"params": params, "batch_stats": statistics}, x), labels)

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss

    x = normal(1, B, 6)
    variables = model.init(jax.random.key(0), x)
    return Program(step, (variables["params"], x, whole(2, 4, B), variables["batch_stats"]), batch=(1, 2))


class Transformer(eqx.Module):
    patches: eqx.nn.Conv2d
    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm
    head: eqx.nn.Linear
    token: jax.Array

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.patches = eqx.nn.Conv2d(3, 8, 4, 4, key=keys[0])
        self.attention = eqx.nn.MultiheadAttention(2, 8, key=keys[1])
        self.norm = eqx.nn.LayerNorm(8)
        self.head = eqx.nn.Linear(8, LABELS, key=keys[2])
        self.token = jax.random.normal(keys[3], (1, 8))

    def __call__(self, image):
        x = jnp.concatenate([self.token, self.patches(image).reshape(8, -1).T])
        h = jax.vmap(self.norm)(x)
        return self.head((x + self.attention(h, h, h))[0])


@real
def vision_transformer():
    """Equinox: the model of one example, under vmap, and its arrays apart from the rest."""
    model = Transformer(jax.random.key(0))
    optimizer = optax.adabelief(1e-3)

    def step(params, memory, x, labels):
        def loss_fn(params):
            return cross_entropy(jax.vmap(eqx.combine(params, static))(x), labels)

        loss, grads = eqx.filter_value_and_grad(loss_fn)(params)
        updates, memory = optimizer.update(grads, memory, params)
        return eqx.apply_updates(params, updates), memory, loss

    params, static = eqx.partition(model, eqx.is_inexact_array)
    args = (params, optimizer.init(params), images().transpose(0, 3, 1, 2), whole(2, 4, B))
    return Program(step, args, batch=(2, 3), state=2)


@real
def mixer():
    def loss_fn(params, x, labels):
        x = x.reshape(B, 4, 2, 4, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 16, 12) if x.shape[0] == B else x
        for p in params["blocks"]:
            x = x + (jax.nn.gelu(layer_norm(x).swapaxes(1, 2) @ p["time"]) @ p["back"]).swapaxes(1, 2)
            x = x + jax.nn.gelu(layer_norm(x) @ p["up"]) @ p["down"]
        return cross_entropy(x.mean(1) @ params["head"], labels)

    shapes = {"time": (16, 8), "back": (8, 16), "up": (12, 8), "down": (8, 12)}
    blocks = [{name: weights(10 * i + j, *s) for j, (name, s) in enumerate(shapes.items())} for i in range(2)]
    return trained(
        loss_fn, optax.noisy_sgd(0.1, key=0), {"blocks": blocks, "head": weights(50, 12, 4)}, images(), whole(2, 4, B)
    )


@real
def masked_autoencoder():
    """Each picture keeps other patches, by the order of random numbers of its own."""

    def step(params, key, patches):
        key, drawn = jax.random.split(key)
        order = jnp.argsort(jax.random.uniform(drawn, patches.shape[:2]), axis=1)
        seen, hidden = order[:, :4], order[:, 4:]

        def loss_fn(params):
            x = jnp.take_along_axis(patches, seen[..., None], axis=1) @ params["in"] + params["places"][seen]
            code = jnp.tanh(x @ params["mix"]).mean(1, keepdims=True)
            found = (code + params["places"][hidden]) @ params["out"]
            return jnp.mean((found - jnp.take_along_axis(patches, hidden[..., None], axis=1)) ** 2)

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), key, loss

    params = {"in": weights(1, 12, 8), "mix": weights(2, 8, 8), "out": weights(3, 8, 12), "places": normal(4, 16, 8)}
    return Program(step, (params, jax.random.key(1), normal(5, B, 16, 12)), batch=(2,), state=2)


@real
def random_crops_and_flips():
    """Augmentation in the step: each picture with a key of its own, under vmap."""

    def augment(key, image):
        crop, flip = jax.random.split(key)
        padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
        top, left = jax.random.randint(crop, (2,), 0, 3)
        image = lax.dynamic_slice(padded, (top, left, 0), image.shape)
        return jnp.where(jax.random.bernoulli(flip), image[:, ::-1], image)

    def step(params, x, labels, key):
        def loss_fn(params):
            views = jax.vmap(augment)(jax.random.split(key, B), x)
            return cross_entropy(mlp(params, views.reshape(B, -1)), labels)

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss

    return Program(step, (layers(1, 192, 8, 4), images(), whole(2, 4, B), jax.random.key(3)), batch=(1, 2))


@real
def mixup_with_the_batch_in_reverse():
    def loss_fn(params, x, labels):
        mixed = 0.7 * x + 0.3 * x[::-1]
        logits = mlp(params, mixed)
        return 0.7 * cross_entropy(logits, labels) + 0.3 * cross_entropy(logits, labels[::-1])

    return trained(loss_fn, optax.sgd(0.1), layers(1, 6, 8, 4), normal(2, B, 6), whole(3, 4, B))


@real
def two_views_in_one_batch():
    """SimSiam as it is written to call the model once: both views joined, and divided again."""

    def loss_fn(params, x, y):
        z = mlp(params["encoder"], jnp.concatenate([x, y]))
        p, (a, b) = mlp(params["predictor"], z), jnp.split(lax.stop_gradient(z), 2)
        return -jnp.mean(optax.cosine_similarity(p, jnp.concatenate([b, a])))

    params = {"encoder": layers(1, 6, 8, 4), "predictor": layers(5, 4, 4, 4)}
    return trained(loss_fn, optax.sgd(0.1), params, normal(2, B, 6), normal(3, B, 6))


@real
def teacher_that_is_an_average():
    """BYOL: the teacher follows the student, and has no gradient."""

    def step(state, x, y):
        def loss_fn(student):
            told = lax.stop_gradient(mlp(state["teacher"], y))
            return jnp.mean(2 - 2 * optax.cosine_similarity(mlp(student, x), told))

        loss, grads = jax.value_and_grad(loss_fn)(state["student"])
        student = jax.tree.map(lambda p, g: p - 0.1 * g, state["student"], grads)
        return {"student": student, "teacher": optax.incremental_update(student, state["teacher"], 0.01)}, loss

    params = layers(1, 6, 8, 4)
    state = {"student": params, "teacher": jax.tree.map(jnp.copy, params)}
    return Program(step, (state, normal(2, B, 6), normal(3, B, 6)), batch=(1, 2))


@real
def queue_of_earlier_pictures():
    """MoCo: the others are the keys of the last batches, and this batch's take the place of the oldest."""

    def step(state, x, y):
        teacher = optax.incremental_update(state["student"], state["teacher"], 0.01)
        keys = lax.stop_gradient(unit(mlp(teacher, y)))

        def loss_fn(student):
            queries = unit(mlp(student, x))
            alike = (queries * keys).sum(-1, keepdims=True)
            logits = jnp.concatenate([alike, queries @ state["queue"].T], 1) / 0.2
            return cross_entropy(logits, jnp.zeros(len(x), jnp.int32))

        loss, grads = jax.value_and_grad(loss_fn)(state["student"])
        queue = lax.dynamic_update_slice(state["queue"], keys, (state["at"], jnp.int32(0)))
        at = (state["at"] + len(x)) % len(queue)
        student = jax.tree.map(lambda p, g: p - 0.1 * g, state["student"], grads)
        return {"student": student, "teacher": teacher, "queue": queue, "at": at}, loss

    def unit(z):
        return z / jnp.linalg.norm(z, axis=-1, keepdims=True)

    params = layers(1, 6, 8, 4)
    state = {"student": params, "teacher": jax.tree.map(jnp.copy, params), "queue": unit(normal(4, 3 * B, 4))}
    return Program(step, (state | {"at": jnp.int32(0)}, normal(2, B, 6), normal(3, B, 6)), batch=(1, 2))


@real
def centred_teacher():
    """DINO: the centre of the last steps is taken off, and the mean of this batch is for the next."""

    def step(student, teacher, centre, x, y):
        told = mlp(teacher, y)
        soft = jax.nn.softmax((told - centre) / 0.04)
        loss, grads = jax.value_and_grad(lambda p: optax.softmax_cross_entropy(mlp(p, x) / 0.1, soft).mean())(student)
        student = jax.tree.map(lambda p, g: p - 0.1 * g, student, grads)
        teacher = jax.tree.map(lambda a, b: 0.99 * a + 0.01 * b, teacher, student)
        return student, teacher, 0.9 * centre + 0.1 * told.mean(0), loss

    args = (layers(1, 6, 8, 4), layers(3, 6, 8, 4), jnp.zeros(4), normal(2, B, 6), normal(3, B, 6))
    return Program(step, args, batch=(3, 4), state=3)


@real
def focal_loss_of_boxes():
    """A detector: a class and a box for each anchor; boxes count where there is an object."""

    def loss_fn(params, x, labels, boxes):
        h = jax.nn.relu(
            lax.conv_general_dilated(x, params["conv"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        )
        found, moved = (h @ params["class"]).reshape(x.shape[0], -1), (h @ params["box"]).reshape(x.shape[0], -1, 4)
        focal = optax.sigmoid_focal_loss(found, labels, alpha=0.25).sum()
        near = optax.huber_loss(moved, boxes).sum(-1)
        return (focal + jnp.sum(near * labels)) / jnp.maximum(labels.sum(), 1)

    params = {"conv": normal(1, 3, 3, 3, 8, scale=0.2), "class": weights(2, 8, 1), "box": weights(3, 8, 4)}
    batch = (images(), (whole(4, 4, B, 16) == 0).astype(jnp.float32), normal(5, B, 16, 4))
    return trained(loss_fn, optax.adamax(1e-2), params, *batch)


@real
def quantised_codes():
    """VQ-VAE: the nearest code, straight through, and a code book that follows the mean of what fell on each code."""

    def step(params, book, x):
        def loss_fn(params):
            z = mlp(params["in"], x)
            nearest = jnp.argmin(jnp.sum((z[:, None] - book["codes"]) ** 2, -1), axis=-1)
            q = book["codes"][nearest]
            found = mlp(params["out"], z + lax.stop_gradient(q - z))
            return jnp.mean((found - x) ** 2) + 0.25 * jnp.mean((z - q) ** 2), (z, nearest)

        (loss, (z, nearest)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        hits = jax.nn.one_hot(nearest, 5)
        counts = 0.9 * book["counts"] + 0.1 * hits.sum(0)
        sums = 0.9 * book["sums"] + 0.1 * hits.T @ z
        book = {"counts": counts, "sums": sums, "codes": sums / (counts[:, None] + 1e-5)}
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), book, loss

    book = {"counts": jnp.ones(5), "sums": normal(8, 5, 4), "codes": normal(8, 5, 4)}
    return Program(
        step, ({"in": layers(1, 6, 8, 4), "out": layers(4, 4, 8, 6)}, book, normal(7, B, 6)), batch=(2,), state=2
    )


class Shortened(nn.Module):
    """A transformer in which layers are left out by chance, for each picture by itself."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (4, 4), (4, 4))(x).reshape(x.shape[0], -1, 8)
        token = self.param("token", nn.initializers.normal(0.02), (1, 1, 8))
        x = jnp.concatenate([jnp.tile(token, (x.shape[0], 1, 1)), x], 1)
        h = nn.LayerNorm()(x)
        x = x + self.kept(nn.MultiHeadDotProductAttention(2)(h, h), 0.1)
        x = x + self.kept(nn.Dense(8)(nn.gelu(nn.Dense(16)(nn.LayerNorm()(x)))), 0.3)
        return nn.Dense(LABELS)(nn.LayerNorm()(x)[:, 0])

    def kept(self, x, rate):
        return x * jax.random.bernoulli(self.make_rng("layers"), 1 - rate, (x.shape[0], 1, 1)) / (1 - rate)


@real(double=True)
def layers_left_out_by_chance():
    """ViT: each picture skips other layers, is mixed with another one, and has smoothed labels."""
    model, optimizer = Shortened(), optax.chain(optax.clip_by_global_norm(1.0), optax.lamb(1e-3))

    def step(state, key, x, labels):
        params, memory = state
        key, mix, shuffle, leave = jax.random.split(key, 4)
        share, order = jax.random.beta(mix, 0.8, 0.8), jax.random.permutation(shuffle, x.shape[0])
        soft = optax.smooth_labels(jax.nn.one_hot(labels, LABELS), 0.1)
        x, soft = (share * y + (1 - share) * y[order] for y in (x, soft))

        def loss_fn(params):
            logits = model.apply(params, x, rngs={"layers": leave})
            return optax.softmax_cross_entropy(logits, soft).mean(), logits

        (loss, logits), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        updates, memory = optimizer.update(grads, memory, params)
        return (optax.apply_updates(params, updates), memory), key, loss, (logits.argmax(-1) == labels).mean()

    params = model.init({name: jax.random.key(0) for name in ("params", "layers")}, images())
    state = (params, optimizer.init(params))
    return Program(step, (state, jax.random.key(1), images(), whole(2, LABELS, B)), batch=(2, 3), state=2)
