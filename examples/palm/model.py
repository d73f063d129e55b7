"""The model and its loss.

What differs from the decoder of `examples/decoder.py` is what the paper chose: attention and feed-forward layer stand
side by side on one norm, all heads share a key and a value, the feed-forward layer is gated by swish, positions are
rotations, the embedding is the output matrix too, and nothing has a bias. The layers are stacked and scanned over, so
that the traced program is as long for 118 layers as for 4; each is computed again in the backward pass.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from atoll.examples.palm.sizes import Size

Params = Any  # a pytree of arrays
_Value = TypeVar("_Value")
Stream = Callable[[jax.Array], jax.Array]  # what is done with the activations between layers

_STACKED = "layers"  # the parameters of all layers, with the layer as their first dimension
_Z_LOSS = 1e-4
_EPSILON = 1e-6  # keeps the norm of a constant vector finite


def init_params(key: jax.Array, size: Size) -> Params:
    """Random parameters: matrices scaled by their fan-in, norms at one, embeddings at variance one.

    Embeddings are that large because no norm follows them; `logits` makes up for it where they are used again.
    """
    width, heads, head_width, hidden = size.width, size.heads, size.head_width, size.hidden
    keys = iter(jax.random.split(key, 8))

    def stack(*shape: int, fan_in: int) -> jax.Array:
        return jax.random.normal(next(keys), (size.layers, *shape)) * fan_in**-0.5

    return {
        "embedding": jax.random.normal(next(keys), (size.vocabulary, width)),
        _STACKED: {
            "norm": jnp.ones((size.layers, width)),
            "query": stack(width, heads, head_width, fan_in=width),
            "key": stack(width, head_width, fan_in=width),
            "value": stack(width, head_width, fan_in=width),
            "out": stack(heads, head_width, width, fan_in=heads * head_width),
            "gate": stack(width, hidden, fan_in=width),
            "up": stack(width, hidden, fan_in=width),
            "down": stack(hidden, width, fan_in=hidden),
        },
        "norm": jnp.ones(width),
    }


def stacked(params: Params) -> Params:
    """For every leaf of the parameters, whether its first dimension counts layers."""
    return {name: jax.tree.map(lambda _, at=name: at == _STACKED, part) for name, part in params.items()}


def normalise(x: jax.Array, scale: jax.Array) -> jax.Array:
    """A layer norm without bias, in float32."""
    exact = x.astype(jnp.float32)
    centred = exact - jnp.mean(exact, axis=-1, keepdims=True)
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    return (centred * jax.lax.rsqrt(variance + _EPSILON) * scale).astype(x.dtype)


def rotations(length: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine of the angle by which each position turns each pair of elements."""
    frequencies = 10_000.0 ** -(jnp.arange(0, width, 2) / width)
    angles = jnp.arange(length)[:, None] * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, cosine: jax.Array, sine: jax.Array) -> jax.Array:
    """Turn the pairs of the last dimension by the position that stands in dimension 1.

    Products of two rotated vectors depend on the distance of their positions alone. A pair is an element of the first
    half and one of the second: that needs no shuffle.
    """
    between = (1,) * (x.ndim - 3)  # such as heads
    cosine, sine = (angle.reshape(x.shape[1], *between, -1) for angle in (cosine, sine))
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cosine - second * sine, first * sine + second * cosine], axis=-1)
    return turned.astype(x.dtype)


def attention(layer: Params, x: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Causal attention; all heads look at the same keys and values."""
    length, head_width = x.shape[1], layer["key"].shape[-1]
    query = rotate(jnp.einsum("btd,dhq->bthq", x, layer["query"]), *angles)
    key, value = rotate(x @ layer["key"], *angles), x @ layer["value"]
    scores = jnp.einsum("bthq,bsq->bhts", query, key).astype(jnp.float32) * head_width**-0.5
    scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
    mixed = jnp.einsum("bhts,bsq->bthq", jax.nn.softmax(scores).astype(x.dtype), value)
    return jnp.einsum("bthq,hqd->btd", mixed, layer["out"])


def feed_forward(layer: Params, x: jax.Array) -> jax.Array:
    """SwiGLU: one product gates the other."""
    return (jax.nn.silu(x @ layer["gate"]) * (x @ layer["up"])) @ layer["down"]


def as_it_is(x: _Value) -> _Value:
    """On one device, or wherever the compiler likes."""
    return x


def logits(params: Params, tokens: jax.Array, size: Size, stream: Stream = as_it_is) -> jax.Array:
    """Next-token logits for every position, in float32.

    stream: says how the activations are divided over devices, for a model that is.
    """
    angles = rotations(tokens.shape[1], size.head_width)

    def apply(x: jax.Array, layer: Params) -> tuple[jax.Array, None]:
        normal = normalise(x, layer["norm"])
        layer = jax.tree.map(lambda weight: weight.astype(x.dtype), layer)
        return stream(x + attention(layer, normal, angles) + feed_forward(layer, normal)), None

    with jax.named_scope("embed"):
        x = stream(params["embedding"].astype(size.dtype)[tokens])
    with jax.named_scope("layers"):
        # The loop keeps XLA from merging the second computation of a layer with the first; no barrier is needed.
        x, _ = jax.lax.scan(jax.checkpoint(apply, prevent_cse=False), x, params[_STACKED])
    with jax.named_scope("head"):
        x = normalise(x, params["norm"])
        scores = jnp.einsum("btd,vd->btv", x, params["embedding"].astype(x.dtype))
        return scores.astype(jnp.float32) * size.width**-0.5


def loss_fn(params: Params, tokens: jax.Array, size: Size, stream: Stream = as_it_is) -> jax.Array:
    """Mean cross-entropy of predicting each token from those before it, plus the z-loss.

    The z-loss draws the logarithm of softmax's normaliser to 0, where the logits have the most precision.
    """
    scores = logits(params, tokens[:, :-1], size, stream)
    normaliser = jax.nn.logsumexp(scores, axis=-1)
    chosen = jnp.take_along_axis(scores, tokens[:, 1:, None], axis=-1)[..., 0]
    return jnp.mean(normaliser - chosen) + _Z_LOSS * jnp.mean(normaliser * normaliser)
