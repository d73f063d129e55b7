"""A denoiser in Equinox, written for one example; only the job and `main` at the end know of atoll."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy
import optax

import atoll

WIDTH, LAYERS, BATCH = 32, 3, 16


class Block(eqx.Module):
    norm: eqx.nn.LayerNorm
    up: eqx.nn.Linear
    down: eqx.nn.Linear

    def __init__(self, key: jax.Array) -> None:
        first, second = jax.random.split(key)
        self.norm = eqx.nn.LayerNorm(WIDTH)
        self.up = eqx.nn.Linear(WIDTH, 2 * WIDTH, key=first)
        self.down = eqx.nn.Linear(2 * WIDTH, WIDTH, key=second)

    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self.down(jax.nn.silu(self.up(self.norm(x))))


class Denoiser(eqx.Module):
    """Tells the noise in a noisy point of the plane, given how much of it there is."""

    embed: eqx.nn.Linear
    blocks: list[Block]
    head: eqx.nn.Linear

    def __init__(self, key: jax.Array) -> None:
        keys = jax.random.split(key, LAYERS + 2)
        self.embed = eqx.nn.Linear(3, WIDTH, key=keys[0])
        self.blocks = [Block(key) for key in keys[1:-1]]
        self.head = eqx.nn.Linear(WIDTH, 2, key=keys[-1])

    def __call__(self, point: jax.Array, level: jax.Array) -> jax.Array:
        x = self.embed(jnp.append(point, level))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))

# Equinox parts the arrays of a model from its functions and settings.
SHAPES, SETTINGS = eqx.partition(eqx.filter_eval_shape(lambda: Denoiser(jax.random.key(0))), eqx.is_inexact_array_like)

State = tuple[Denoiser, Any, jax.Array]


def init_state(key: jax.Array) -> State:
    """The arrays of the model, what the optimizer remembers, and a key for the noise."""
    params = eqx.filter(Denoiser(key), eqx.is_inexact_array)
    return params, OPTIMIZER.init(params), key


def train_step(state: State, points: jax.Array) -> tuple[State, jax.Array]:
    """Every point gets noise of its own, and the model learns to tell it."""
    params, memory, key = state
    key, for_noise, for_levels = jax.random.split(key, 3)
    noise = jax.random.normal(for_noise, points.shape)
    levels = jax.random.uniform(for_levels, points.shape[:1])
    noisy = jnp.sqrt(1 - levels[:, None]) * points + jnp.sqrt(levels[:, None]) * noise

    def loss_fn(params: Denoiser) -> jax.Array:
        found = jax.vmap(eqx.combine(params, SETTINGS))(noisy, levels)
        return jnp.mean((found - noise) ** 2)

    loss, gradients = eqx.filter_value_and_grad(loss_fn)(params)
    updates, memory = OPTIMIZER.update(gradients, memory, params)
    return (eqx.apply_updates(params, updates), memory, key), loss


def batch(number: int) -> numpy.ndarray:
    """Points of two half-moons."""
    random = numpy.random.default_rng(number)
    angles, is_lower = random.uniform(0, numpy.pi, BATCH), random.integers(0, 2, BATCH)
    points = numpy.stack([numpy.cos(angles), numpy.sin(angles)], axis=1) * (1 - 2 * is_lower[:, None])
    return (points + is_lower[:, None] * [1, 0.5]).astype(numpy.float32)


STATE = jax.eval_shape(lambda: init_state(jax.random.key(0)))
POINTS = jax.ShapeDtypeStruct((BATCH, 2), jnp.float32)

job = atoll.Job(train_step, STATE, POINTS, batch_argnums=1, donate_argnums=0)

TOPOLOGY = "4 x cpu[1]"

# Equinox sets no scopes: atoll finds the cut. The batch is divided over two replicas of the pipeline.
PLAN = atoll.Plan(stages=2, replicas=2, microbatches=2, schedule="1f1b")


def main(steps: int = 60) -> None:
    with atoll.compile(job, topology=TOPOLOGY, plan=PLAN) as step:
        state = init_state(jax.random.key(0))
        for number in range(steps):
            state, loss = step(state, batch(number))
            if number % 20 == 19:
                print(f"step {number + 1:3}  loss {float(loss):.3f}")
        print(step.report())


if __name__ == "__main__":
    main()
