"""Models that were trained before, and learn something else."""

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

T, D, V = 6, 8, 16


def base():
    blocks = [{"q": weights(i, D, D), "v": weights(i + 1, D, D), "up": weights(i + 2, D, D)} for i in (10, 20)]
    return {"embed": normal(1, V, D), "blocks": blocks}


def logits(params, tokens):
    x = params["embed"][tokens]
    mask = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
    for p in params["blocks"]:
        scores = jnp.where(mask, x @ p["q"] @ x.swapaxes(1, 2), -1e9)
        x = x + jax.nn.softmax(scores / 3) @ (x @ p["v"])
        x = layer_norm(x + jnp.tanh(x @ p["up"]))
    return x @ params["embed"].T


def log_prob(params, tokens):
    found = jax.nn.log_softmax(logits(params, tokens[:, :-1]))
    return jnp.take_along_axis(found, tokens[:, 1:, None], -1)[..., 0].sum(-1)


def descend(params, grads, rate=0.05):
    return jax.tree.map(lambda p, g: p - rate * g, params, grads)


def sentences(seed=5):
    return whole(seed, V, B, T)


@real
def low_rank_adapters():
    """LoRA: the frozen weights are an argument of their own, and only the adapters are the state."""

    def merged(adapters, frozen):
        def add(p, a):
            return {**p, "q": p["q"] + 2 * a["q"][0] @ a["q"][1], "v": p["v"] + 2 * a["v"][0] @ a["v"][1]}

        return {**frozen, "blocks": [add(*both) for both in zip(frozen["blocks"], adapters, strict=True)]}

    optimizer = optax.adamw(1e-2)

    def step(adapters, memory, tokens, frozen):
        loss, grads = jax.value_and_grad(lambda a: -log_prob(merged(a, frozen), tokens).mean() / T)(adapters)
        updates, memory = optimizer.update(grads, memory, adapters)
        return optax.apply_updates(adapters, updates), memory, loss

    adapters = [{name: (weights(30 + i, D, 2), normal(40 + i, 2, D, scale=0.1)) for name in "qv"} for i in range(2)]
    return Program(step, (adapters, optimizer.init(adapters), sentences(), base()), batch=(2,), state=2)


@real
def frozen_weights_in_eight_bits():
    """QLoRA: weights are whole numbers with a scale for each column, and are unpacked where they are used."""

    def step(adapter, x, y, packed, scale):
        def loss_fn(adapter):
            w = packed.astype(jnp.float32) * scale
            h = jnp.tanh(x @ w + x @ adapter["a"] @ adapter["b"])
            return jnp.mean((h - y) ** 2)

        loss, grads = jax.value_and_grad(loss_fn)(adapter)
        return descend(adapter, grads), loss

    adapter = {"a": weights(1, D, 2), "b": normal(2, 2, D)}
    packed, scale = jnp.clip(normal(3, D, D) * 40, -127, 127).astype(jnp.int8), jnp.full(D, 0.02, jnp.float32)
    return Program(step, (adapter, normal(4, B, D), normal(5, B, D), packed, scale), batch=(1, 2))


@real
def prompt_that_is_learned():
    """Vectors before those of the words; the rest of the model stays."""

    def step(prompt, tokens, labels, frozen):
        def loss_fn(prompt):
            x = frozen["embed"][tokens]
            x = jnp.concatenate([jnp.broadcast_to(prompt, (x.shape[0], *prompt.shape)), x], axis=1)
            for p in frozen["blocks"]:
                x = layer_norm(x + jax.nn.softmax(x @ p["q"] @ x.swapaxes(1, 2)) @ (x @ p["v"]))
            return cross_entropy(x.mean(1) @ frozen["embed"].T, labels)

        loss, grads = jax.value_and_grad(loss_fn)(prompt)
        return prompt - 0.1 * grads, loss, grads

    return Program(step, (normal(1, 3, D), sentences(), whole(2, V, B), base()), batch=(1, 2))


@real
def biases_alone():
    """BitFit: the optimizer has no memory for what is masked."""

    def of_biases(params):
        return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "b", params)

    optimizer = optax.chain(
        optax.masked(optax.adam(1e-2), of_biases),
        optax.masked(optax.set_to_zero(), lambda params: jax.tree.map(lambda b: not b, of_biases(params))),
    )

    def loss_fn(params, x, y):
        return jnp.mean((mlp(params, x) - y) ** 2)

    return trained(loss_fn, optimizer, layers(1, D, 16, D), normal(2, B, D), normal(3, B, D))


