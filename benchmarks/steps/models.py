"""Train steps by Adam, as a whole and by layers.

The models are tiny: what is measured is what everything around the work costs. `large_` is in front of the names of
those whose work takes most of the time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy

EXAMPLES, LENGTH, WORDS, HEADS = 8, 16, 128, 4  # examples: as many microbatches are the most

Tree = Any  # of arrays, or of their shapes
Layer = Callable[[Tree, jax.Array], jax.Array]


@dataclass(frozen=True)
class Model:
    """layers: each takes its parameters and what the one before gives; the first takes the examples.

    parameters: of each layer.
    loss: of what the last layer gives and the examples.
    """

    layers: tuple[Layer, ...]
    parameters: tuple[Tree, ...]
    loss: Callable[[jax.Array, jax.Array], jax.Array]
    examples: jax.ShapeDtypeStruct

    @property
    def state(self) -> Tree:
        count = jax.ShapeDtypeStruct((), "int32")
        return {"params": self.parameters, "mean": self.parameters, "square": self.parameters, "count": count}

    def bounds(self, stages: int) -> list[int]:
        """The layers at which so many stages begin, and the number of layers."""
        return [len(self.layers) * part // stages for part in range(stages + 1)]

    def step(self, state: Tree, examples: jax.Array) -> tuple[Tree, jax.Array]:
        def loss(parameters: Sequence[Tree]) -> jax.Array:
            x = examples
            for number, (layer, its) in enumerate(zip(self.layers, parameters, strict=True)):
                with jax.named_scope(f"layer_{number}"):
                    x = layer(its, x)
            return self.loss(x, examples)

        found, gradients = jax.value_and_grad(loss)(state["params"])
        return adam(state, gradients), found


def adam(state: Tree, gradients: Tree) -> Tree:
    count = state["count"] + 1
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["mean"], gradients)
    square = jax.tree.map(lambda s, g: 0.99 * s + 0.01 * g * g, state["square"], gradients)

    def update(param: jax.Array, m: jax.Array, s: jax.Array) -> jax.Array:
        return param - 1e-3 * (m / (1 - 0.9**count)) / (jnp.sqrt(s / (1 - 0.99**count)) + 1e-8)

    params = jax.tree.map(update, state["params"], mean, square)
    return {"params": params, "mean": mean, "square": square, "count": count}


def filled(shapes: Tree) -> Tree:
    """Small numbers of these shapes; word number 1 to 100."""
    draw = numpy.random.default_rng(0)

    def one(shape: jax.ShapeDtypeStruct) -> numpy.ndarray:
        if shape.dtype == "int32":
            return draw.integers(0, 100, shape.shape, "int32") if shape.shape else numpy.zeros((), "int32")
        return (draw.standard_normal(shape.shape) / max(shape.shape[-1:], default=1) ** 0.5).astype("float32")

    return jax.tree.map(one, shapes)


def array(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, "float32")


def mlp(layers: int = 8, width: int = 64, examples: int = EXAMPLES) -> Model:
    def layer(its: Tree, x: jax.Array) -> jax.Array:
        return jax.nn.gelu(x @ its["w"] + its["b"])

    def loss(x: jax.Array, examples: jax.Array) -> jax.Array:
        return jnp.mean((x - examples) ** 2)

    parameters = tuple({"w": array(width, width), "b": array(width)} for _ in range(layers))
    return Model((layer,) * layers, parameters, loss, array(examples, width))


def cross_entropy(logits: jax.Array, words: jax.Array) -> jax.Array:
    found = jax.nn.log_softmax(logits[:, :-1])
    return -jnp.mean(jnp.take_along_axis(found, words[:, 1:, None], axis=-1))


def transformer(layers: int = 8, width: int = 32) -> Model:
    """Decoder blocks without biases."""
    from atoll.examples import decoder  # only here, as what other systems run in have no atoll

    def embed(its: Tree, words: jax.Array) -> jax.Array:
        return its["table"][words]

    def block(its: Tree, x: jax.Array) -> jax.Array:
        x = x + decoder.attention(its, decoder.normalise(x, its["norm_attention"]), HEADS)
        return x + decoder.mlp(its, decoder.normalise(x, its["norm_mlp"]))

    def head(its: Tree, x: jax.Array) -> jax.Array:
        return decoder.normalise(x, its["norm"]) @ its["head"]

    its = {
        "norm_attention": array(width),
        "qkv": array(width, 3 * width),
        "out": array(width, width),
        "norm_mlp": array(width),
        "up": array(width, 4 * width),
        "down": array(4 * width, width),
    }
    ends = {"table": array(WORDS, width)}, {"norm": array(width), "head": array(width, WORDS)}
    words = jax.ShapeDtypeStruct((EXAMPLES, LENGTH), "int32")
    return Model((embed, *(block,) * layers, head), (ends[0], *(its,) * layers, ends[1]), cross_entropy, words)


def gpt2(layers: int = 6, width: int = 48, examples: int = EXAMPLES) -> Model:
    """Blocks as GPT-2 has them: norms with biases, biased projections, learned positions."""

    def norm(its: Tree, x: jax.Array) -> jax.Array:
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        scale = jax.lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + 1e-5)
        return centred * scale * its["scale"] + its["bias"]

    def dense(its: Tree, x: jax.Array) -> jax.Array:
        return x @ its["w"] + its["b"]

    def embed(its: Tree, words: jax.Array) -> jax.Array:
        return its["words"][words] + its["positions"]

    def block(its: Tree, x: jax.Array) -> jax.Array:
        parts = jnp.split(dense(its["qkv"], norm(its["norm_1"], x)), 3, axis=-1)
        q, k, v = (one.reshape(*x.shape[:2], HEADS, -1) for one in parts)
        mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + dense(its["out"], mixed.reshape(x.shape))
        return x + dense(its["down"], jax.nn.gelu(dense(its["up"], norm(its["norm_2"], x))))

    def head(its: Tree, x: jax.Array) -> jax.Array:
        return norm(its["norm"], x) @ its["head"]

    def weights(narrow: int, wide: int) -> dict[str, jax.ShapeDtypeStruct]:
        return {"w": array(narrow, wide), "b": array(wide)}

    norms = {"scale": array(width), "bias": array(width)}
    its = {
        "norm_1": norms,
        "qkv": weights(width, 3 * width),
        "out": weights(width, width),
        "norm_2": norms,
        "up": weights(width, 4 * width),
        "down": weights(4 * width, width),
    }
    ends = (
        {"words": array(WORDS, width), "positions": array(LENGTH, width)},
        {"norm": norms, "head": array(width, WORDS)},
    )
    words = jax.ShapeDtypeStruct((examples, LENGTH), "int32")
    return Model((embed, *(block,) * layers, head), (ends[0], *(its,) * layers, ends[1]), cross_entropy, words)


def large_mlp() -> Model:
    return mlp(width=768, examples=2048)


def large_gpt2() -> Model:
    return gpt2(width=256, examples=128)
