"""A mixture of experts that drops no token, in plain JAX; only the job and `main` at the end know of atoll."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy
import optax

import atoll

VOCABULARY, WIDTH, HIDDEN, LENGTH, LAYERS, BATCH = 32, 16, 32, 8, 2, 16
EXPERTS, CHOSEN, BALANCE = 4, 2, 0.01

Params = Any  # a pytree of arrays


def init_params(key: jax.Array) -> Params:
    """Random matrices, scaled by their fan-in."""

    def matrix(key: jax.Array, *shape: int) -> jax.Array:
        return jax.random.normal(key, shape) * shape[-2] ** -0.5

    keys = iter(jax.random.split(key, 2 + 4 * LAYERS))
    layers = [
        {
            "attention": matrix(next(keys), WIDTH, 3 * WIDTH),
            "router": matrix(next(keys), WIDTH, EXPERTS),
            "up": matrix(next(keys), EXPERTS, WIDTH, HIDDEN),
            "down": matrix(next(keys), EXPERTS, HIDDEN, WIDTH),
        }
        for _ in range(LAYERS)
    ]
    return {
        "embed": matrix(next(keys), VOCABULARY, WIDTH),
        "layers": layers,
        "head": matrix(next(keys), WIDTH, VOCABULARY),
    }


def normalised(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def attention(layer: Params, x: jax.Array) -> jax.Array:
    q, k, v = jnp.split(x @ layer["attention"], 3, axis=-1)
    scores = jnp.einsum("bqd,bkd->bqk", q, k) * WIDTH**-0.5
    scores = jnp.where(jnp.tril(jnp.ones((LENGTH, LENGTH), bool)), scores, -jnp.inf)
    return jax.nn.softmax(scores) @ v


def experts(layer: Params, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each token by the experts that its router likes best, and how unevenly they are used by the whole batch."""
    likings = jax.nn.softmax(tokens @ layer["router"])
    gates, choices = jax.lax.top_k(likings, CHOSEN)
    gates = gates / gates.sum(axis=-1, keepdims=True)

    expert = choices.reshape(-1)  # of token 0 its first and second expert, of token 1, ...
    order = jnp.argsort(expert)  # tokens of the same expert stand together
    sizes = jnp.bincount(expert, length=EXPERTS)
    rows = tokens[order // CHOSEN]
    rows = jax.lax.ragged_dot(jax.nn.gelu(jax.lax.ragged_dot(rows, layer["up"], sizes)), layer["down"], sizes)
    back = rows[jnp.argsort(order)].reshape(-1, CHOSEN, WIDTH)

    used = jax.nn.one_hot(choices, EXPERTS).mean(axis=(0, 1))  # sums to 1, as do the mean likings
    return jnp.einsum("tk,tkd->td", gates, back), EXPERTS * jnp.sum(used * likings.mean(axis=0))


def model(params: Params, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits of each next token, and the loss of balance."""
    unevenness = jnp.zeros(())
    with jax.named_scope("embed"):
        x = params["embed"][tokens]
    for index, layer in enumerate(params["layers"]):
        with jax.named_scope(f"layer_{index}"):
            x = x + attention(layer, normalised(x))
            found, uneven = experts(layer, normalised(x).reshape(-1, WIDTH))
            x, unevenness = x + found.reshape(x.shape), unevenness + uneven
    with jax.named_scope("head"):
        return normalised(x) @ params["head"], unevenness / LAYERS


def loss_fn(params: Params, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
    logits, unevenness = model(params, tokens[:, :-1])
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()
    return loss + BALANCE * unevenness, unevenness


OPTIMIZER = optax.adam(1e-2)


def init_state(key: jax.Array) -> tuple[Params, Any]:
    params = init_params(key)
    return params, OPTIMIZER.init(params)


def train_step(state: tuple[Params, Any], tokens: jax.Array) -> tuple[tuple[Params, Any], jax.Array, jax.Array]:
    """One step of Adam; returns the state, the loss, and how unevenly the experts were used (1 is evenly)."""
    params, memory = state
    (loss, unevenness), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params, tokens)
    updates, memory = OPTIMIZER.update(gradients, memory)
    return (optax.apply_updates(params, updates), memory), loss, unevenness


def batch(number: int) -> numpy.ndarray:
    """Sequences that go up by a step of their own, round the vocabulary."""
    random = numpy.random.default_rng(number)
    start, stride = random.integers(0, VOCABULARY, (BATCH, 1)), random.integers(1, 4, (BATCH, 1))
    return ((start + stride * numpy.arange(LENGTH + 1)) % VOCABULARY).astype(numpy.int32)


STATE = jax.eval_shape(lambda: init_state(jax.random.key(0)))
TOKENS = jax.ShapeDtypeStruct((BATCH, LENGTH + 1), jnp.int32)

job = atoll.Job(train_step, STATE, TOKENS, batch_argnums=1, donate_argnums=0)

TOPOLOGY = "2 x cpu[1]"
PLAN = atoll.Plan(stages="embed, layer_0 | layer_1, head", microbatches=2, schedule="1f1b")


def main(steps: int = 30) -> None:
    with atoll.compile(job, topology=TOPOLOGY, plan=PLAN) as step:
        state = init_state(jax.random.key(0))
        for number in range(steps):
            state, loss, unevenness = step(state, batch(number))
            if number % 10 == 9:
                print(f"step {number + 1:3}  loss {float(loss):.3f}  unevenness {float(unevenness):.2f}")
        print(step.report())


if __name__ == "__main__":
    main()
