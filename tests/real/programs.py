"""What programs of everyday code are made of, and the list of them."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy
import optax

# How many examples a batch has: four microbatches of each of two replicas share them.
B = 8

# Why a plan that divides the batch is refused: headings of "What is refused" in docs/microbatches.md.
LOOPED = "A sum that is used before the loop around it is left"


@dataclass(frozen=True)
class Program:
    """A function as its user has it, with arguments.

    batch: the arguments with the examples along axis 0. axes: instead, where each leaf has them, as `batch_axes` says.
    state: how many of the first arguments the first results replace in the next step; they are donated.
    """

    step: Callable[..., Any]
    args: tuple[Any, ...]
    batch: tuple[int, ...] = (1,)
    axes: Any = None
    state: int = 1


@dataclass(frozen=True)
class Entry:
    """How a program is made, and what is known of it.

    double: whether it is computed in float64, as a rounding error decides a step in float32.
    refused: why plans that divide the batch refuse it, None if none does; naming: what the error says, a pattern.
    at: the function that has the marked lines, if not the one that makes the program.
    wrong: why it is known to fail by plans that divide the batch, where it should not.
    """

    build: Callable[[], Program]
    double: bool = False
    refused: str | None = None
    naming: str = ""
    at: Callable[..., Any] | None = None
    wrong: str | None = None


PROGRAMS: dict[str, Entry] = {}


def real(build: Callable[[], Program] | None = None, **known: Any) -> Any:
    """Add a program. The lines at which it may be refused have the comment `# refused`."""
    if build is None:
        return lambda build: real(build, **known)
    assert build.__name__ not in PROGRAMS
    PROGRAMS[build.__name__] = Entry(build, **known)
    return build


def normal(seed: int, *shape: int, scale: float = 1.0) -> jax.Array:
    """By numpy, since jax compiles a program for every shape."""
    return jnp.asarray(scale * numpy.random.default_rng(seed).standard_normal(shape))


def whole(seed: int, most: int, *shape: int) -> jax.Array:
    """Whole numbers, below `most`."""
    return jnp.asarray(numpy.random.default_rng(seed).integers(0, most, shape), jnp.int32)


def weights(seed: int, *shape: int) -> jax.Array:
    """A matrix, or several, of a size that keeps that of what goes through."""
    return normal(seed, *shape, scale=shape[-2] ** -0.5)


def layers(seed: int, *widths: int) -> list[dict[str, jax.Array]]:
    pairs = enumerate(itertools.pairwise(widths))
    return [{"w": weights(seed + number, *pair), "b": jnp.zeros(pair[1])} for number, pair in pairs]


def mlp(params: list[dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])  # refused
    return x @ params[-1]["w"] + params[-1]["b"]  # refused


def layer_norm(x: jax.Array) -> jax.Array:
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def trained(loss: Callable[..., Any], optimizer: optax.GradientTransformation, params: Any, *batch: Any) -> Program:
    """The step that most people write. It returns its gradients too: updated parameters alone can hide wrong ones."""

    def step(state, *batch):
        params, memory = state
        value, gradients = jax.value_and_grad(loss)(params, *batch)
        updates, memory = optimizer.update(gradients, memory, params)
        return (optax.apply_updates(params, updates), memory), value, gradients

    return Program(step, ((params, optimizer.init(params)), *batch), batch=tuple(range(1, 1 + len(batch))))
