"""Layer loops of every form: how the loop is written."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import zoo
from layered import (
    LAYERS,
    STREAM,
    TRAINED,
    Loop,
    Model,
    Stack,
    Traffic,
    examples,
    feed_forward,
    head,
    model,
    over_layers,
    stack,
    train,
    with_head,
)
from layered_transformers import attention_layer, attention_stack


def plain(over, layers=None, loop=None, traffic=TRAINED, **stored):
    """A train step of feed-forward layers; `over` goes over them."""
    params = with_head(stack(1) if layers is None else layers)
    case = train(lambda p, x: head(p["head"], over(p["layers"], x)), params, examples())
    return Model(case, (loop or Loop(), "head"), (Stack(**stored),), traffic)


def handed_on(made: Model) -> Model:
    """A model whose gradient is added up row by row in what the loop carries, and so goes whole from range to range."""
    return replace(made, stacks=(), traffic=None)


@model
def scanned() -> Model:
    return plain(lambda p, x: over_layers(feed_forward, p, x))


@model
def inference() -> Model:
    def fn(params, x):
        x = over_layers(feed_forward, params["layers"], x)
        with jax.named_scope("head"):
            return x @ params["head"]

    return Model(zoo.Case(fn, (with_head(stack(1)), examples()), batch=(1,)), traffic=Traffic(STREAM))


@model
def six_layers() -> Model:
    """Four stages of these are not of one size."""
    return plain(lambda p, x: over_layers(feed_forward, p, x), stack(1, 6), Loop(layers=6), size=6)


@model
def layers_on_axis_one() -> Model:
    layers = jax.tree.map(lambda one: jnp.moveaxis(one, 0, 1), stack(1))
    return plain(
        lambda p, x: over_layers(feed_forward, jax.tree.map(lambda one: jnp.moveaxis(one, 1, 0), p), x), layers, axis=1
    )


@model
def layers_on_last_axis() -> Model:
    layers = jax.tree.map(lambda one: jnp.moveaxis(one, 0, -1), stack(1))
    return plain(
        lambda p, x: over_layers(feed_forward, jax.tree.map(lambda one: jnp.moveaxis(one, -1, 0), p), x), layers, axis=2
    )


def two_layers(p, x):
    for number in range(2):
        x = feed_forward(jax.tree.map(lambda one, at=number: one[at], p), x)
    return x


@model
def two_layers_an_iteration() -> Model:
    """Stored one by one, taken in pairs."""

    def over(layers, x):
        pairs = jax.tree.map(lambda one: one.reshape(LAYERS // 2, 2, *one.shape[1:]), layers)
        return over_layers(two_layers, pairs, x)

    return plain(over, loop=Loop(layers=LAYERS // 2))


@model
def stored_in_pairs() -> Model:
    return plain(lambda p, x: over_layers(jax.checkpoint(two_layers), p, x), stack(1, LAYERS, 2))


@model
def every_other_layer_unlike() -> Model:
    """A group of two kinds of layers in each iteration, each kind with a stack of its own."""
    layers = {"dense": stack(1), "attention": attention_stack(5)}
    return plain(
        lambda p, x: over_layers(lambda p, x: attention_layer(p["attention"], feed_forward(p["dense"], x)), p, x),
        layers,
    )


@model
def unrolled_by_two() -> Model:
    """Every iteration of the loop does two layers."""
    return plain(lambda p, x: over_layers(feed_forward, p, x, unroll=2), loop=Loop(layers=LAYERS // 2))


@model
def unrolled_by_two_with_a_rest() -> Model:
    loop = Loop(layers=2, whole="the last layer stands apart, and the loop takes but a part of each stack")
    return plain(lambda p, x: over_layers(feed_forward, p, x, unroll=2), stack(1, 5), loop, size=5, traffic=None)


@model
def unrolled_altogether() -> Model:
    return plain(
        lambda p, x: over_layers(feed_forward, p, x, unroll=True),
        loop=Loop(whole="no loop is left of it, and its layers have one scope"),
        traffic=None,
    )


@model
def last_layer_first() -> Model:
    return plain(lambda p, x: over_layers(feed_forward, p, x, reverse=True), backward=True)


@model
def one_layer() -> Model:
    """A scan of length 1 leaves no loop."""
    return plain(
        lambda p, x: over_layers(feed_forward, p, x),
        stack(1, 1),
        Loop(layers=1, whole="one iteration cannot be divided"),
        traffic=None,
        size=1,
    )


@model
def counted_loop() -> Model:
    """`fori_loop` with layers that the user takes out of the stacks."""

    def over(layers, x):
        with jax.named_scope("layers"):
            return jax.lax.fori_loop(
                0, LAYERS, lambda i, x: feed_forward(jax.tree.map(lambda one: one[i], layers), x), x
            )

    return handed_on(plain(over))


@model
def counted_loop_backward_through_the_stack() -> Model:
    def over(layers, x):
        def body(i, x):
            pick = lambda one: jax.lax.dynamic_index_in_dim(one, LAYERS - 1 - i, keepdims=False)  # noqa: E731
            return feed_forward(jax.tree.map(pick, layers), x)

        with jax.named_scope("layers"):
            return jax.lax.fori_loop(0, LAYERS, body, x)

    return handed_on(plain(over, backward=True))


@model
def counted_loop_inference() -> Model:
    """Without gradients `fori_loop` is a loop with an integer bound of its own, and no scan."""

    def fn(params, x):
        def body(i, x):
            return feed_forward(jax.tree.map(lambda one: one[i], params["layers"]), x)

        with jax.named_scope("layers"):
            x = jax.lax.fori_loop(0, LAYERS, body, x)
        with jax.named_scope("head"):
            return x @ params["head"]

    return Model(zoo.Case(fn, (with_head(stack(1)), examples()), batch=(1,)), traffic=Traffic(STREAM))


@model
def counted_loop_over_some_layers() -> Model:
    """From the second layer to the last but one."""

    def fn(params, x):
        def body(i, x):
            return feed_forward(jax.tree.map(lambda one: one[i], params["layers"]), x)

        with jax.named_scope("layers"):
            x = jax.lax.fori_loop(1, LAYERS - 1, body, x)
        with jax.named_scope("head"):
            return x @ params["head"]

    case = zoo.Case(fn, (with_head(stack(1)), examples()), batch=(1,))
    return Model(case, (Loop(layers=LAYERS - 2, whole="it takes but some of the rows of each stack"), "head"), ())


@model
def scan_over_the_index() -> Model:
    """The layers are taken out of closed-over stacks by the index that the scan goes over."""

    def over(layers, x):
        def body(x, i):
            return feed_forward(jax.tree.map(lambda one: one[i], layers), x), None

        with jax.named_scope("layers"):
            return jax.lax.scan(body, x, jnp.arange(LAYERS))[0]

    return handed_on(plain(over))


@model
def until_it_changes_little() -> Model:
    """How often the loop runs depends on the data."""

    def fn(params, x):
        def body(state):
            i, x, _ = state
            new = feed_forward(jax.tree.map(lambda one: 0.1 * one[i % LAYERS], params["layers"]), x)
            return i + 1, new, jnp.max(jnp.abs(new - x))

        with jax.named_scope("layers"):
            start = jnp.int32(0), x, jnp.float32(1)
            count, x, _ = jax.lax.while_loop(lambda state: (state[0] < 9) & (state[2] > 1e-2), body, start)
        with jax.named_scope("head"):
            return x @ params["head"], count

    case = zoo.Case(fn, (with_head(stack(1)), examples()), batch=(1,))
    why = "how many iterations it has depends on the data"
    return Model(case, (Loop(layers=0, whole=why), "head"), mixes="gt")


@model
def in_a_vmap() -> Model:
    """The loop is written for one example."""
    return plain(lambda p, x: jax.vmap(lambda one: over_layers(feed_forward, p, one))(x))


@model
def in_nested_jits() -> Model:
    layer = jax.jit(feed_forward)
    return plain(jax.jit(lambda p, x: over_layers(lambda p, x: layer(p, x), p, x)))


@jax.custom_vjp
def _scaled(p, x):
    return feed_forward(p, x)


def _scaled_backward(residuals, g):
    params, stream = jax.vjp(feed_forward, *residuals)[1](g)
    return params, jnp.clip(stream, -0.01, 0.01)


_scaled.defvjp(lambda p, x: (feed_forward(p, x), (p, x)), _scaled_backward)


@model
def custom_vjp_in_the_layer() -> Model:
    return plain(lambda p, x: over_layers(_scaled, p, x))


@model
def forward_derivative() -> Model:
    """`jvp` doubles what the loop carries."""

    def fn(params, tangents, x):
        def loss(params):
            return head(params["head"], over_layers(feed_forward, params["layers"], x))

        return jax.jvp(loss, (params,), (tangents,))

    params, tangents = with_head(stack(1)), jax.tree.map(jnp.cos, with_head(stack(5)))
    return Model(zoo.Case(fn, (params, tangents, examples()), batch=(2,)), traffic=Traffic(2 * STREAM))


@model
def hessian_times_vector() -> Model:
    """Forward over backward: more sweeps over the layers than a pipeline has."""

    def fn(params, tangents, x):
        def loss(params):
            return head(params["head"], over_layers(feed_forward, params["layers"], x))

        return jax.jvp(jax.grad(loss), (params,), (tangents,))

    params, tangents = with_head(stack(1)), jax.tree.map(jnp.cos, with_head(stack(5)))
    return Model(zoo.Case(fn, (params, tangents, examples()), batch=(2,)), traffic=Traffic(2 * STREAM, 2 * STREAM))


@model
def gradient_of_the_input() -> Model:
    def fn(params, x):
        loss = lambda p, x: head(p["head"], over_layers(feed_forward, p["layers"], x))  # noqa: E731
        return jax.grad(loss, argnums=1)(params, x)

    return Model(zoo.Case(fn, (with_head(stack(1)), examples()), batch=(1,)), traffic=TRAINED)


@model
def transposed_in_two_parts() -> Model:
    """The backward loop is cut in two: one for what flows on, one for the gradients of parameters."""
    return plain(lambda p, x: over_layers(feed_forward, p, x, _split_transpose=True))
