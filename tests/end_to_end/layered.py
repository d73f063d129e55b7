"""Models whose layers are stacked: each parameter has all layers along one dimension, and a loop goes over them.

Each is a train step or an inference function as users write them, with what is to become of its loops as data. The
models are in the modules `layered_*`, by what they vary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy
import optax
import zoo

# No two are equal, so that no dimension is taken for another.
BATCH, LENGTH, WIDTH, HIDDEN, HEADS, VOCABULARY, LAYERS = 8, 5, 12, 20, 2, 17, 4
FLOAT = 4  # bytes
STREAM = BATCH * LENGTH * WIDTH * FLOAT  # the bytes between two layers


@dataclass(frozen=True)
class Loop:
    """A loop of a model.

    scope: where it is.
    layers: how many iterations it has.
    whole: why it is not split by its iterations; empty if it is split.
    """

    scope: str = "layers"
    layers: int = LAYERS
    whole: str = ""


@dataclass(frozen=True)
class Stack:
    """What is stored with all layers along a dimension: parameters, what an optimizer keeps of them, gradients, caches.

    path: a pattern for its paths among arguments and results.
    axis, size: the dimension that counts layers, and how many it has.
    loop: the scope of the loop whose split it follows.
    backward: the loop meets the last stored layer first.
    """

    path: str = r"\['layers'\]"
    axis: int = 0
    size: int = LAYERS
    loop: str = "layers"
    backward: bool = False


@dataclass(frozen=True)
class Traffic:
    """The bytes of a step between neighbouring stages, and between the first and the last; scalars apart.

    up_to: the most stages for which it is worked out.
    """

    forward: int = 0
    backward: int = 0
    ends_forward: int = 0
    ends_backward: int = 0
    up_to: int = LAYERS


TRAINED = Traffic(STREAM, STREAM)


@dataclass(frozen=True)
class Model:
    """A function with arguments, and its layer loops.

    flow: its scopes and loops, in the order in which the data meets them.
    stacks: what is divided with the loops; none of what is left out is claimed.
    traffic: what crosses between stages, where it is worked out by hand.
    mixes: the operation that makes microbatches impossible, if one does.
    is_written_out: whether several microbatches have its loops written out. Then its stacks are not divided.
    tolerance: how far results may be from those of `jax.jit`, as a part of the largest beside them.
    state_tolerance: how far the state may be after a step: optimizers that divide gradients by their size make as much
        of the rounding of a small one.
    """

    case: zoo.Case
    flow: tuple[str | Loop, ...] = (Loop(), "head")
    stacks: tuple[Stack, ...] = (Stack(),)
    traffic: Traffic | None = None
    mixes: str = ""
    is_written_out: bool = False
    tolerance: float = 1e-5
    state_tolerance: float = 1e-5

    @property
    def loops(self) -> tuple[Loop, ...]:
        return tuple(one for one in self.flow if isinstance(one, Loop))


MODELS: dict[str, Callable[[], Model]] = {}


def model(build: Callable[[], Model]) -> Callable[[], Model]:
    MODELS[build.__name__] = build
    return build


# What the models are made of.


def normal(number: int, *shape: int, scale: float = 1.0) -> jax.Array:
    """By numpy, since jax compiles a program for every shape."""
    return jnp.asarray(scale * numpy.random.default_rng(number).standard_normal(shape), jnp.float32)


def train(
    loss: Callable[..., Any],
    params: Any,
    *batch: Any,
    optimizer: optax.GradientTransformation | None = None,
    aux: bool = False,
) -> zoo.Case:
    """A train step that returns its gradients too, since updated parameters alone hide wrong ones."""
    optimizer = optimizer or optax.sgd(0.05)

    def step(state, *batch):
        params, memory = state
        value, grads = jax.value_and_grad(loss, has_aux=aux)(params, *batch)
        with jax.named_scope("update"):
            updates, memory = optimizer.update(grads, memory, params)
            return (optax.apply_updates(params, updates), memory), value, grads

    return zoo.Case(
        step, ((params, optimizer.init(params)), *batch), donate=(0,), batch=tuple(range(1, 1 + len(batch)))
    )


def stack(number: int, *lead: int) -> dict[str, jax.Array]:
    """The parameters of feed-forward layers; without other dimensions of as many as is usual."""
    lead = lead or (LAYERS,)
    return {
        "up": normal(number, *lead, WIDTH, HIDDEN, scale=0.7 * WIDTH**-0.5),
        "down": normal(number + 1, *lead, HIDDEN, WIDTH, scale=0.7 * HIDDEN**-0.5),
    }


def feed_forward(p: Any, x: jax.Array) -> jax.Array:
    return x + jnp.tanh(x @ p["up"]) @ p["down"]


def head(w: jax.Array, x: jax.Array) -> jax.Array:
    """A loss, far enough from the layers that it is no part of them."""
    with jax.named_scope("head"):
        return jnp.mean((x @ w) ** 2)


def output_matrix() -> jax.Array:
    return normal(80, WIDTH, 3, scale=0.2)


def with_head(layers: Any) -> dict[str, Any]:
    return {"layers": layers, "head": output_matrix()}


def examples(number: int = 90) -> jax.Array:
    return normal(number, BATCH, LENGTH, WIDTH)


def over_layers(body: Callable[..., Any], layers: Any, x: jax.Array, **options: Any) -> jax.Array:
    """The stream after all layers."""
    with jax.named_scope("layers"):
        return jax.lax.scan(lambda x, p: (body(p, x), None), x, layers, **options)[0]