@real
def knowledge_of_a_larger_model():
    """Distillation: soft labels of the teacher at a temperature, and the labels themselves."""

    def step(student, x, labels, teacher):
        def loss_fn(student):
            found, told = mlp(student, x), mlp(teacher, x)
            soft = optax.kl_divergence(jax.nn.log_softmax(found / 2), jax.nn.softmax(told / 2))
            return 4 * soft.mean() + 0.5 * cross_entropy(found, labels)

        loss, grads = jax.value_and_grad(loss_fn)(student)
        return descend(student, grads), loss

    return Program(step, (layers(1, D, 8, 4), normal(2, B, D), whole(3, 4, B), layers(4, D, 16, 16, 4)), batch=(1, 2))


def preference(params, reference, chosen, rejected):
    ours = log_prob(params, chosen) - log_prob(params, rejected)
    theirs = log_prob(reference, chosen) - log_prob(reference, rejected)
    return -jax.nn.log_sigmoid(0.1 * (ours - theirs)).mean(), jnp.mean(ours > theirs)


@real
def preferences_in_two_calls():
    """DPO, with the model called for the chosen and for the rejected sentences."""

    def step(params, chosen, rejected, reference):
        (loss, accuracy), grads = jax.value_and_grad(preference, has_aux=True)(params, reference, chosen, rejected)
        return descend(params, grads), loss, accuracy

    return Program(step, (base(), sentences(), sentences(6), base()), batch=(1, 2))


@real
def preferences_in_one_batch():
    """DPO as trl has it: both sentences in one batch, so that the model is called once."""

    def step(params, chosen, rejected, reference):
        def both(params):
            return jnp.split(log_prob(params, jnp.concatenate([chosen, rejected])), 2)

        def loss_fn(params):
            (good, bad), (good_before, bad_before) = both(params), both(reference)
            return -jax.nn.log_sigmoid(0.1 * ((good - bad) - (good_before - bad_before))).mean()

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return descend(params, grads), loss

    return Program(step, (base(), sentences(), sentences(6), base()), batch=(1, 2))


@real
def reward_of_pairs():
    """Bradley and Terry: the pair is an axis of its own."""

    def loss_fn(params, pairs):
        x = jax.vmap(lambda one: params["embed"][one].mean(-2), in_axes=1, out_axes=1)(pairs)
        rewards = mlp(params["head"], x)[..., 0]
        return -jax.nn.log_sigmoid(rewards[:, 0] - rewards[:, 1]).mean() + 0.01 * jnp.mean(rewards**2)

    params = {"embed": normal(1, V, D), "head": layers(2, D, 8, 1)}
    return trained(loss_fn, optax.sgd(0.1), params, whole(7, V, B, 2, T))


@real(double=True)
def groups_of_answers():
    """GRPO: an advantage is over the mean of the answers to one question, which are an axis of their own."""

    def step(params, answers, rewards, reference):
        advantages = (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, keepdims=True) + 1e-4)

        def loss_fn(params):
            ours = jax.vmap(log_prob, (None, 0))(params, answers)
            before = jax.vmap(log_prob, (None, 0))(reference, answers)
            ratio = jnp.exp(ours - lax.stop_gradient(ours))
            divergence = jnp.exp(before - ours) - (before - ours) - 1
            return jnp.mean(-ratio * advantages + 0.001 * divergence)

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return descend(params, grads), loss

    return Program(step, (base(), whole(1, V, B, 3, T), normal(2, B, 3), base()), batch=(1, 2))


@real
def rounded_weights():
    """Training for quantised inference: rounded forward, and straight through backward."""

    @jax.custom_vjp
    def rounded(w):
        scale = jnp.max(jnp.abs(w)) / 7
        return jnp.round(w / scale) * scale

    rounded.defvjp(lambda w: (rounded(w), None), lambda _, g: (g,))

    def loss_fn(params, x, y):
        h = jax.nn.relu(x @ rounded(params["in"]))
        return jnp.mean((h @ rounded(params["out"]) - y) ** 2)

    params = {"in": weights(1, D, 16), "out": weights(2, 16, D)}
    return trained(loss_fn, optax.sgd(0.1), params, normal(3, B, D), normal(4, B, D))


