"""Ten train steps of different kinds, of a few hundred kilobytes each, for islands of CPU devices."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy

import atoll

Tree = Any  # a pytree of arrays
# What a model does with its parameters and examples.
Loss = Callable[[Tree, jax.Array], jax.Array]

BATCH = 64


def jobs() -> Mapping[str, atoll.Job]:
    """A job for each of them, with arrays to begin with."""
    return {name: _job(*made()) for name, made in _PROGRAMS.items()}


def _job(loss: Loss, params: Tree, x: numpy.ndarray[Any, Any]) -> atoll.Job:
    def train_step(params: Tree, x: jax.Array) -> tuple[Tree, jax.Array]:
        value, gradients = jax.value_and_grad(loss)(params, x)
        return jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradients), value

    return atoll.Job(train_step, params, x, batch_argnums=1)


def _weights(*shapes: Sequence[int]) -> list[numpy.ndarray[Any, Any]]:
    numbers = numpy.random.default_rng(len(shapes))
    return [(numbers.normal(size=shape) / numpy.sqrt(numpy.prod(shape[:-1]))).astype("float32") for shape in shapes]


def _examples(*shape: int) -> numpy.ndarray[Any, Any]:
    return numpy.random.default_rng(0).normal(size=(BATCH, *shape)).astype("float32")


_Made = tuple[Loss, Tree, "numpy.ndarray[Any, Any]"]


def _chain(layer: Callable[[Any, jax.Array], jax.Array]) -> Loss:
    """A loss of layers that follow each other, each in a scope."""

    def loss(params: Tree, x: jax.Array) -> jax.Array:
        for number, weights in enumerate(params):
            with jax.named_scope(f"layer_{number}"):
                x = layer(weights, x)
        return jnp.mean(x**2)

    return loss


def _dense(weights: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.tanh(x @ weights)


def _wide() -> _Made:
    return _chain(_dense), _weights(*[(1024, 1024)] * 4), _examples(1024)


def _deep() -> _Made:
    return _chain(_dense), _weights(*[(384, 384)] * 16), _examples(384)


def _growing() -> _Made:
    widths = (128, 256, 384, 512, 768, 1024, 1536)
    return _chain(_dense), _weights(*pairwise(widths)), _examples(128)


def _bottleneck() -> _Made:
    widths = (1024, 512, 256, 64, 256, 512, 1024)
    return _chain(_dense), _weights(*pairwise(widths)), _examples(1024)


def _attention() -> _Made:
    def layer(weights: Sequence[jax.Array], x: jax.Array) -> jax.Array:
        mix, up, down = weights
        query, key, value = jnp.split(x @ mix, 3, axis=-1)
        x = x + jax.nn.softmax(query @ key.swapaxes(1, 2) / 16, axis=-1) @ value
        return x + jax.nn.gelu(x @ up) @ down

    layers = [_weights((128, 384), (128, 512), (512, 128)) for _ in range(6)]
    return _chain(layer), layers, _examples(32, 128)


def _convolutions() -> _Made:
    def layer(weights: jax.Array, x: jax.Array) -> jax.Array:
        strides = (2, 2) if weights.shape[3] > weights.shape[2] else (1, 1)
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.nn.relu(jax.lax.conv_general_dilated(x, weights, strides, "SAME", dimension_numbers=numbers))

    widths = (8, 8, 16, 16, 32, 32, 64, 64)
    return (
        _chain(layer),
        _weights(*((3, 3, a, b) for a, b in pairwise(widths))),
        _examples(16, 16, 8),
    )


def _experts() -> _Made:
    def layer(weights: Sequence[jax.Array], x: jax.Array) -> jax.Array:
        gate, up, down = weights
        chosen = jax.nn.softmax(x @ gate)
        return x + jnp.einsum("be,ebd->bd", chosen, jnp.tanh(x @ up) @ down)

    layers = [_weights((256, 4), (4, 256, 512), (4, 512, 256)) for _ in range(4)]
    return _chain(layer), layers, _examples(256)


def _costly_head() -> _Made:
    return _chain(_dense), _weights(*[(256, 256)] * 8, (256, 4096)), _examples(256)


def _distilled() -> _Made:
    """A frozen teacher beside a student: only the student goes back."""
    teacher, student = _weights(*[(512, 512)] * 6), _weights(*[(512, 512)] * 4)

    def loss(params: Tree, x: jax.Array) -> jax.Array:
        wanted = own = x
        for number, weights in enumerate(teacher):
            with jax.named_scope(f"teacher_{number}"):
                wanted = _dense(weights, wanted)
        for number, weights in enumerate(params):
            with jax.named_scope(f"student_{number}"):
                own = _dense(weights, own)
        return jnp.mean((own - jax.lax.stop_gradient(wanted)) ** 2)

    return loss, student, _examples(512)


def _stacked() -> _Made:
    """A loop over layers."""

    def loss(params: Tree, x: jax.Array) -> jax.Array:
        with jax.named_scope("layers"):
            x, _ = jax.lax.scan(lambda x, weights: (x + _dense(weights, x), None), x, params)
        return jnp.mean(x**2)

    return loss, numpy.stack(_weights(*[(512, 512)] * 8)), _examples(512)


_PROGRAMS: Mapping[str, Callable[[], _Made]] = {
    "wide": _wide,
    "deep": _deep,
    "growing": _growing,
    "bottleneck": _bottleneck,
    "attention": _attention,
    "convolutions": _convolutions,
    "experts": _experts,
    "costly head": _costly_head,
    "distilled": _distilled,
    "stacked": _stacked,
}
