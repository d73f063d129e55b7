"""A Flax linen language model with Optax; only the job and `main` at the end know of atoll."""

import sys
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy
import optax
from flax.training.train_state import TrainState
from flax.traverse_util import flatten_dict

import atoll

VOCABULARY, WIDTH, HEADS, LAYERS, LENGTH, BATCH = 32, 32, 4, 2, 16, 16


class Block(nn.Module):
    """Attention to what came before, and an MLP, each added to the stream."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        mask = nn.make_causal_mask(x[..., 0])
        x = x + nn.MultiHeadDotProductAttention(HEADS, use_bias=False)(nn.LayerNorm()(x), mask=mask)
        return x + nn.Dense(WIDTH)(nn.gelu(nn.Dense(4 * WIDTH)(nn.LayerNorm()(x))))


class Model(nn.Module):
    """Tokens to the logits of those that follow; the embedding is tied."""

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        embed = nn.Embed(VOCABULARY, WIDTH, name="embed")
        positions = self.param("positions", nn.initializers.normal(0.1), (LENGTH, WIDTH))
        x = embed(tokens) + positions
        for index in range(LAYERS):
            x = Block(name=f"layer_{index}")(x)
        return embed.attend(nn.LayerNorm(name="norm")(x))


MODEL = Model()
SCHEDULE = optax.warmup_cosine_decay_schedule(0.0, 1e-2, warmup_steps=5, decay_steps=200)
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(SCHEDULE))

Params = Any  # a pytree of arrays


def init_state(key: jax.Array) -> TrainState:
    params = MODEL.init(key, jnp.zeros((1, LENGTH), jnp.int32))["params"]
    return TrainState.create(apply_fn=MODEL.apply, params=params, tx=OPTIMIZER)


def train_step(state: TrainState, tokens: jax.Array) -> tuple[TrainState, jax.Array]:
    """One step of AdamW on the mean cross-entropy of each next token."""

    def loss_fn(params: Params) -> jax.Array:
        logits = state.apply_fn({"params": params}, tokens[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

    loss, gradients = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=gradients), loss


def batch(number: int) -> numpy.ndarray:
    """Sequences that go up by a step of their own, round the vocabulary."""
    random = numpy.random.default_rng(number)
    start, stride = random.integers(0, VOCABULARY, (BATCH, 1)), random.integers(1, 4, (BATCH, 1))
    return ((start + stride * numpy.arange(LENGTH + 1)) % VOCABULARY).astype(numpy.int32)


# Shapes are enough to compile: no array is made here.
STATE = jax.eval_shape(lambda: init_state(jax.random.key(0)))
TOKENS = jax.ShapeDtypeStruct((BATCH, LENGTH + 1), jnp.int32)

job = atoll.Job(train_step, STATE, TOKENS, batch_argnums=1, donate_argnums=0)

TOPOLOGY = "2 x cpu[1]"
PLAN = atoll.Plan(stages="embed, layer_0 | layer_1, norm", microbatches=2, schedule="1f1b")


def main(kept: str | None = None, steps: int = 30) -> None:
    """Train, and keep the parameters in a file of numpy's if it is named."""
    with atoll.compile(job, topology=TOPOLOGY, plan=PLAN) as step:
        state = init_state(jax.random.key(0))
        for number in range(steps):
            state, loss = step(state, batch(number))
            if number % 10 == 9:
                print(f"step {number + 1:3}  loss {float(loss):.3f}")
        print(step.report())
    if kept:
        numpy.savez(kept, **{path: leaf.to_jax() for path, leaf in flatten_dict(state.params, sep="/").items()})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
