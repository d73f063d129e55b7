"""Ways to train: what stands around a loss."""

import functools

import jax
import jax.numpy as jnp
import optax
from jax import lax
from programs import LOOPED, B, Program, cross_entropy, layers, mlp, normal, real, trained, weights, whole

D = 6


def loss_fn(params, x, y):
    return jnp.mean((mlp(params, x) - y) ** 2)


def examples():
    return normal(91, B, D), normal(92, B, 3)


def model():
    return layers(1, D, 16, 8, 3)


def descend(params, grads, rate=0.05):
    return jax.tree.map(lambda p, g: p - rate * g, params, grads)


@real
def sharpness_aware():
    """SAM: the gradient where a step up the gradient leads."""

    def step(params, x, y):
        up = jax.grad(loss_fn)(params, x, y)
        up = optax.tree.scale(0.05 / optax.tree.norm(up), up)
        loss, grads = jax.value_and_grad(loss_fn)(optax.tree.add(params, up), x, y)
        return descend(params, grads), loss

    return Program(step, (model(), *examples()), batch=(1, 2))


@real
def meta_learning():
    """MAML: through a step on other examples of the same tasks."""

    def step(params, x, y, later_x, later_y):
        def after(params):
            return loss_fn(descend(params, jax.grad(loss_fn)(params, x, y)), later_x, later_y)

        loss, grads = jax.value_and_grad(after)(params)
        return descend(params, grads), loss

    return Program(step, (model(), *examples(), normal(93, B, D), normal(94, B, 3)), batch=(1, 2, 3, 4))


@real
def slow_and_fast_weights():
    """Lookahead: every second step the slow weights follow."""
    optimizer = optax.lookahead(optax.sgd(0.1), 2, 0.5)

    def step(params, memory, x, y):
        loss, grads = jax.value_and_grad(loss_fn)(params.fast, x, y)
        updates, memory = optimizer.update(grads, memory, params)
        return optax.apply_updates(params, updates), memory, loss

    params = optax.LookaheadParams.init_synced(model())
    return Program(step, (params, optimizer.init(params), *examples()), batch=(2, 3), state=2)


@real(double=True)
def without_a_schedule():
    return trained(loss_fn, optax.contrib.schedule_free_adamw(1e-2, warmup_steps=2), model(), *examples())


@real(double=True)
def orthogonal_updates():
    return trained(loss_fn, optax.contrib.muon(1e-2), model(), *examples())


@real
def several_calls_for_one_update():
    """optax adds the gradients of two calls up."""
    optimizer = optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 2)

    def step(state, x, y):
        params, memory = state
        grads = jax.grad(loss_fn)(params, x, y)
        updates, memory = optimizer.update(grads, memory, params)
        return (optax.apply_updates(params, updates), memory), optimizer.has_updated(memory)

    params = model()
    return Program(step, ((params, optimizer.init(params)), *examples()), batch=(1, 2))


@real
def each_group_by_its_own_optimizer():
    kinds = {"w": "matrix", "b": "vector"}
    optimizer = optax.multi_transform({"matrix": optax.sgd(0.1, 0.9), "vector": optax.sgd(0.01)}, [kinds] * 3)
    return trained(loss_fn, optimizer, model(), *examples())


@real
def private_gradients():
    """DP-SGD: the gradient of each example is clipped by itself, and noise is added to their sum."""

    def step(params, key, x, y):
        def clipped(x, y):
            grads = jax.grad(loss_fn)(params, x[None], y[None])
            return optax.tree.scale(jnp.minimum(1.0, 0.5 / optax.tree.norm(grads)), grads)

        total = jax.tree.map(lambda g: g.sum(0), jax.vmap(clipped)(x, y))
        key, drawn = jax.random.split(key)
        leaves, form = jax.tree.flatten(total)
        keys = jax.random.split(drawn, len(leaves))
        noisy = [(g + 0.1 * jax.random.normal(k, g.shape)) / B for g, k in zip(leaves, keys, strict=True)]
        return descend(params, jax.tree.unflatten(form, noisy)), key

    return Program(step, (model(), jax.random.key(0), *examples()), batch=(2, 3), state=2)


@real
def scaled_losses():
    """Half precision: the scale of the loss halves when a gradient is not finite, and else grows."""

    def step(params, scale, x, y):
        def scaled(params):
            narrow = jax.tree.map(lambda p: p.astype(jnp.float32), params)
            return scale * loss_fn(narrow, x, y)

        grads = optax.tree.scale(1 / scale, jax.grad(scaled)(params))
        is_fine = functools.reduce(jnp.logical_and, [jnp.isfinite(g).all() for g in jax.tree.leaves(grads)])
        new = jax.tree.map(lambda p, q: jnp.where(is_fine, q, p), params, descend(params, grads))
        return new, jnp.where(is_fine, scale * 2, scale / 2), is_fine

    return Program(step, (model(), jnp.float32(1024), *examples()), batch=(2, 3), state=2)


@real
def update_left_out_where_it_is_not_finite():
    return trained(loss_fn, optax.apply_if_finite(optax.sgd(0.1), 3), model(), *examples())


