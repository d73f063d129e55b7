"""LoRA for the model of the linen example; only the job and `main` at the end know of atoll."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy
import optax
from atoll.examples.linen.train import BATCH, LENGTH, VOCABULARY, Model, init_state
from flax.traverse_util import flatten_dict, unflatten_dict

import atoll

RANK, TUNED = 2, "layer_1"

OPTIMIZER = optax.adamw(2e-2)

Params = dict[str, Any]  # by path, such as layer_1/Dense_0/kernel
State = dict[str, Any]


def init_adapters(key: jax.Array, frozen: Params) -> State:
    """For each matrix of the tuned layer two narrow ones, whose product is zero at first; and Adam's memory."""
    kernels = [path for path in frozen if path.startswith(TUNED) and path.endswith("kernel")]
    adapters = {}
    for path, own in zip(kernels, jax.random.split(key, len(kernels)), strict=True):
        fan_in, *out = frozen[path].shape
        down = jax.random.normal(own, (fan_in, RANK)) * fan_in**-0.5
        adapters[path] = {"down": down, "up": jnp.zeros((RANK, *out))}
    return {"adapters": adapters, "memory": OPTIMIZER.init(adapters)}


def merged(frozen: Params, adapters: Params) -> Params:
    """The parameters that the model is applied with."""
    changed = {path: frozen[path] + jnp.tensordot(pair["down"], pair["up"], 1) for path, pair in adapters.items()}
    return unflatten_dict({**frozen, **changed}, sep="/")


def train_step(state: State, frozen: Params, tokens: jax.Array) -> tuple[State, jax.Array]:
    """One step of AdamW; only the adapters have gradients."""

    def loss_fn(adapters: Params) -> jax.Array:
        logits = Model().apply({"params": merged(frozen, adapters)}, tokens[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

    loss, gradients = jax.value_and_grad(loss_fn)(state["adapters"])
    updates, memory = OPTIMIZER.update(gradients, state["memory"], state["adapters"])
    return {"adapters": optax.apply_updates(state["adapters"], updates), "memory": memory}, loss


def batch(number: int) -> numpy.ndarray:
    """What the model was not trained for: sequences that go down."""
    random = numpy.random.default_rng(number)
    start, stride = random.integers(0, VOCABULARY, (BATCH, 1)), random.integers(1, 4, (BATCH, 1))
    return ((start - stride * numpy.arange(LENGTH + 1)) % VOCABULARY).astype(numpy.int32)


FROZEN = flatten_dict(jax.eval_shape(lambda: init_state(jax.random.key(0))).params, sep="/")
STATE = jax.eval_shape(lambda: init_adapters(jax.random.key(0), FROZEN))
TOKENS = jax.ShapeDtypeStruct((BATCH, LENGTH + 1), jnp.int32)

job = atoll.Job(train_step, STATE, FROZEN, TOKENS, batch_argnums=2, donate_argnums=0)

TOPOLOGY = "2 x cpu[1]"
PLAN = atoll.Plan(stages="embed, layer_0 | layer_1, norm", microbatches=2, schedule="1f1b")


def main(given: str, steps: int = 30) -> None:
    with atoll.compile(job, topology=TOPOLOGY, plan=PLAN) as step:
        state = init_adapters(jax.random.key(0), FROZEN)
        frozen = dict(numpy.load(given))
        state, frozen, _ = step.put(state, frozen, batch(0))  # the frozen parameters go to their islands once
        for number in range(steps):
            state, loss = step(state, frozen, batch(number))
            if number % 10 == 9:
                print(f"step {number + 1:3}  loss {float(loss):.3f}")
        print(step.report())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("name the file of the model's parameters; `python examples/linen/train.py base.npz` writes one")
    main(sys.argv[1])
