"""Layer loops with randomness, with constants and with the number of the layer."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from layered import (
    LAYERS,
    LENGTH,
    TRAINED,
    Model,
    examples,
    feed_forward,
    head,
    model,
    over_layers,
    stack,
    train,
    with_head,
)
from layered_forms import plain


def drop(key, x):
    return jnp.where(jax.random.bernoulli(key, 0.8, x.shape), x / 0.8, 0)


def keyed(over):
    """A train step with a random key that is no batch."""

    def loss(p, key, x):
        return head(p["head"], over(p["layers"], key, x))

    case = train(loss, with_head(stack(1)), jax.random.key(3), examples())
    return Model(replace(case, batch=(2,)), traffic=TRAINED)


@model
def dropout_by_keys_of_layers() -> Model:
    def over(layers, key, x):
        def body(x, both):
            p, key = both
            return x + drop(key, jnp.tanh(x @ p["up"])) @ p["down"], None

        with jax.named_scope("layers"):
            return jax.lax.scan(body, x, (layers, jax.random.split(key, LAYERS)))[0]

    return keyed(over)


@model
def dropout_by_the_number_of_the_layer() -> Model:
    def over(layers, key, x):
        def body(x, both):
            p, number = both
            own = jax.random.fold_in(key, number)
            return x + drop(own, jnp.tanh(x @ p["up"])) @ p["down"], None

        with jax.named_scope("layers"):
            return jax.lax.scan(jax.checkpoint(body), x, (layers, jnp.arange(LAYERS)))[0]

    return keyed(over)


@model
def dropout_by_a_key_that_is_carried() -> Model:
    def over(layers, key, x):
        def body(carry, p):
            x, key = carry
            key, own = jax.random.split(key)
            return (x + drop(own, jnp.tanh(x @ p["up"])) @ p["down"], key), None

        with jax.named_scope("layers"):
            return jax.lax.scan(body, (x, key), layers)[0][0]

    return keyed(over)


@model
def layers_left_out_at_random() -> Model:
    """Whether a layer is computed is drawn in every step, for the whole batch."""

    def over(layers, key, x):
        def body(x, both):
            p, is_there = both
            return jax.lax.cond(is_there, feed_forward, lambda p, x: x, p, x), None

        with jax.named_scope("layers"):
            return jax.lax.scan(body, x, (layers, jax.random.bernoulli(key, 0.6, (LAYERS,))))[0]

    return keyed(over)


@model
def a_constant_for_each_layer() -> Model:
    """Rates of stochastic depth and slopes of ALiBi."""
    rates, slopes = jnp.linspace(0, 0.3, LAYERS), 2.0 ** -jnp.arange(1, LAYERS + 1)

    def over(layers, x):
        def body(x, three):
            p, rate, slope = three
            positions = jnp.arange(LENGTH)
            biased = jax.nn.softmax(-slope * jnp.abs(positions[:, None] - positions))
            return x + (1 - rate) * (feed_forward(p, jnp.einsum("ts,bsd->btd", biased, x)) - x), None

        with jax.named_scope("layers"):
            return jax.lax.scan(body, x, (layers, rates, slopes))[0]

    return plain(over)


@model
def learned_scale_of_each_layer() -> Model:
    """Scalars of the layers, beside their matrices; and one that all layers share."""

    def loss(p, x):
        def body(p_, x):
            return x + p_["scale"] * p["all"] * (feed_forward(p_, x) - x)

        return head(p["head"], over_layers(body, p["layers"], x))

    params = {**with_head({**stack(1), "scale": jnp.linspace(0.5, 1.5, LAYERS)}), "all": jnp.float32(0.7)}
    return Model(train(loss, params, examples()), traffic=TRAINED)


@model
def layers_unlike_by_number() -> Model:
    """Every other layer does something else; both are computed."""

    def over(layers, x):
        def body(x, both):
            p, number = both
            shifted = jnp.where(number % 2 == 0, x, jnp.roll(x, 1, axis=1))
            return feed_forward(p, shifted) * (1 + 0.1 * number), None

        with jax.named_scope("layers"):
            return jax.lax.scan(body, x, (layers, jnp.arange(LAYERS)))[0]

    return plain(over)


@model
def layers_unlike_by_branch() -> Model:
    def over(layers, x):
        def body(x, both):
            p, number = both
            even = lambda x: jnp.tanh(x @ p["up"]) @ p["down"]  # noqa: E731
            odd = lambda x: jnp.sin(x @ p["up"]) @ p["down"] - x  # noqa: E731
            return x + jax.lax.cond(number % 2 == 0, even, odd, x), None

        with jax.named_scope("layers"):
            return jax.lax.scan(body, x, (layers, jnp.arange(LAYERS)))[0]

    return plain(over)


@model
def a_switch_in_the_layers() -> Model:
    """Which kind each layer is stands in a table."""
    kinds = jnp.array([2, 0, 1, 0])

    def over(layers, x):
        def body(x, both):
            p, kind = both
            hidden = x @ p["up"]
            return x + jax.lax.switch(kind, [jnp.tanh, jnp.sin, jax.nn.gelu], hidden) @ p["down"], None

        with jax.named_scope("layers"):
            return jax.lax.scan(jax.checkpoint(body), x, (layers, kinds))[0]

    return plain(over)
