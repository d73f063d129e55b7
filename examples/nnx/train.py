"""A Flax NNX classifier of sequences, with dropout; only the job and `main` at the end know of atoll."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy
import optax
from flax import nnx

import atoll

FEATURES, WIDTH, LENGTH, CLASSES, LAYERS, BATCH = 6, 16, 8, 4, 2, 16


class Block(nnx.Module):
    """Mixes the places of a sequence, and then the numbers at each place."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.mix = nnx.Linear(LENGTH, LENGTH, rngs=rngs)
        self.up = nnx.Linear(WIDTH, 2 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.mix(self.norm(x).swapaxes(1, 2)).swapaxes(1, 2)
        return x + self.dropout(self.down(nnx.gelu(self.up(x))))


class Model(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Linear(FEATURES, WIDTH, rngs=rngs)
        self.blocks = nnx.List(Block(rngs) for _ in range(LAYERS))
        self.head = nnx.Linear(WIDTH, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(axis=1))


State = nnx.State[Any, Any]


def create() -> tuple[Model, nnx.Optimizer[Model]]:
    model = Model(nnx.Rngs(0, dropout=1))
    return model, nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)


# NNX parts what never changes in a training from its state: parameters, moments, and the counts of random keys.
GRAPH, STATE = nnx.split(nnx.eval_shape(create))


def train_step(state: State, x: jax.Array, labels: jax.Array) -> tuple[State, jax.Array]:
    """One step of Adam on the mean cross-entropy."""
    model, optimizer = nnx.merge(GRAPH, state)

    def loss_fn(model: Model) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), labels).mean()

    loss, gradients = nnx.value_and_grad(loss_fn)(model)
    optimizer.update(model, gradients)
    return nnx.state((model, optimizer)), loss


def batch(number: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Waves of four frequencies, which are the labels, in noise."""
    random = numpy.random.default_rng(number)
    labels = random.integers(0, CLASSES, BATCH)
    phases = random.uniform(0, 6, (BATCH, 1, FEATURES))
    waves = numpy.sin(phases + (labels[:, None, None] + 1) * 0.7 * numpy.arange(LENGTH)[:, None])
    x = waves + 0.1 * random.standard_normal((BATCH, LENGTH, FEATURES))
    return x.astype(numpy.float32), labels.astype(numpy.int32)


X = jax.ShapeDtypeStruct((BATCH, LENGTH, FEATURES), jnp.float32)
LABELS = jax.ShapeDtypeStruct((BATCH,), jnp.int32)

job = atoll.Job(train_step, STATE, X, LABELS, batch_argnums=(1, 2), donate_argnums=0)

TOPOLOGY = "2 x cpu[1]"

# NNX sets no scopes, so stages are named by the parameters' paths.
PLAN = atoll.Plan(stages="embed, blocks/0 | blocks/1, head", microbatches=2, schedule="zb-h1")


def main(steps: int = 30) -> None:
    with atoll.compile(job, topology=TOPOLOGY, plan=PLAN) as step:
        state = nnx.state(create())
        for number in range(steps):
            state, loss = step(state, *batch(number))
            if number % 10 == 9:
                print(f"step {number + 1:3}  loss {float(loss):.3f}")
        print(step.report())


if __name__ == "__main__":
    main()
