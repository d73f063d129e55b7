"""Train steps that are hard to cut evenly, at toy size: what grows, what is frozen, what goes over a model twice."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy
from atoll.compiler.export.job import Job

RANDOM = numpy.random.default_rng(0)


@dataclass(frozen=True)
class Model:
    """A step with its arguments. batch: the numbers of those that carry the batch."""

    step: Callable[..., Any]
    args: tuple[Any, ...]
    batch: tuple[int, ...]

    @property
    def job(self) -> Job:
        return Job(self.step, *self.args, batch_argnums=self.batch)


MODELS: dict[str, Callable[[], Model]] = {}


def model(build: Callable[[], Model]) -> Callable[[], Model]:
    MODELS[build.__name__] = build
    return build


def normal(*shape):
    """Numbers of a size that keeps what comes out of a layer as large as what goes in."""
    return RANDOM.standard_normal(shape).astype("float32") / numpy.prod(shape[:-1], initial=1) ** 0.5


def descend(params, gradients):
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients)


def trained(loss_fn):
    """A step of gradient descent on the first argument."""

    def step(params, *args):
        loss, gradients = jax.value_and_grad(loss_fn)(params, *args)
        return descend(params, gradients), loss

    return step


def conv(x, w, stride=1):
    return jax.lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def pooled(x):
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4


@model
def residual_network():
    """The bottleneck blocks of a ResNet-50: each group of blocks has twice the channels of the one before."""
    params, plan, channels = {"stem": normal(3, 3, 3, 4), "blocks": []}, [], 4
    for group, depth in enumerate((1, 2, 2, 1)):
        for number in range(depth):
            width, stride = 4 * 2**group, 2 if group and not number else 1
            block = {"in": normal(1, 1, channels, width), "mid": normal(3, 3, width, width)}
            block |= {"out": normal(1, 1, width, 4 * width), "scale": normal(4 * width) + 1}
            if channels != 4 * width or stride == 2:
                block["skip"] = normal(1, 1, channels, 4 * width)
            params["blocks"].append(block)
            plan.append(stride)
            channels = 4 * width
    params["head"] = normal(channels, 5)

    def loss_fn(params, x, y):
        x = jax.nn.relu(conv(x, params["stem"]))
        for block, stride in zip(params["blocks"], plan, strict=True):
            h = jax.nn.relu(conv(x, block["in"]))
            h = conv(jax.nn.relu(conv(h, block["mid"], stride)), block["out"]) * block["scale"]
            x = jax.nn.relu(h + (conv(x, block["skip"], stride) if "skip" in block else x))
        return jnp.mean((x.mean((1, 2)) @ params["head"] - y) ** 2)

    return Model(trained(loss_fn), (params, normal(8, 16, 16, 3), normal(8, 5)), (1, 2))


@model
def growing_network():
    """Convolutions without residuals; each halves the image and doubles the channels."""
    widths = (3, 8, 16, 32, 64, 64)
    params = [{"w": normal(3, 3, *pair), "b": normal(pair[1])} for pair in pairwise(widths)]

    def loss_fn(params, x, y):
        for layer in params:
            x = pooled(jax.nn.relu(conv(x, layer["w"]) + layer["b"]))
        return jnp.mean((x.mean((1, 2)) - y) ** 2)

    return Model(trained(loss_fn), (params, normal(8, 32, 32, 3), normal(8, 64)), (1, 2))


@model
def u_net():
    """Down and up again, with the images of the way down beside those of the way up."""
    widths = (4, 8, 16)
    down = [normal(3, 3, *pair) for pair in zip((3, *widths), widths, strict=False)]
    up = [normal(3, 3, above + width, width) for above, width in zip((16, 16, 8), widths[::-1], strict=True)]
    params = {"down": down, "middle": normal(3, 3, 16, 16), "up": up, "out": normal(1, 1, 4, 3)}

    def loss_fn(params, x, y):
        beside = []
        for w in params["down"]:
            x = jax.nn.relu(conv(x, w))
            beside.append(x)
            x = pooled(x)
        x = jax.nn.relu(conv(x, params["middle"]))
        for w, other in zip(params["up"], beside[::-1], strict=True):
            x = jnp.concatenate([x.repeat(2, 1).repeat(2, 2), other], -1)
            x = jax.nn.relu(conv(x, w))
        return jnp.mean((conv(x, params["out"]) - y) ** 2)

    return Model(trained(loss_fn), (params, normal(8, 16, 16, 3), normal(8, 16, 16, 3)), (1, 2))


def layers(count, width=32):
    return [{"w": normal(width, width), "b": normal(width)} for _ in range(count)]


def through(params, x):
    for layer in params:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x


@model
def behind_a_narrow_layer():
    """As much crosses everywhere behind the narrow layer."""
    widths = (64, 8, *[64] * 12)
    params = [{"w": normal(*pair), "b": normal(pair[1])} for pair in pairwise(widths)]
    step = trained(lambda params, x, y: jnp.mean((through(params, x) - y) ** 2))
    return Model(step, (params, normal(8, 64), normal(8, 64)), (1, 2))


def products(widths):
    """Layers of these widths, in which nothing is larger than what goes from one to the next."""

    def loss_fn(params, x, y):
        for w in params:
            x = jnp.tanh(x @ w)
        return jnp.mean((x - y) ** 2)

    params = [normal(*pair) for pair in pairwise(widths)]
    return Model(trained(loss_fn), (params, normal(8, widths[0]), normal(8, widths[-1])), (1, 2))


@model
def growing_layers():
    """More crosses behind each layer than before it, and least of all behind the mean of the loss."""
    return products((64, 80, 96, 112, 128, 144, 160, 176))


@model
def widest_in_the_middle():
    """Nowhere between the first layer and the last does less cross than on both sides."""
    return products((48, 64, 80, 96, 96, 80, 64, 48))


@model
def distillation():
    """A teacher that is frozen costs a third of a student of the same size."""

    def step(student, teacher, x):
        def loss_fn(student):
            return jnp.mean((through(student, x) - through(teacher, x)) ** 2)

        loss, gradients = jax.value_and_grad(loss_fn)(student)
        return descend(student, gradients), loss

    return Model(step, (layers(12), layers(12), normal(8, 32)), (2,))


@model
def preferences():
    """DPO in two calls: the model and its frozen reference, each over the chosen answers and then over the others."""

    def step(params, reference, chosen, rejected):
        def loss_fn(params):
            gains = [
                jnp.sum(through(params, x), axis=-1) - jnp.sum(through(reference, x), axis=-1)
                for x in (chosen, rejected)
            ]
            return -jnp.mean(jax.nn.log_sigmoid(gains[0] - gains[1]))

        loss, gradients = jax.value_and_grad(loss_fn)(params)
        return descend(params, gradients), loss

    return Model(step, (layers(12), layers(12), normal(8, 32), normal(8, 32)), (2, 3))


@model
def gradient_penalty():
    """Two ways over stacked layers, one for a gradient by the input: a layer is on one stage for both."""

    def loss_fn(params, x):
        def through_layers(x):
            return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, params)[0]

        by_x = jax.grad(lambda x: jnp.sum(through_layers(x) ** 2))(x)
        return jnp.mean(through_layers(x) ** 2) + 0.1 * jnp.mean(by_x**2)

    return Model(trained(loss_fn), (normal(8, 16, 16), normal(8, 16)), (1,))


@model
def sharpness_aware():
    """SAM: a gradient at parameters that another gradient has moved."""

    def step(params, x, y):
        def loss_fn(params):
            return jnp.mean((through(params, x) - y) ** 2)

        first = jax.grad(loss_fn)(params)
        size = jnp.sqrt(sum(jnp.sum(one**2) for one in jax.tree.leaves(first)))
        moved = jax.tree.map(lambda p, g: p + 0.05 * g / size, params, first)
        loss, gradients = jax.value_and_grad(loss_fn)(moved)
        return descend(params, gradients), loss

    return Model(step, (layers(8), normal(8, 32), normal(8, 32)), (1, 2))


@model
def encoder_and_decoder():
    """The last norm of both has one scale, and every layer of the decoder takes what comes out of the encoder."""

    def loss_fn(params, x, y):
        def normed(h):
            return h * params["scale"] / jnp.sqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-6)

        context, h = normed(through(params["encoder"], x)), x
        for layer, across in zip(params["decoder"], params["across"], strict=True):
            h = h + jnp.tanh(h @ layer["w"] + context @ across + layer["b"])
        return jnp.mean((normed(h) - y) ** 2)

    params = {"encoder": layers(8), "decoder": layers(4), "across": list(normal(4, 32, 32)), "scale": normal(32) + 1}
    return Model(trained(loss_fn), (params, normal(8, 32), normal(8, 32)), (1, 2))
