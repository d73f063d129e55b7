"""What programs that treat examples alike are made of. Sizes coincide on purpose."""

import functools

import jax
import jax.numpy as jnp
import numpy

B, T, D = 4, 4, 4


PROGRAMS = {}
# Along which axes arguments have the batch, as `batch_axes` takes it, of programs whose arguments say it so.
AXES = {}
# The type to which a program rounds what it returns in a wider one; None if it does not.
ROUNDED_TO = {}


def normal(seed, *shape, scale=1.0):
    return scale * numpy.random.default_rng(seed).normal(size=shape)


def accepted(*args, batch=(1,), axes=None, rounded_to=None):
    """Add a function with its arguments to those that must be accepted; the second argument is the batch.

    axes: instead of `batch`: for each argument where its leaves have the batch.
    """

    def add(fn):
        PROGRAMS[fn.__name__] = (fn, args, () if axes else batch)
        AXES[fn.__name__] = axes
        ROUNDED_TO[fn.__name__] = rounded_to
        return fn

    return add


def grads(loss):
    """Value and gradient of a loss: comparing updated parameters alone has hidden wrong gradients."""

    @functools.wraps(loss)
    def step(params, *batch):
        return jax.value_and_grad(loss)(params, *batch)

    return step


W, X, Y = normal(1, D, D, scale=0.5), normal(2, B, D), normal(3, B, D)
SEQUENCE = normal(4, B, T, D)
LABELS = numpy.arange(B) % D
TOKENS = (numpy.arange(B * T).reshape(B, T) * 7) % 5
WEIGHTS = numpy.array([1.0, 0.0, 2.0, 1.0])
MASK = numpy.arange(B * T).reshape(B, T) % 3 > 0
LAYERS = [{"w": normal(10 + i, D, D, scale=0.5), "b": normal(20 + i, D)} for i in range(3)]
STACK = {"w": normal(30, 3, D, D, scale=0.5), "b": normal(31, 3, D)}
IMAGES = normal(5, B, 6, 6, 2)
KERNEL = normal(6, 3, 3, 2, 3, scale=0.3)
KEY = numpy.array([7, 9], "uint32")


def mlp(layers, x):
    for layer in layers:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x


def square(a, b):
    return jnp.mean((a - b) ** 2)


def norm(x, axes=-1):
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / jnp.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + 1e-5)
