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


@real(double=True)
def curvature_by_factors():
    """K-FAC: factors by labels that the model draws itself, and inverses that are renewed in every second step."""

    def forward(params, x, offsets):
        inputs = []
        for number, (w, offset) in enumerate(zip(params, offsets, strict=True)):
            inputs.append(jnp.concatenate([x, jnp.ones((len(x), 1))], -1))
            x = inputs[-1] @ w + offset
            x = x if number == len(params) - 1 else jnp.tanh(x)
        return x, inputs

    def inverse(factor):
        return jnp.linalg.inv(factor + 0.1 * jnp.eye(len(factor)))

    def step(state, x, labels, key):
        params, factors, inverses, count = state
        nothing = [jnp.zeros((len(x), w.shape[1])) for w in params]

        def loss_fn(params, offsets, labels):
            logits, inputs = forward(params, x, offsets)
            return cross_entropy(logits, labels), (logits, inputs)

        (loss, (logits, inputs)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, nothing, labels)
        drawn = jax.random.categorical(jax.random.fold_in(key, count), logits)
        sides = inputs, jax.grad(lambda offsets: len(x) * loss_fn(params, offsets, drawn)[0])(nothing)
        factors = [
            [0.9 * a + 0.1 * z.T @ z / len(x) for a, z in zip(*one, strict=True)]
            for one in zip(factors, sides, strict=True)
        ]
        inverses = jax.lax.cond(
            count % 2 == 0, lambda: [[inverse(a) for a in one] for one in factors], lambda: inverses
        )
        params = [w - 0.3 * a @ g @ b for w, a, g, b in zip(params, inverses[0], grads, inverses[1], strict=True)]
        return (params, factors, inverses, count + 1), loss

    params = [normal(number, before + 1, after, scale=0.4) for number, (before, after) in enumerate([(D, 8), (8, 3)])]
    unit = [[jnp.eye(w.shape[side]) for w in params] for side in (0, 1)]
    state = params, unit, jax.tree.map(jnp.copy, unit), jnp.int32(0)
    return Program(step, (state, normal(91, B, D), whole(93, 3, B), jax.random.key(4)), batch=(1, 2))


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


@jax.custom_vjp
def rounded_product(x, w):
    return rounded_forward(x, w)[0]


def rounded(x, axis):
    scale = jnp.max(jnp.abs(x), axis, keepdims=True) / 127 + 1e-9
    return jnp.round(x / scale).astype(jnp.int8), scale


def rounded_forward(x, w):
    (x, of_x), (w, of_w) = rounded(x, -1), rounded(w, 0)
    return jnp.matmul(x, w, preferred_element_type=jnp.int32) * of_x * of_w, (x, of_x, w, of_w)


def rounded_backward(kept, gradient):
    x, of_x, w, of_w = kept
    return gradient @ (w * of_w).T, (x * of_x).T @ gradient


rounded_product.defvjp(rounded_forward, rounded_backward)


@real(double=True)
def products_of_eight_bit_numbers():
    """Rows and columns are scaled by their largest number, and multiplied as whole numbers."""

    def loss_fn(params, x, y):
        for layer in params:
            x = jnp.tanh(rounded_product(x, layer["w"]) + layer["b"])
        return jnp.mean((x - y) ** 2)

    return trained(loss_fn, optax.sgd(0.05, momentum=0.9, nesterov=True), model(), *examples())


@real(double=True)
def ranges_that_are_observed():
    """Activations are rounded within the range of those of earlier steps, which the least and the largest move."""

    def fake(x, least, most):
        step = (most - least) / 255
        return x + lax.stop_gradient(jnp.clip(jnp.round((x - least) / step), 0, 255) * step + least - x)

    def step(params, ranges, x, y):
        def loss_fn(params):
            h, seen = x, []
            for layer, (least, most) in zip(params, ranges, strict=True):
                h = jax.nn.gelu(h @ layer["w"] + layer["b"])
                seen.append((0.9 * least + 0.1 * h.min(), 0.9 * most + 0.1 * h.max()))
                h = fake(h, least, most)
            return jnp.mean((h - y) ** 2), seen

        (loss, seen), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        return descend(params, grads), seen, loss

    ranges = [(jnp.float32(-1), jnp.float32(3))] * 3
    return Program(step, (model(), jax.tree.map(jnp.float64, ranges), *examples()), batch=(2, 3), state=2)


