"""A residual network with batch statistics, in Flax linen; only the job and `main` at the end know of atoll."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy
import optax

import atoll

SIZE, WIDTH, CLASSES, BATCH = 8, 8, 4, 16


class Block(nn.Module):
    """Two convolutions, each normalised by the statistics of the whole batch, and what went in."""

    @nn.compact
    def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
        h = nn.Conv(WIDTH, (3, 3), use_bias=False)(x)
        h = nn.relu(nn.BatchNorm(use_running_average=not is_training)(h))
        h = nn.Conv(WIDTH, (3, 3), use_bias=False)(h)
        return nn.relu(x + nn.BatchNorm(use_running_average=not is_training)(h))


class ResNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, is_training: bool) -> jax.Array:
        x = nn.Conv(WIDTH, (3, 3), name="stem")(x)
        x = Block(name="block_0")(x, is_training)
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = Block(name="block_1")(x, is_training)
        return nn.Dense(CLASSES, name="head")(x.mean(axis=(1, 2)))


MODEL = ResNet()
OPTIMIZER = optax.sgd(0.1, momentum=0.9)

Params = Any  # a pytree of arrays
State = dict[str, Any]


def init_state(key: jax.Array) -> State:
    """Parameters, running statistics, and the optimizer's momentum."""
    variables = MODEL.init(key, jnp.zeros((1, SIZE, SIZE, 3)), is_training=False)
    return {**variables, "momentum": OPTIMIZER.init(variables["params"])}


def train_step(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, jax.Array]:
    """One step of SGD on the mean cross-entropy; the running statistics move towards those of this batch."""

    def loss_fn(params: Params) -> tuple[jax.Array, Params]:
        variables = {"params": params, "batch_stats": state["batch_stats"]}
        logits, changed = MODEL.apply(variables, images, is_training=True, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), changed["batch_stats"]

    (loss, statistics), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state["params"])
    updates, momentum = OPTIMIZER.update(gradients, state["momentum"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    return {"params": params, "batch_stats": statistics, "momentum": momentum}, loss


def batch(number: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Gratings in four directions, which are the labels, in noise."""
    random = numpy.random.default_rng(number)
    labels = random.integers(0, CLASSES, BATCH)
    angles = labels[:, None, None] * numpy.pi / CLASSES
    rows, columns = numpy.mgrid[:SIZE, :SIZE]
    phases = random.uniform(0, 6, (BATCH, 1, 1))
    waves = numpy.sin(1.5 * (numpy.cos(angles) * rows + numpy.sin(angles) * columns) + phases)
    images = waves[..., None] + 0.2 * random.standard_normal((BATCH, SIZE, SIZE, 3))
    return images.astype(numpy.float32), labels.astype(numpy.int32)


STATE = jax.eval_shape(lambda: init_state(jax.random.key(0)))
IMAGES = jax.ShapeDtypeStruct((BATCH, SIZE, SIZE, 3), jnp.float32)
LABELS = jax.ShapeDtypeStruct((BATCH,), jnp.int32)

job = atoll.Job(train_step, STATE, IMAGES, LABELS, batch_argnums=(1, 2), donate_argnums=0)

TOPOLOGY = "2 x cpu[1]"

# Two ways to divide a batch whose examples need its statistics; the README says what each costs.
REPLICAS = atoll.Plan(stages=1, replicas=2, microbatches=1, schedule="gpipe")
STAGES = atoll.Plan(stages="stem, block_0 | block_1, head", microbatches=2, schedule="gpipe")
PLAN = REPLICAS


def main(steps: int = 20) -> None:
    print(atoll.lower(job, topology=TOPOLOGY, plan=STAGES).report())
    with atoll.compile(job, topology=TOPOLOGY, plan=REPLICAS) as step:
        state = init_state(jax.random.key(0))
        for number in range(steps):
            state, loss = step(state, *batch(number))
            if number % 5 == 4:
                print(f"step {number + 1:3}  loss {float(loss):.3f}")
        print(step.report())


if __name__ == "__main__":
    main()
