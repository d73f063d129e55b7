"""The train step of a model, and training from any step on."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from atoll.examples.palm import optimizer
from atoll.examples.palm.data import batch
from atoll.examples.palm.model import Params, Stream, as_it_is, init_params, loss_fn, stacked
from atoll.examples.palm.sizes import Size
from atoll.examples.palm.spikes import batch_number

State = Any  # a pytree of arrays


def init_state(key: jax.Array, size: Size) -> State:
    """Random parameters, what the optimizer remembers, and the number of steps done."""
    params = init_params(key, size)
    return {"params": params, "optimizer": optimizer.init(params), "step": jnp.zeros((), jnp.int32)}


def train_step_of(
    size: Size, stream: Stream = as_it_is, copied: Callable[[Params], Params] = as_it_is
) -> Callable[[State, jax.Array], tuple[State, jax.Array]]:
    """The train step of a model: state and tokens give the next state, and the loss before it.

    stream: says how the activations between layers are divided over devices.
    copied: makes of the parameters those that the model runs with; gradients are of their type until the update.
    """

    def train_step(state: State, tokens: jax.Array) -> tuple[State, jax.Array]:
        params, step = state["params"], state["step"] + 1
        loss, gradients = jax.value_and_grad(loss_fn)(copied(params), tokens, size, stream)
        gradients = jax.tree.map(lambda gradient: gradient.astype(jnp.float32), gradients)
        with jax.named_scope("update"):
            params, memory = optimizer.update(
                params, gradients, state["optimizer"], step.astype(jnp.float32), stacked(params)
            )
        return {"params": params, "optimizer": memory, "step": step}, loss

    return train_step


def shapes_of(size: Size) -> tuple[State, jax.ShapeDtypeStruct]:
    """The arguments of a train step without a number in them: all that compiling needs."""
    state = jax.eval_shape(lambda: init_state(jax.random.key(0), size))
    return state, jax.ShapeDtypeStruct((size.batch, size.length + 1), jnp.int32)


def train(
    step: Callable[[State, Any], tuple[State, Any]],
    state: State,
    steps: range,
    size: Size,
    skipped: Sequence[range] = (),
) -> tuple[State, list[float]]:
    """Run steps by number, compiled by whatever; returns the state and the loss of each.

    The numbers and the state decide everything: a run that goes on from a checkpoint has the bits of one that was
    never interrupted.
    """
    losses = []
    for number in steps:
        state, loss = step(state, batch(batch_number(number, skipped), size))
        losses.append(float(loss))
    return state, losses
