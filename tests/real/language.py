"""Models of text."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState
from jax import lax
from programs import B, Program, cross_entropy, layer_norm, normal, real, trained, weights, whole

T, D, V = 8, 16, 32


def attend(q, k, v, mask=None):
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / jnp.sqrt(q.shape[-1])
    scores = scores if mask is None else jnp.where(mask, scores, -1e9)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)


CAUSAL = jnp.tril(jnp.ones((T, T), bool))


@real(double=True)
def llama():
    """Grouped queries, rotary positions, SwiGLU; clipping, warm-up and a cosine."""

    def rms(x, scale):
        return x * lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6) * scale

    def rotate(x):
        half = x.shape[-1] // 2
        angle = jnp.arange(T)[:, None, None] / 100 ** (jnp.arange(half) / half)
        a, b = jnp.split(x, 2, axis=-1)
        return jnp.concatenate([a * jnp.cos(angle) - b * jnp.sin(angle), a * jnp.sin(angle) + b * jnp.cos(angle)], -1)

    def block(p, x):
        h = rms(x, p["attention_norm"])
        q = rotate((h @ p["q"]).reshape(*x.shape[:2], 4, D // 4))
        k, v = ((h @ p[name]).reshape(*x.shape[:2], 2, D // 4) for name in "kv")
        k, v = jnp.repeat(rotate(k), 2, axis=2), jnp.repeat(v, 2, axis=2)
        x = x + attend(q, k, v, CAUSAL).reshape(x.shape) @ p["o"]
        h = rms(x, p["ffn_norm"])
        return x + (jax.nn.silu(h @ p["gate"]) * (h @ p["up"])) @ p["down"]

    def loss_fn(params, tokens):
        x = params["embed"][tokens]
        for p in params["blocks"]:
            x = block(p, x)
        logits = rms(x, params["norm"]) @ params["embed"].T
        return cross_entropy(logits[:, :-1], tokens[:, 1:])

    def block_params(seed):
        shapes = {"q": (D, D), "k": (D, D // 2), "v": (D, D // 2), "o": (D, D)}
        shapes |= {"gate": (D, 2 * D), "up": (D, 2 * D), "down": (2 * D, D)}
        matrices = {name: weights(seed + i, *shape) for i, (name, shape) in enumerate(shapes.items())}
        return {**matrices, "attention_norm": jnp.ones(D), "ffn_norm": jnp.ones(D)}

    params = {"embed": normal(1, V, D), "norm": jnp.ones(D), "blocks": [block_params(10), block_params(20)]}
    rate = optax.warmup_cosine_decay_schedule(0.0, 1e-2, 2, 10)
    return trained(loss_fn, optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate)), params, whole(2, V, B, T))


class Encoder(nn.Module):
    """As in a tutorial of Flax."""

    layers: int = 2

    @nn.compact
    def __call__(self, tokens, is_training):
        attention = nn.MultiHeadDotProductAttention  # the gradient of a bias of its keys is nothing but rounding
        x = nn.Embed(V, D)(tokens) + self.param("positions", nn.initializers.normal(0.02), (T, D))
        for _ in range(self.layers):
            h = nn.LayerNorm()(x)
            x = x + attention(2, use_bias=False, dropout_rate=0.1, deterministic=not is_training)(h, h)
            h = nn.Dense(D)(nn.gelu(nn.Dense(2 * D)(nn.LayerNorm()(x))))
            x = x + nn.Dropout(0.1, deterministic=not is_training)(h)
        return nn.Dense(V)(nn.LayerNorm()(x))


@real(double=True)
def bert_masks_tokens_in_the_step():
    """A key is folded with the number of the step; one token in seven is hidden, and only these count."""
    model = Encoder()

    def step(state, tokens, key):
        mask_key, dropout_key = jax.random.split(jax.random.fold_in(key, state.step))
        is_hidden = jax.random.bernoulli(mask_key, 0.15, tokens.shape)

        def loss_fn(params):
            logits = state.apply_fn(params, jnp.where(is_hidden, V - 1, tokens), True, rngs={"dropout": dropout_key})
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens)
            correct = (logits.argmax(-1) == tokens) & is_hidden
            return jnp.sum(losses * is_hidden) / jnp.maximum(jnp.sum(is_hidden), 1), jnp.sum(correct)

        (loss, correct), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        return state.apply_gradients(grads=grads), {"loss": loss, "correct": correct}, grads

    tokens = whole(1, V - 1, B, T)
    params = model.init(jax.random.key(0), tokens, False)
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adamw(1e-3))
    return Program(step, (state, tokens, jax.random.key(1)))


def small_model(params, tokens):
    x = params["embed"][tokens]
    q, k, v = (jnp.einsum("btd,dhe->bthe", x, params[name]) for name in "qkv")
    x = layer_norm(x + attend(q, k, v, CAUSAL[: x.shape[1], : x.shape[1]]).reshape(x.shape))
    return layer_norm(x + jax.nn.relu(x @ params["up"]) @ params["down"])


def small_params(seed=1):
    heads = {name: weights(seed + i, 2, D, D // 2).transpose(1, 0, 2) for i, name in enumerate("qkv")}
    return {
        "embed": normal(seed + 5, V, D),
        "up": weights(seed + 6, D, 2 * D),
        "down": weights(seed + 7, 2 * D, D),
        **heads,
    }


@real
def loss_over_chunks_of_flattened_tokens():
    """The logits of all tokens at once would not fit in memory, so that a loop goes over pieces of them."""

    @jax.checkpoint
    def chunk(embed, total, piece):
        x, labels = piece
        return total + optax.softmax_cross_entropy_with_integer_labels(x @ embed.T, labels).sum(), None

    def loss_fn(params, tokens):
        x = small_model(params, tokens)
        pieces = x.reshape(8, -1, D), jnp.roll(tokens, -1, axis=1).reshape(8, -1)
        return lax.scan(functools.partial(chunk, params["embed"]), 0.0, pieces)[0] / tokens.size

    return trained(loss_fn, optax.adafactor(1e-2), small_params(), whole(2, V, B, T))


@real
def gradients_accumulated_by_the_user():
    """As in nanoGPT: the batch is given in four pieces, and gradients add up in a scan."""

    def loss_fn(params, tokens):
        return cross_entropy((small_model(params, tokens) @ params["embed"].T)[:, :-1], tokens[:, 1:])

    optimizer = optax.adamw(1e-2)

    def step(params, opt_state, tokens):
        def micro(total, piece):
            loss, grads = jax.value_and_grad(loss_fn)(params, piece)
            return jax.tree.map(jnp.add, total, grads), loss

        zeros = jax.tree.map(jnp.zeros_like, params)
        grads, losses = lax.scan(micro, zeros, tokens.reshape(4, B // 4, T))
        grads = jax.tree.map(lambda g: g / 4, grads)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, losses.mean()

    params = small_params()
    return Program(step, (params, optimizer.init(params), whole(2, V, B, T)), batch=(2,), state=2)


@real
def several_small_steps_in_one_call():
    """A scan over two small batches, each of which takes a step of the optimizer: to save calls."""

    def loss_fn(params, tokens):
        return cross_entropy((small_model(params, tokens) @ params["embed"].T)[:, :-1], tokens[:, 1:])

    def step(params, tokens):
        def inner(params, piece):
            loss, grads = jax.value_and_grad(loss_fn)(params, piece)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss

        return lax.scan(inner, params, tokens.reshape(2, B // 2, T))

    return Program(step, (small_params(), whole(2, V, B, T)))


@real
def z_loss_and_slopes_of_alibi():
    def loss_fn(params, tokens):
        x = params["embed"][tokens]
        q, k, v = (jnp.einsum("btd,dhe->bhte", x, params[name]) for name in "qkv")
        distance = jnp.arange(T)[None, :] - jnp.arange(T)[:, None]
        bias = jnp.array([0.5, 0.25])[:, None, None] * distance
        scores = jnp.where(CAUSAL, q @ k.swapaxes(-1, -2) + bias, -jnp.inf)
        x = x + (jax.nn.softmax(scores) @ v).swapaxes(1, 2).reshape(x.shape)
        logits = layer_norm(x) @ params["embed"].T
        log_z = jax.nn.logsumexp(logits, axis=-1)
        picked = jnp.take_along_axis(logits, jnp.roll(tokens, -1, 1)[..., None], axis=-1)[..., 0]
        return jnp.mean(log_z - picked) + 1e-4 * jnp.mean(log_z**2)

    return trained(loss_fn, optax.sgd(0.1, momentum=0.9, nesterov=True), small_params(), whole(2, V, B, T))


@real
def words_from_their_neighbours():
    """word2vec with negative samples that are drawn from a key in the step."""

    def step(params, key, centre, context):
        key, drawn = jax.random.split(key)
        negatives = jax.random.randint(drawn, (B, 5), 0, V)

        def loss_fn(params):
            c = params["in"][centre]
            right = jax.nn.log_sigmoid(jnp.sum(c * params["out"][context], -1))
            wrong = jax.nn.log_sigmoid(-jnp.einsum("bd,bnd->bn", c, params["out"][negatives]))
            return -jnp.mean(right + wrong.sum(-1))

        loss, grads = jax.value_and_grad(loss_fn)(params)
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, grads), key, loss

    params = {"in": normal(1, V, D), "out": normal(2, V, D)}
    return Program(step, (params, jax.random.key(3), whole(4, V, B), whole(5, V, B)), batch=(2, 3), state=2)


@real
def translation():
    """An encoder and a decoder that looks at it, with padding that differs from sentence to sentence."""

    def split(x):
        return x.reshape(*x.shape[:-1], 2, D // 2)

    def cross(p, x, memory, mask):
        q, (k, v) = x @ p["q"], jnp.split(memory @ p["kv"], 2, axis=-1)
        return layer_norm(x + attend(split(q), split(k), split(v), mask).reshape(x.shape) @ p["o"])

    def loss_fn(params, batch):
        is_word = (batch["source"] > 0)[:, None, None, :]
        memory = params["embed"][batch["source"]]
        memory = cross(params["encoder"], memory, memory, is_word)
        x = params["embed"][batch["target"][:, :-1]]
        x = cross(params["decoder"], x, x, CAUSAL[:-1, :-1])
        x = cross(params["cross"], x, memory, is_word)
        losses = optax.softmax_cross_entropy_with_integer_labels(x @ params["embed"].T, batch["target"][:, 1:])
        return jnp.sum(jnp.where(batch["target"][:, 1:] > 0, losses, 0)) / jnp.sum(batch["target"][:, 1:] > 0)

    def attention(seed):
        return {"q": weights(seed, D, D), "kv": weights(seed + 1, D, 2 * D), "o": weights(seed + 2, D, D)}

    params = {"embed": normal(1, V, D), "encoder": attention(2), "decoder": attention(5), "cross": attention(8)}
    batch = {"source": whole(20, V, B, T), "target": whole(21, V, B, T)}
    return trained(loss_fn, optax.adam(1e-2, b2=0.98), params, batch)


@real
def mamba():
    """A selective state space: what is kept of the past depends on the input; an associative scan over time."""

    def loss_fn(p, tokens):
        x = p["embed"][tokens]
        u, gate = jnp.split(x @ p["in"], 2, axis=-1)
        u = jax.nn.silu(u)
        delta = jax.nn.softplus(u @ p["delta"])
        b, c = u @ p["b"], u @ p["c"]
        decay = jnp.exp(-delta[..., None] * jnp.exp(p["a"]))
        drive = (delta * u)[..., None] * b[..., None, :]

        def combine(left, right):
            return left[0] * right[0], right[0] * left[1] + right[1]

        states = lax.associative_scan(combine, (decay, drive), axis=1)[1]
        y = jnp.einsum("btdn,btn->btd", states, c) + u * p["skip"]
        logits = (x + (y * jax.nn.silu(gate)) @ p["out"]) @ p["embed"].T
        return cross_entropy(logits[:, :-1], tokens[:, 1:])

    shapes = {"in": (D, 2 * D), "delta": (D, D), "b": (D, 4), "c": (D, 4), "a": (D, 4), "out": (D, D), "embed": (V, D)}
    params = {name: weights(i, *shape) for i, (name, shape) in enumerate(shapes.items())} | {"skip": jnp.ones(D)}
    return trained(loss_fn, optax.adamw(1e-2), params, whole(9, V, B, T))


@real
def one_token_more():
    """Inference with a cache of keys and values, which is given back; the next token is drawn by a key."""

    def step(cache, token, position, key, params):
        x = params["embed"][token]
        q, k, v = (jnp.einsum("bd,dhe->bhe", x, params[name]) for name in "qkv")
        keys = lax.dynamic_update_slice_in_dim(cache["k"], k[:, None], position, axis=1)
        values = lax.dynamic_update_slice_in_dim(cache["v"], v[:, None], position, axis=1)
        seen = jnp.arange(T) <= position
        x = layer_norm(x + attend(q[:, None], keys, values, seen)[:, 0].reshape(x.shape))
        logits = (x + jax.nn.relu(x @ params["up"]) @ params["down"]) @ params["embed"].T
        key, drawn = jax.random.split(key)
        return {"k": keys, "v": values}, jax.random.categorical(drawn, logits / 0.7), position + 1, key

    cache = {name: jnp.zeros((B, T, 2, D // 2)) for name in "kv"}
    args = (cache, whole(3, V, B), jnp.int32(0), jax.random.key(4), small_params())
    return Program(step, args, batch=(0, 1), state=4)


@real
def beams_of_each_sentence():
    """Two beams for each sentence; the best of both are kept, and the past moves with them."""

    def step(past, scores, params):
        log_probs = jax.nn.log_softmax(
            params["embed"][past[:, :, -1]] @ params["up"] @ params["down"] @ params["embed"].T
        )
        total = (scores[:, :, None] + log_probs).reshape(B, -1)
        scores, best = lax.top_k(total, 2)
        rows = jnp.take_along_axis(past, (best // V)[:, :, None], axis=1)
        return jnp.concatenate([rows[:, :, 1:], (best % V)[:, :, None]], axis=2), scores

    args = (whole(1, V, B, 2, T), normal(2, B, 2), small_params())
    return Program(step, args, batch=(0, 1), state=2)


@real
def linear_attention():
    """RetNet and its kin: the sum of the past is carried over time, and each head forgets at its own pace."""

    def loss_fn(params, tokens):
        x = params["embed"][tokens]
        q, k, v = (jnp.einsum("btd,dhe->tbhe", x, params[name]) for name in "qkv")

        def step(state, now):
            q, k, v = now
            state = state * jnp.array([0.9, 0.5])[:, None, None] + k[..., :, None] * v[..., None, :]
            return state, jnp.einsum("bhd,bhde->bhe", q, state)

        out = lax.scan(step, jnp.zeros((tokens.shape[0], 2, D // 2, D // 2)), (q, k, v))[1]
        x = layer_norm(x + out.swapaxes(0, 1).reshape(x.shape))
        return cross_entropy((x @ params["embed"].T)[:, :-1], tokens[:, 1:])

    return trained(loss_fn, optax.rmsprop(1e-3), small_params(), whole(2, V, B, T))


@real
def several_tokens_ahead():
    """A head for each of the next three tokens, and a metric for each."""

    def loss_fn(params, tokens):
        x = small_model(params["trunk"], tokens)
        losses = []
        for ahead, head in enumerate(params["heads"], 1):
            logits = x @ head @ params["trunk"]["embed"].T
            losses.append(cross_entropy(logits[:, :-ahead], tokens[:, ahead:]))
        return sum(losses), {f"loss_{i}": loss for i, loss in enumerate(losses)}

    def step(params, tokens):
        (_, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, tokens)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), metrics | {"norm": optax.tree.norm(grads)}

    params = {"trunk": small_params(), "heads": [weights(50 + i, D, D) for i in range(3)]}
    return Program(step, (params, whole(2, V, B, T)))


@real
def dropless_experts():
    """Tokens sorted by expert, two experts a token; no token is dropped, and a loss balances them."""

    def experts(p, x):
        chances = jax.nn.softmax(x @ p["router"])
        gates, chosen = lax.top_k(chances, 2)
        key = chosen.reshape(-1)
        order, sizes = jnp.argsort(key), jnp.bincount(key, length=4)
        rows = jax.nn.gelu(lax.ragged_dot(x[order // 2], p["up"], sizes))
        rows = lax.ragged_dot(rows, p["down"], sizes) * gates.reshape(-1)[order][:, None]
        return jnp.zeros_like(x).at[order // 2].add(rows), chances.mean(0)

    def loss_fn(params, tokens):
        x, balance = params["embed"][tokens].reshape(-1, D), 0.0
        for p in params["blocks"]:
            made, share = experts(p, layer_norm(x))
            x, balance = x + made, balance + (share**2).sum()
        logits = (layer_norm(x) @ params["embed"].T).reshape(B, T, V)
        return cross_entropy(logits[:, :-1], tokens[:, 1:]) + 0.01 * balance

    blocks = [
        {"router": weights(60 + i, D, 4), "up": weights(70 + i, 4, D, 2 * D), "down": weights(80 + i, 4, 2 * D, D)}
        for i in range(2)
    ]
    params = {"embed": normal(59, V, D), "blocks": blocks}
    return trained(loss_fn, optax.sgd(0.1), params, whole(2, V, B, T))


@real
def dropless_experts_in_a_scan():
    """The layers are stacked, and each of them sorts its tokens by expert."""

    def layer(x, p):
        rows = layer_norm(x).reshape(-1, D)
        gates, chosen = lax.top_k(jax.nn.softmax(rows @ p["router"]), 2)
        key = chosen.reshape(-1)
        order, sizes = jnp.argsort(key), jnp.bincount(key, length=4)
        made = jax.nn.silu(lax.ragged_dot(rows[order // 2], p["up"], sizes))
        made = lax.ragged_dot(made, p["down"], sizes)[jnp.argsort(order)].reshape(-1, 2, D)
        return x + jnp.einsum("nkd,nk->nd", made, gates).reshape(x.shape), None

    def loss_fn(params, tokens):
        x, _ = lax.scan(layer, params["embed"][tokens[:, :-1]], params["blocks"])
        return cross_entropy(layer_norm(x) @ params["embed"].T, tokens[:, 1:])

    blocks = {"router": weights(60, 2, D, 4), "up": weights(70, 2, 4, D, 2 * D), "down": weights(80, 2, 4, 2 * D, D)}
    return trained(loss_fn, optax.sgd(0.1), {"embed": normal(59, V, D), "blocks": blocks}, whole(2, V, B, T))
