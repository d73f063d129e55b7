"""Layers that normalise, convolve and pool."""

import jax
import jax.numpy as jnp
from accepted import IMAGES, KERNEL, LABELS, B, D, W, X, accepted, grads, norm, normal, square
from jax import lax

# Normalisation


@accepted({"scale": normal(1, D), "w": W}, X)
@grads
def layer_norm(params, x):
    return jnp.mean((norm(x @ params["w"]) * params["scale"]) ** 3)


@accepted({"scale": normal(1, D), "w": W}, X)
@grads
def rms_norm(params, x):
    x = x @ params["w"]
    return jnp.mean(jnp.tanh(x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * params["scale"]))


@accepted(KERNEL, IMAGES)
@grads
def group_norm(kernel, images):
    x = convolve(images, jnp.concatenate([kernel, kernel[..., :1]], -1))
    groups = x.reshape(B, 6, 6, 2, 2)
    return jnp.mean(norm(groups, (1, 2, 4)).reshape(x.shape) ** 3)


@accepted(KERNEL, IMAGES)
@grads
def instance_norm(kernel, images):
    return jnp.mean(norm(convolve(images, kernel), (1, 2)) ** 3)


@accepted({"w": W, "mean": normal(2, D), "variance": normal(3, D) ** 2}, X)
@grads
def batch_norm_in_inference(params, x):
    return jnp.mean(jnp.tanh((x @ params["w"] - params["mean"]) / jnp.sqrt(params["variance"] + 1e-5)))


@accepted(W, X)
def running_statistics_for_later(w, x):
    y = x @ w
    return y, 0.9 * w[0] + 0.1 * y.mean(0), (y**2).mean(0) - y.mean(0) ** 2


# Convolution and pooling


def convolve(images, kernel, **options):
    return lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )


def pool(x, initial, function):
    return lax.reduce_window(x, initial, function, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


@accepted({"kernel": KERNEL, "head": normal(7, 27, D)}, IMAGES, LABELS, batch=(1, 2))
@grads
def convolution_and_max_pooling(params, images, labels):
    x = pool(jax.nn.relu(convolve(images, params["kernel"])), -jnp.inf, lax.max)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x.reshape(B, -1) @ params["head"]), labels[:, None], 1))


@accepted(KERNEL, IMAGES)
@grads
def average_pooling(kernel, images):
    return jnp.mean(pool(convolve(images, kernel), 0.0, lax.add) ** 2)


@accepted(KERNEL, IMAGES)
@grads
def global_average_pooling(kernel, images):
    return jnp.mean(jnp.tanh(convolve(images, kernel).mean((1, 2))))


@accepted(normal(1, 3, 3, 1, 4), IMAGES)
@grads
def depthwise_convolution(kernel, images):
    return jnp.mean(convolve(images, kernel, feature_group_count=2) ** 2)


@accepted(normal(1, 3, 2, 3), normal(2, B, 2, 8))
@grads
def dilated_convolution_over_time(kernel, x):
    y = lax.conv_general_dilated(x, kernel, (1,), [(4, 0)], rhs_dilation=(2,), dimension_numbers=("NCH", "HIO", "NCH"))
    return jnp.mean(y**2)


@accepted(KERNEL, IMAGES)
@grads
def strided_and_transposed_convolution(kernel, images):
    down = lax.conv_general_dilated(images, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    up = lax.conv_transpose(down, kernel.swapaxes(2, 3), (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return square(up, images)


@accepted(KERNEL, IMAGES.transpose(0, 3, 1, 2))
@grads
def convolution_of_channels_first(kernel, images):
    return jnp.mean(lax.conv_general_dilated(images, kernel.transpose(3, 2, 0, 1), (1, 1), "VALID") ** 2)


@accepted(normal(1, 2, 2), IMAGES)
@grads
def resized_images(w, images):
    return jnp.mean((jax.image.resize(images, (B, 3, 9, 2), "bilinear") @ w) ** 2)
