"""Language models with experts, of which each token asks a few."""

import jax
import jax.numpy as jnp
import optax
from jax import lax
from programs import B, Program, cross_entropy, normal, real, trained, weights, whole

T, D, V, E = 6, 8, 16, 4


def root_mean_square(x):
    return x * lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)


def attend(q, k, v):
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / jnp.sqrt(q.shape[-1])
    scores = jnp.where(jnp.tril(jnp.ones((q.shape[1], q.shape[1]), bool)), scores, -jnp.inf)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)


def of_matrices(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


@real
def two_experts_a_token_and_two_losses_of_their_router():
    """Mixtral: all experts see all tokens, and gates choose; one loss balances them, another keeps logits small."""

    def experts(p, x):
        rows = x.reshape(-1, D)
        logits = rows @ p["router"]
        gates, chosen = lax.top_k(jax.nn.softmax(logits), 2)
        share = jax.nn.one_hot(chosen, E) * (gates / gates.sum(-1, keepdims=True))[..., None]
        made = jax.nn.silu(jnp.einsum("nd,edf->nef", rows, p["gate"])) * jnp.einsum("nd,edf->nef", rows, p["up"])
        made = jnp.einsum("nef,efd,nke->nd", made, p["down"], share)
        asked = jax.nn.one_hot(chosen, E).sum(1).mean(0)
        balance = E * jnp.sum(asked * jax.nn.softmax(logits).mean(0))
        return made.reshape(x.shape), balance, jnp.mean(jax.nn.logsumexp(logits, -1) ** 2)

    def loss_fn(params, tokens):
        x, losses = params["embed"][tokens[:, :-1]], 0.0
        for p in params["blocks"]:
            h = root_mean_square(x)
            q, k, v = (jnp.einsum("btd,dhe->bthe", h, p[name]) for name in "qkv")
            x = x + jnp.einsum("bthe,hed->btd", attend(q, k, v), p["o"])
            made, balance, size = experts(p, root_mean_square(x) * p["scale"])
            x, losses = x + made, losses + 0.01 * balance + 0.001 * size
        return cross_entropy(x @ params["embed"].T, tokens[:, 1:]) + losses

    def block(seed):
        heads = {name: weights(seed + i, 2, D, 4).swapaxes(0, 1) for i, name in enumerate("qkv")}
        inner = {"gate": weights(seed + 4, E, D, 12), "up": weights(seed + 5, E, D, 12)}
        outer = {"o": weights(seed + 6, 2, 4, D), "down": weights(seed + 7, E, 12, D)}
        return {**heads, **inner, **outer, "router": weights(seed + 8, D, E), "scale": jnp.ones(D)}

    params = {"embed": normal(1, V, D), "blocks": [block(10), block(20)]}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, weight_decay=0.1, mask=of_matrices))
    return trained(loss_fn, optimizer, params, whole(3, V, B, T + 1))


@real
def experts_that_a_bias_balances():
    """DeepSeek: keys and values come of few numbers, a bias follows how often each expert was asked, and a second
    model of one block guesses the word after the next."""

    def attention(p, x):
        keys, values = jnp.split(root_mean_square(x @ p["narrow"]) @ p["wide"], 2, -1)
        q, k, v = (y.reshape(*y.shape[:2], 2, 4) for y in (x @ p["q"], keys, values))
        return attend(q, k, v).reshape(x.shape) @ p["o"]

    def experts(p, x, bias):
        scores = jax.nn.sigmoid(x @ p["router"])
        chosen = lax.top_k(scores + bias, 2)[1]
        gates = jnp.take_along_axis(scores, chosen, -1)
        gates, asked = gates / (gates.sum(-1, keepdims=True) + 1e-20), jax.nn.one_hot(chosen, E)
        made = jnp.einsum("bted,btke,btk->btd", jax.nn.silu(jnp.einsum("btd,edf->btef", x, p["each"])), asked, gates)
        return made + jax.nn.silu(x @ p["shared"]), asked.sum((0, 1, 2))

    def block(p, x, bias):
        x = x + attention(p, root_mean_square(x))
        made, asked = experts(p, root_mean_square(x), bias)
        return x + made, asked

    def loss_fn(params, biases, tokens):
        embed, loads = params["embed"], []
        x = embed[tokens[:, :T]]
        for p, bias in zip(params["blocks"], biases, strict=False):
            x, asked = block(p, x, bias)
            loads.append(asked)
        main = cross_entropy(root_mean_square(x) @ embed.T, tokens[:, 1 : T + 1])
        both = jnp.concatenate([root_mean_square(x), root_mean_square(embed[tokens[:, 1 : T + 1]])], -1)
        x, asked = block(params["ahead"], both @ params["join"], biases[-1])
        ahead = cross_entropy(root_mean_square(x) @ embed.T, tokens[:, 2:])
        return main + 0.3 * ahead, (jnp.stack([*loads, asked]), main, ahead)

    optimizer = optax.adamw(optax.warmup_cosine_decay_schedule(0, 1e-2, 2, 10))

    def step(state, tokens):
        params, memory, biases = state
        (_, (loads, *losses)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, biases, tokens)
        updates, memory = optimizer.update(grads, memory, params)
        biases = biases + 0.001 * jnp.sign(loads.mean(-1, keepdims=True) - loads)
        return (optax.apply_updates(params, updates), memory, biases), losses, grads

    def made(seed):
        latent = {"narrow": weights(seed, D, 4), "wide": weights(seed + 1, 4, 2 * D)}
        asked = {"router": weights(seed + 2, D, E), "each": weights(seed + 3, E, D, D)}
        return {**latent, **asked, **{name: weights(seed + 4 + i, D, D) for i, name in enumerate(("q", "o", "shared"))}}

    params = {"embed": normal(1, V, D), "blocks": [made(10)], "ahead": made(50), "join": weights(2, 2 * D, D)}
    return Program(step, ((params, optimizer.init(params), jnp.zeros((2, E))), whole(3, V, B, T + 2)))
