"""Stacked parameters that are used in other ways beside the loop over layers, and precisions."""

import jax
import jax.numpy as jnp
import optax
import zoo
from layered import (
    LAYERS,
    STREAM,
    TRAINED,
    WIDTH,
    Loop,
    Model,
    Stack,
    Traffic,
    examples,
    feed_forward,
    head,
    model,
    normal,
    output_matrix,
    over_layers,
    stack,
    train,
    with_head,
)


def used(layers_of, loop=None, stacks=(), traffic=None):
    """A train step that goes over what a function makes of the stored layers."""

    def loss(p, x):
        return head(p["head"], over_layers(feed_forward, layers_of(p["layers"]), x))

    return Model(train(loss, with_head(stack(1)), examples()), (loop or Loop(), "head"), stacks, traffic)


def each(change):
    return lambda layers: jax.tree.map(change, layers)


@model
def reversed_stack() -> Model:
    """The last stored layer comes first."""
    return used(each(lambda one: one[::-1]))


@model
def permuted_stack() -> Model:
    return used(each(lambda one: one[jnp.array([2, 0, 3, 1])]))


@model
def first_layer_scaled() -> Model:
    return used(each(lambda one: one.at[0].multiply(2)))


@model
def all_but_the_first_layer() -> Model:
    return used(each(lambda one: one[1:]), Loop(layers=LAYERS - 1))