@real
def products_of_eight_bit_floats():
    """Each row and each column is scaled to what `float8` can tell apart; the way back is as exact as ever."""

    def narrow(x, axis):
        scale = jnp.max(jnp.abs(x), axis, keepdims=True) / 448
        return (x / scale).astype(jnp.float8_e4m3fn), scale

    @jax.custom_vjp
    def product(x, w):
        (x, x_scale), (w, w_scale) = narrow(x, -1), narrow(w, 0)
        return lax.dot(x, w, preferred_element_type=jnp.float32) * x_scale * w_scale

    product.defvjp(lambda x, w: (product(x, w), (x, w)), lambda kept, g: (g @ kept[1].T, kept[0].T @ g))

    def loss_fn(params, x, y):
        for w in params:
            x = jnp.tanh(product(x, w))
        return jnp.mean((x - y) ** 2)

    return trained(loss_fn, optax.sgd(0.1), [weights(i, D, D) for i in range(3)], normal(4, B, D), normal(5, B, D))


@real
def pruned_weights():
    """What is left out stays out; which that is depends on the weights, every second step."""

    def step(state, x, y):
        def loss_fn(params):
            kept = jax.tree.map(jnp.multiply, params, state["mask"])
            return jnp.mean((jnp.tanh(x @ kept["in"]) @ kept["out"] - y) ** 2)

        def smaller(mask):
            return jax.tree.map(lambda p, m: m * (jnp.abs(p) > jnp.quantile(jnp.abs(p), 0.3)), state["params"], mask)

        loss, grads = jax.value_and_grad(loss_fn)(state["params"])
        mask = lax.cond(state["count"] % 2 == 0, smaller, lambda mask: mask, state["mask"])
        return {"params": descend(state["params"], grads), "mask": mask, "count": state["count"] + 1}, loss

    params = {"in": weights(1, D, 16), "out": weights(2, 16, D)}
    state = {"params": params, "mask": jax.tree.map(jnp.ones_like, params), "count": jnp.int32(0)}
    return Program(step, (state, normal(3, B, D), normal(4, B, D)), batch=(1, 2))


@real
def memory_of_what_mattered():
    """EWC: the squares of the gradients of each example are summed, and hold the weights back in the next task."""

    def step(params, fisher, x, y, old):
        def loss_fn(params, x, y):
            return jnp.mean((mlp(params, x) - y) ** 2)

        def held(params):
            pull = jax.tree.map(lambda f, p, q: jnp.sum(f * (p - q) ** 2), fisher, params, old)
            return loss_fn(params, x, y) + 0.5 * sum(jax.tree.leaves(pull))

        loss, grads = jax.value_and_grad(held)(params)
        each = jax.vmap(lambda x, y: jax.grad(loss_fn)(params, x, y))(x, y)
        fisher = jax.tree.map(lambda f, g: 0.9 * f + 0.1 * jnp.mean(g**2, 0), fisher, each)
        return descend(params, grads), fisher, loss

    params = layers(1, D, 8, 4)
    args = (params, jax.tree.map(jnp.ones_like, params), normal(2, B, D), normal(3, B, 4), layers(5, D, 8, 4))
    return Program(step, args, batch=(2, 3), state=2)


@real
def groups_along_the_batch():
    """GRPO by tokens: answers to one question follow each other in the batch, the upper bound of the ratio is wider,
    and a token counts as much as any other of the batch."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))

    def log_probs(params, tokens):
        found = jax.nn.log_softmax(logits(params, tokens[:, :-1]))
        return jnp.take_along_axis(found, tokens[:, 1:, None], -1)[..., 0]

    def step(state, reference, tokens, is_answer, rewards, old):
        params, memory = state
        groups = rewards.reshape(-1, 4)
        advantage = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, keepdims=True) + 1e-4)
        advantage, mask, theirs = advantage.reshape(-1, 1), is_answer[:, 1:], log_probs(reference, tokens)

        def loss_fn(params):
            ours = log_probs(params, tokens)
            ratio = jnp.exp(ours - old)
            gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.28) * advantage)
            divergence = jnp.exp(theirs - ours) - (theirs - ours) - 1
            count = jnp.maximum(mask.sum(), 1)
            return jnp.sum((0.04 * divergence - gain) * mask) / count, jnp.sum(divergence * mask) / count

        found, grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        updates, memory = optimizer.update(grads, memory, params)
        return (optax.apply_updates(params, updates), memory), found, grads

    params = base()
    is_answer = (jnp.arange(T) < 3 + whole(6, T - 2, B)[:, None]).astype(jnp.float32)
    rolled = (sentences(), is_answer, normal(7, B), -jnp.abs(normal(8, B, T - 1)))
    return Program(step, ((params, optimizer.init(params)), base(), *rolled), batch=(2, 3, 4, 5))