@real
def clipped_by_the_size_of_the_weights():
    """Of each unit, as NFNets have it."""
    return trained(loss_fn, optax.chain(optax.adaptive_grad_clip(0.01), optax.sgd(0.1, 0.9)), model(), *examples())


@real
def conflicting_tasks():
    """PCGrad: of two gradients each loses what goes against the other."""

    def step(params, x, y, z):
        first = jax.grad(loss_fn)(params, x, y)
        second = jax.grad(lambda p: jnp.mean(jnp.abs(mlp(p, x) - z)))(params)
        inner = optax.tree.vdot(first, second)
        less = jnp.minimum(inner, 0) / optax.tree.norm(second, squared=True)
        grads = jax.tree.map(lambda a, b: a - less * b + b, first, second)
        return descend(params, grads), inner

    return Program(step, (model(), *examples(), normal(95, B, 3)), batch=(1, 2, 3))


@real
def roots_of_statistics():
    """Shampoo: sums of products of gradients on both sides, and their inverse fourth roots."""

    def root(a):
        values, vectors = jnp.linalg.eigh(a + 1e-3 * jnp.eye(len(a)))
        return (vectors * values**-0.25) @ vectors.T

    def step(params, left, right, x, y):
        loss, grads = jax.value_and_grad(lambda w: jnp.mean((x @ w - y) ** 2))(params)
        left, right = left + grads @ grads.T, right + grads.T @ grads
        return params - 0.1 * root(left) @ grads @ root(right), left, right, loss

    args = (normal(1, D, 3), jnp.eye(D), jnp.eye(3), *examples())
    return Program(step, args, batch=(3, 4), state=3)


@real(double=True)
def curvature_of_the_last_steps():
    """L-BFGS by itself: the last steps and the changes of the gradient along them give the direction."""
    return trained(loss_fn, optax.lbfgs(0.1, memory_size=2, linesearch=None), model(), *examples())


@real(double=True)
def length_of_the_step_by_a_search():
    """L-BFGS as optax has it: along its direction a step is looked for that lessens the loss of the whole batch."""
    optimizer = optax.lbfgs(memory_size=2)

    def step(params, memory, x, y):
        def of_batch(params):
            return loss_fn(params, x, y)

        loss, grads = optax.value_and_grad_from_state(of_batch)(params, state=memory)
        updates, memory = optimizer.update(grads, memory, params, value=loss, grad=grads, value_fn=of_batch)
        return optax.apply_updates(params, updates), memory, loss, grads

    params = model()
    return Program(step, (params, optimizer.init(params), *examples()), batch=(2, 3), state=2)


@real
def rate_that_follows_a_plateau():
    """What the loss says changes the rate of the updates to come."""
    optimizer = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1))

    def step(params, memory, x, y):
        loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
        updates, memory = optimizer.update(grads, memory, params, value=loss)
        return optax.apply_updates(params, updates), memory, loss

    params = model()
    return Program(step, (params, optimizer.init(params), *examples()), batch=(2, 3), state=2)


@real
def weights_are_averaged_late():
    """SWA: from the second step on, by a branch on the number of the step."""

    def step(state, x, y):
        grads = jax.grad(loss_fn)(state["params"], x, y)
        params, count = descend(state["params"], grads), state["count"] + 1

        def averaged(average):
            return jax.tree.map(lambda a, p: a + (p - a) / count, average, params)

        average = lax.cond(count > 1, averaged, lambda _: params, state["average"])
        return {"params": params, "average": average, "count": count}

    params = model()
    return Program(
        step,
        ({"params": params, "average": jax.tree.map(jnp.copy, params), "count": jnp.float32(0)}, *examples()),
        batch=(1, 2),
    )


@real
def hardest_examples_alone():
    """Online hard example mining: only the largest losses of the batch count."""

    def hard(params, x, y):
        losses = jnp.mean((mlp(params, x) - y) ** 2, -1)
        return lax.top_k(losses, 4)[0].mean()

    return trained(hard, optax.sgd(0.1), model(), *examples())


@real(refused=LOOPED, naming="complete only when the loop around them is left", at=mlp)
def until_the_loss_is_small():
    """A loop in the step, which ends by a loss of the whole batch."""

    def step(params, x, y):
        def goes_on(carry):
            params, count = carry
            return (loss_fn(params, x, y) > 0.1) & (count < 5)

        def body(carry):
            params, count = carry
            return descend(params, jax.grad(loss_fn)(params, x, y)), count + 1

        return lax.while_loop(goes_on, body, (params, 0))

    return Program(step, (model(), *examples()), batch=(1, 2))


@real(double=True)
def clipped_where_gradients_are_complete():
    """Of the mean of two calls' gradients, those of a table that is read and written with, by the norm of all."""
    optimizer = optax.MultiSteps(optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(1e-2)), 2)

    def loss_fn(params, tokens):
        h = jnp.tanh(jnp.tanh(params["embed"][tokens] @ params["first"]) @ params["second"])
        return cross_entropy((h @ params["embed"].T)[:, :-1], tokens[:, 1:])

    params = {"embed": normal(1, 12, D), "first": weights(2, D, D), "second": weights(3, D, D)}
    return trained(loss_fn, optimizer, params, whole(4, 12, B, 5))