@real(double=True)
def basis_of_statistics_that_follows_by_halves():
    """SOAP: Adam where the statistics of Shampoo are diagonal; every second step that basis is made anew."""

    def moved(now, w, g, s):
        left, right = 0.9 * s["left"] + 0.1 * g @ g.T, 0.9 * s["right"] + 0.1 * g.T @ g

        def renewed():
            return jnp.linalg.qr(left @ s["basis"])[0], jnp.linalg.qr(right @ s["other"])[0]

        basis, other = lax.cond(now % 2 == 0, renewed, lambda: (s["basis"], s["other"]))
        mean, size = 0.9 * s["mean"] + 0.1 * g, 0.95 * s["size"] + 0.05 * (basis.T @ g @ other) ** 2
        way = basis @ ((basis.T @ mean @ other) / (jnp.sqrt(size) + 1e-8)) @ other.T
        after = {"left": left, "right": right, "basis": basis, "other": other, "mean": mean, "size": size}
        return w - 0.01 * way, after

    def step(state, x, y):
        loss, grads = jax.value_and_grad(lambda w: jnp.mean((jnp.tanh(x @ w[0]) @ w[1] - y) ** 2))(state["weights"])
        found = [moved(state["now"], *one) for one in zip(state["weights"], grads, state["memory"], strict=True)]
        return {"weights": [w for w, _ in found], "memory": [s for _, s in found], "now": state["now"] + 1}, loss

    def memory(rows, columns):
        bases = {"basis": jnp.eye(rows), "other": jnp.eye(columns)}
        squares = {"left": 1e-3 * jnp.eye(rows), "right": 1e-3 * jnp.eye(columns)}
        return {**squares, **bases, "mean": jnp.zeros((rows, columns)), "size": jnp.zeros((rows, columns))}

    start = {"weights": [weights(1, D, 8), weights(2, 8, 3)], "memory": [memory(D, 8), memory(8, 3)], "now": 0}
    return Program(step, (jax.tree.map(jnp.asarray, start), *examples()), batch=(1, 2))


@jax.custom_vjp
def loss_of_words(x, head, labels):
    return loss_forward(x, head, labels)[0]


def loss_forward(x, head, labels):
    logits, counts = x @ head, labels >= 0
    total = jax.nn.logsumexp(logits, -1)
    losses = total - jnp.take_along_axis(logits, jnp.maximum(labels, 0)[:, None], 1)[:, 0]
    count = jnp.maximum(counts.sum(), 1)
    return jnp.where(counts, losses, 0).sum() / count, (x, head, labels, total, count)


def loss_backward(kept, gradient):
    x, head, labels, total, count = kept
    chances = jnp.exp(x @ head - total[:, None])
    apart = chances.at[jnp.arange(len(labels)), labels].add(-1.0, mode="drop")
    apart = apart * ((labels >= 0) * gradient / count)[:, None]
    return apart @ head.T, x.T @ apart, None


loss_of_words.defvjp(loss_forward, loss_backward)


@real
def loss_that_keeps_no_logits():
    """A fused cross entropy, whose backward part makes the logits again; some labels do not count."""

    def loss_fn(params, tokens, labels):
        h = jnp.tanh(params["embed"].at[tokens].get(mode="clip") @ params["first"])
        return loss_of_words(h.reshape(-1, D), params["head"], labels.reshape(-1))

    params = {"embed": normal(1, 12, D), "first": weights(2, D, D), "head": weights(3, D, 12)}
    labels = jnp.where(whole(4, 3, B, 5) == 0, -100, whole(5, 12, B, 5))
    return trained(loss_fn, optax.novograd(1e-2), params, whole(6, 12, B, 5), labels)