@model
def every_second_layer() -> Model:
    return used(each(lambda one: one[::2]), Loop(layers=LAYERS // 2))


@model
def each_layer_twice() -> Model:
    return used(each(lambda one: jnp.repeat(one, 2, axis=0)), Loop(layers=2 * LAYERS))


@model
def scaled_stack() -> Model:
    """Each layer is changed before the loop in the same way: a computation on all of them at once."""
    return used(
        each(lambda one: jnp.tanh(one) / (1 + jnp.sum(one * one, axis=(1, 2), keepdims=True))),
        stacks=(Stack(),),
        traffic=TRAINED,
    )


@model
def normalised_over_the_stack() -> Model:
    """All layers are divided by the norm of all: a scalar of every island."""
    return used(each(lambda one: one / jnp.linalg.norm(one)), stacks=(Stack(),), traffic=TRAINED)


@model
def differences_of_layers() -> Model:
    """Each layer is stored as the difference from the one before it."""
    return used(each(lambda one: 0.5 * jnp.cumsum(one, axis=0)))


@model
def mixed_layers() -> Model:
    """Each layer of the loop is a combination of all stored ones."""
    mix = jnp.eye(LAYERS) + 0.1 * normal(60, LAYERS, LAYERS)
    return used(each(lambda one: jnp.einsum("kl,lab->kab", mix, one)))


@model
def first_layer_read_apart() -> Model:
    """The first layer's matrix is used once more, behind the loop."""

    def loss(p, x):
        x = over_layers(feed_forward, p["layers"], x)
        with jax.named_scope("again"):
            x = x + jnp.tanh(x @ p["layers"]["up"][0]) @ p["layers"]["down"][0]
        return head(p["head"], x)

    return Model(train(loss, with_head(stack(1)), examples()), (Loop(), "again", "head"), ())


@model
def penalty_on_the_weights() -> Model:
    def loss(p, x):
        penalty = sum(jnp.sum(one * one) for one in jax.tree.leaves(p["layers"]))
        return head(p["head"], over_layers(feed_forward, p["layers"], x)) + 1e-3 * penalty

    return Model(train(loss, with_head(stack(1)), examples()), traffic=TRAINED)


@model
def penalty_on_differences_of_layers() -> Model:
    """Neighbouring layers are drawn to each other: at each cut a layer's parameters cross."""

    def loss(p, x):
        penalty = sum(jnp.sum((one[1:] - one[:-1]) ** 2) for one in jax.tree.leaves(p["layers"]))
        return head(p["head"], over_layers(feed_forward, p["layers"], x)) + 1e-2 * penalty

    return Model(train(loss, with_head(stack(1)), examples()), stacks=())


@model
def two_loops_over_one_stack() -> Model:
    def loss(p, x):
        with jax.named_scope("first"):
            x, _ = jax.lax.scan(
                lambda x, p: (feed_forward(p, x), None), x, jax.tree.map(lambda one: one[:2], p["layers"])
            )
        with jax.named_scope("second"):
            x = jnp.roll(x, 1, axis=1)
            x, _ = jax.lax.scan(
                lambda x, p: (feed_forward(p, x), None), x, jax.tree.map(lambda one: one[2:], p["layers"])
            )
        return head(p["head"], x)

    case = train(loss, with_head(stack(1)), examples())
    return Model(case, (Loop("first", 2), Loop("second", LAYERS - 2), "head"), ())


@model
def one_loop_over_two_stacks() -> Model:
    def loss(p, x):
        layers = jax.tree.map(lambda *both: jnp.concatenate(both), p["bottom"], p["top"])
        return head(p["head"], over_layers(feed_forward, layers, x))

    params = {"bottom": stack(1, 2), "top": stack(3, 2), "head": output_matrix()}
    return Model(train(loss, params, examples()), (Loop(), "head"), ())


@model
def layers_stacked_in_the_step() -> Model:
    """The user keeps a list of layers, and stacks them to loop over them."""

    def loss(p, x):
        layers = jax.tree.map(lambda *all_: jnp.stack(all_), *p["list"])
        return head(p["head"], over_layers(jax.checkpoint(feed_forward), layers, x))

    layers = [jax.tree.map(lambda one, at=number: one[at], stack(1)) for number in range(LAYERS)]
    case = train(loss, {"list": layers, "head": output_matrix()}, examples())
    return Model(case, stacks=())  # their stack is made on one island


@model
def initialised_in_the_step() -> Model:
    """Parameters come of a key, and nothing stacked is an argument."""

    def fn(key, x):
        keys = jax.random.split(key, LAYERS)

        def init(key):
            up, down = jax.random.split(key)
            shape = (WIDTH, WIDTH)
            return {"up": 0.3 * jax.random.normal(up, shape), "down": 0.3 * jax.random.normal(down, shape)}

        with jax.named_scope("init"):
            layers = jax.vmap(init)(keys)

        def loss(layers):
            return jnp.mean(over_layers(feed_forward, layers, x) ** 2)

        value, grads = jax.value_and_grad(loss)(layers)
        return {"layers": jax.tree.map(lambda p, g: p - 0.1 * g, layers, grads)}, value

    return Model(zoo.Case(fn, (jax.random.key(5), examples()), batch=(1,)), (Loop(),), ())


@model
def frozen_layers_with_adapters() -> Model:
    """Low-rank adapters are trained beside layers that are not."""

    def step(adapters, frozen, x):
        def loss(adapters):
            def layer(both, x):
                p, a = both
                return feed_forward(p, x) + (x @ a["in"]) @ a["out"]

            return head(frozen["head"], over_layers(layer, (frozen["layers"], adapters["layers"]), x))

        value, grads = jax.value_and_grad(loss)(adapters)
        return jax.tree.map(lambda p, g: p - 0.1 * g, adapters, grads), value, grads

    adapters = {"layers": {"in": normal(1, LAYERS, WIDTH, 2, scale=0.3), "out": normal(2, LAYERS, 2, WIDTH, scale=0.3)}}
    case = zoo.Case(step, (adapters, with_head(stack(3)), examples()), donate=(0,), batch=(2,))
    return Model(case, traffic=TRAINED)


@model
def teacher_and_student() -> Model:
    """Two models, each with a loop: one learns from the other, whose parameters follow its own."""

    def step(state, x):
        student, teacher = state["student"], state["teacher"]
        with jax.named_scope("teacher"):
            wanted = jax.lax.scan(lambda x, p: (feed_forward(p, x), None), x, teacher["layers"])[0]

        def loss(student):
            with jax.named_scope("student"):
                found = jax.lax.scan(lambda x, p: (feed_forward(p, x), None), x, student["layers"])[0]
            with jax.named_scope("loss"):
                return jnp.mean((found - wanted) ** 2)

        value, grads = jax.value_and_grad(loss)(student)
        student = jax.tree.map(lambda p, g: p - 0.1 * g, student, grads)
        teacher = jax.tree.map(lambda t, s: 0.9 * t + 0.1 * s, teacher, student)
        return {"student": student, "teacher": teacher}, value, grads

    state = {"student": {"layers": stack(1)}, "teacher": {"layers": stack(5)}}
    case = zoo.Case(step, (state, examples()), donate=(0,), batch=(1,))
    return Model(case, (Loop("teacher"), Loop("student"), "loss"), ())


@model
def looked_at_layer_by_layer() -> Model:
    """A loop over the stacks alone, for numbers that are watched."""

    def loss(p, x):
        return head(p["head"], over_layers(feed_forward, p["layers"], x))

    def step(params, x):
        value, grads = jax.value_and_grad(loss)(params, x)
        with jax.named_scope("watched"):
            watched = jax.lax.map(lambda p: jnp.linalg.norm(p["up"] @ p["down"]), params["layers"])
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, grads), value, grads, watched

    case = zoo.Case(step, (with_head(stack(1)), examples()), donate=(0,), batch=(1,))
    return Model(case, traffic=TRAINED)


# Precisions.

NARROW = 3e-2  # of bfloat16, where sums over microbatches are rounded otherwise
# No Adam, whose first step is the sign of a gradient: that of a small one is up to the rounding.
HEAVY = optax.sgd(0.05, momentum=0.9)


def half(tree):
    return jax.tree.map(lambda one: one.astype(jnp.bfloat16), tree)


@model
def narrow_outside_of_the_loop() -> Model:
    """Master weights are cast once, as a stack, before the loop."""

    def loss(p, x):
        x = over_layers(jax.checkpoint(feed_forward), half(p["layers"]), x.astype(jnp.bfloat16))
        return head(p["head"], x.astype(jnp.float32))

    case = train(loss, with_head(stack(1)), examples(), optimizer=HEAVY)
    return Model(case, traffic=Traffic(STREAM // 2, STREAM // 2), tolerance=NARROW, state_tolerance=NARROW)


@model
def narrow_within_the_loop() -> Model:
    def loss(p, x):
        x = over_layers(lambda p, x: feed_forward(half(p), x), p["layers"], x.astype(jnp.bfloat16))
        return head(p["head"], x.astype(jnp.float32))

    case = train(loss, with_head(stack(1)), examples(), optimizer=HEAVY)
    return Model(case, traffic=Traffic(STREAM // 2, STREAM // 2), tolerance=NARROW, state_tolerance=NARROW)


@model
def scaled_loss() -> Model:
    """The update is left out where a gradient is not finite, and the scale of the loss goes down."""

    def step(state, x):
        params, scale, good = state["params"], state["scale"], state["good"]

        def loss(params):
            x_ = over_layers(feed_forward, half(params["layers"]), x.astype(jnp.bfloat16))
            return scale * head(params["head"], x_.astype(jnp.float32))

        value, grads = jax.value_and_grad(loss)(params)
        with jax.named_scope("update"):
            grads = jax.tree.map(lambda g: g / scale, grads)
            finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(grads)]))
            params = jax.tree.map(lambda p, g: jnp.where(finite, p - 0.1 * g, p), params, grads)
            scale = jnp.where(finite, jnp.where(good >= 2, 2 * scale, scale), 0.5 * scale)
            good = jnp.where(finite, good + 1, 0)
        return {"params": params, "scale": scale, "good": good}, value / scale, grads

    state = {"params": with_head(stack(1)), "scale": jnp.float32(1024), "good": jnp.int32(1)}
    case = zoo.Case(step, (state, examples()), donate=(0,), batch=(1,))
    return Model(case, traffic=Traffic(STREAM // 2, STREAM // 2), tolerance=NARROW, state_tolerance=NARROW)


@model
def narrow_weights_with_masters() -> Model:
    """What is computed with is stored in bfloat16, beside float32 masters that the optimizer changes."""

    def step(state, x):
        def loss(narrow):
            x_ = over_layers(jax.checkpoint(feed_forward), narrow["layers"], x.astype(jnp.bfloat16))
            return head(narrow["head"].astype(jnp.float32), x_.astype(jnp.float32))

        value, grads = jax.value_and_grad(loss)(state["narrow"])
        masters = jax.tree.map(lambda p, g: p - 0.1 * g.astype(jnp.float32), state["masters"], grads)
        return {"narrow": half(masters), "masters": masters}, value, grads

    masters = with_head(stack(1))
    case = zoo.Case(step, ({"narrow": half(masters), "masters": masters}, examples()), donate=(0,), batch=(1,))
    return Model(case, traffic=Traffic(STREAM // 2, STREAM // 2), tolerance=NARROW, state_tolerance=NARROW)
