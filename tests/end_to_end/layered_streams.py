"""What a layer loop carries, takes and gives beside parameters and the stream."""

import jax
import jax.numpy as jnp
import zoo
from layered import (
    BATCH,
    FLOAT,
    HIDDEN,
    LAYERS,
    LENGTH,
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
from layered_forms import handed_on, plain
from layered_transformers import attend, attention_layer, attention_stack, normalise

NOT_LAYERS = "it goes over time, and nothing that it takes is stored by iteration"


@model
def sums_as_carry() -> Model:
    """A penalty that each layer adds to."""

    def loss(p, x):
        def body(carry, p):
            x, total = carry
            hidden = jnp.tanh(x @ p["up"])
            return (x + hidden @ p["down"], total + jnp.mean(hidden**2)), None

        with jax.named_scope("layers"):
            (x, total), _ = jax.lax.scan(body, (x, jnp.float32(0)), p["layers"])
        return head(p["head"], x) + 0.1 * total

    return Model(train(loss, with_head(stack(1)), examples()), traffic=TRAINED)


@model
def sums_as_results() -> Model:
    """A penalty of each layer, summed behind the loop, and returned one by one."""

    def loss(p, x):
        def body(x, p):
            hidden = jnp.tanh(x @ p["up"])
            return x + hidden @ p["down"], jnp.mean(hidden**2)

        with jax.named_scope("layers"):
            x, penalties = jax.lax.scan(body, x, p["layers"])
        return head(p["head"], x) + 0.1 * jnp.sum(penalties), penalties

    return Model(train(loss, with_head(stack(1)), examples(), aux=True), traffic=TRAINED)


@model
def streams_of_all_layers() -> Model:
    """What each layer gives is a result of the function."""

    def fn(params, x):
        def body(x, p):
            x = feed_forward(p, x)
            return x, x

        with jax.named_scope("layers"):
            x, every = jax.lax.scan(body, x, params["layers"])
        with jax.named_scope("head"):
            return x @ params["head"], every

    return Model(
        zoo.Case(fn, (with_head(stack(1)), examples()), batch=(1,)), traffic=None
    )  # of a microbatch they are one value


@model
def weighted_mean_of_all_layers() -> Model:
    """As ELMo has it: the streams of all layers meet behind the loop."""

    def loss(p, x):
        def body(x, p):
            x = feed_forward(p, x)
            return x, x

        with jax.named_scope("layers"):
            _, every = jax.lax.scan(body, x, p["layers"])
        with jax.named_scope("mean"):
            x = jnp.einsum("lbtd,l->btd", every, jax.nn.softmax(p["weights"]))
        return head(p["head"], x)

    # With these weights float32 knows the gradient to 2e-6. With most others its terms cancel, and jax.jit itself is
    # off by five times as much.
    params = {**with_head(stack(1)), "weights": normal(79, LAYERS)}
    return Model(train(loss, params, examples()), (Loop(), "mean", "head"))


@model
def metrics_of_each_layer() -> Model:
    def loss(p, x):
        def body(x, p):
            x = feed_forward(p, x)
            return x, {
                "mean": jnp.mean(x),
                "largest": jnp.max(jnp.abs(jax.lax.stop_gradient(x))),
                "weights": jnp.linalg.norm(p["up"]),
            }

        with jax.named_scope("layers"):
            x, metrics = jax.lax.scan(body, x, p["layers"])
        return head(p["head"], x), metrics

    return Model(train(loss, with_head(stack(1)), examples(), aux=True), traffic=TRAINED)


@model
def balanced_experts() -> Model:
    """The loss that balances experts is a product of means over the batch."""

    def loss(p, x):
        def body(carry, p):
            x, total = carry
            gates = jax.nn.softmax(x @ p["router"])
            chosen = jax.nn.one_hot(jnp.argmax(gates, axis=-1), 3)
            hidden = jnp.tanh(jnp.einsum("btd,edh->bteh", x, p["up"]))
            x = x + jnp.einsum("bteh,ehd,bte->btd", hidden, p["down"], gates * chosen)
            return (x, total + 3 * jnp.sum(jnp.mean(gates, (0, 1)) * jnp.mean(chosen, (0, 1)))), None

        with jax.named_scope("layers"):
            (x, total), _ = jax.lax.scan(body, (x, jnp.float32(0)), p["layers"])
        return head(p["head"], x) + 0.1 * total

    layers = {"router": normal(6, LAYERS, WIDTH, 3), **stack(1, LAYERS, 3)}
    return Model(train(loss, with_head(layers), examples()), is_written_out=True)


def experts_layer(p, x):
    gates = jax.nn.softmax(x @ p["router"])
    top, chosen = jax.lax.top_k(gates, 2)
    gates = jnp.sum(jax.nn.one_hot(chosen, 3) * top[..., None], axis=-2)
    hidden = jnp.tanh(jnp.einsum("btd,edh->bteh", x, p["up"]))
    return x + jnp.einsum("bteh,ehd,bte->btd", hidden, p["down"], gates)


def scan(name, body, layers, x, **options):
    with jax.named_scope(name):
        return jax.lax.scan(lambda x, p: (body(p, x), None), x, layers, **options)[0]


@model
def dense_then_experts() -> Model:
    def loss(p, x):
        x = scan("dense", feed_forward, p["dense"], x)
        return head(p["head"], scan("experts", jax.checkpoint(experts_layer), p["experts"], x))

    params = {
        "dense": stack(1, 2),
        "experts": {"router": normal(6, 4, WIDTH, 3), **stack(3, 4, 3)},
        "head": output_matrix(),
    }
    flow = (Loop("dense", 2), Loop("experts", 4), "head")
    stacks = Stack(r"\['dense'\]", size=2, loop="dense"), Stack(r"\['experts'\]", loop="experts")
    return Model(train(loss, params, examples()), flow, stacks, TRAINED)


@model
def encoder_and_decoder() -> Model:
    """Every layer of the decoder reads what the encoder gives."""

    def loss(p, source, target):
        memory = normalise(scan("encoder", attention_layer, p["encoder"], source), p["norm"])

        def layer(p, x):
            return attention_layer(p["own"], x + attend(x @ p["query"], memory @ p["key"], memory) @ p["mix"])

        return head(p["head"], scan("decoder", layer, p["decoder"], target))

    cross = {
        name: normal(number, LAYERS, WIDTH, WIDTH, scale=0.3) for number, name in enumerate(("query", "key", "mix"))
    }
    params = {
        "norm": jnp.ones(WIDTH),
        "encoder": attention_stack(20),
        "decoder": {"own": attention_stack(30), **cross},
        "head": output_matrix(),
    }
    flow = (Loop("encoder"), Loop("decoder"), "head")
    stacks = tuple(Stack(rf"\['{name}'\]", loop=name) for name in ("encoder", "decoder"))
    case = train(loss, params, normal(90, BATCH, 7, WIDTH), normal(91, BATCH, LENGTH, WIDTH))
    memory = BATCH * 7 * WIDTH * FLOAT
    return Model(case, flow, stacks, Traffic(memory, memory, up_to=2))


@model
def down_and_up_again() -> Model:
    """A U-Net: each layer on the way up takes what its twin on the way down gave."""

    def loss(p, x):
        def down(x, p):
            x = feed_forward(p, x)
            return x, x

        with jax.named_scope("down"):
            x, skipped = jax.lax.scan(down, x, p["down"])
        with jax.named_scope("up"):
            x, _ = jax.lax.scan(
                lambda x, pair: (feed_forward(pair[0], x + pair[1]), None), x, (p["up"], skipped), reverse=True
            )
        return head(p["head"], x)

    params = {"down": stack(1, 3), "up": stack(3, 3), "head": output_matrix()}
    flow = (Loop("down", 3), Loop("up", 3), "head")
    stacks = (
        Stack(r"(\[0\]|result\[2\])\['down'\]", size=3, loop="down"),
        Stack(r"(\[0\]|result\[2\])\['up'\]", size=3, loop="up", backward=True),
    )
    return Model(train(loss, params, examples()), flow, stacks)


@model
def one_layer_for_all() -> Model:
    """ALBERT: the same parameters in every iteration."""

    def loss(p, x):
        with jax.named_scope("layers"):
            x, _ = jax.lax.scan(lambda x, _: (feed_forward(p["layer"], x), None), x, None, length=LAYERS)
        return head(p["head"], x)

    params = {"layer": jax.tree.map(lambda one: one[0], stack(1)), "head": output_matrix()}
    why = "all iterations have the same parameters, of which every island would need a copy"
    return Model(train(loss, params, examples()), (Loop(whole=why), "head"), ())


@model
def twice_over_the_same_layers() -> Model:
    def loss(p, x):
        x = scan("first", feed_forward, p["layers"], x)
        return head(p["head"], scan("second", feed_forward, p["layers"], x))

    case = train(loss, with_head(stack(1)), examples())
    return Model(case, (Loop("first"), Loop("second"), "head"), ())


@model
def the_first_stream_in_every_layer() -> Model:
    """Each layer looks back at what went into the first."""
    return plain(
        lambda p, x: over_layers(lambda p, h: feed_forward(p, h) + 0.1 * x, p, x),
        traffic=Traffic(2 * STREAM, STREAM, up_to=2),
    )


@model
def two_streams() -> Model:
    """A reversible residual network: two streams that take turns."""

    def loss(p, x):
        def body(pair, p):
            left, right = pair
            left = left + jnp.tanh(right @ p["up"]) @ p["down"]
            return (right, left), None

        with jax.named_scope("layers"):
            (left, right), _ = jax.lax.scan(body, (x, 2 * x), p["layers"])
        return head(p["head"], left + right)

    return Model(train(loss, with_head(stack(1)), examples()), traffic=Traffic(2 * STREAM, 2 * STREAM))


@model
def time_within_layers() -> Model:
    """A stack of recurrent layers: each goes over time, in a loop of its own."""

    def recurrent(p, x):
        def cell(hidden, x):
            hidden = jnp.tanh(x @ p["in"] + hidden @ p["again"])
            return hidden, hidden

        start = jnp.zeros((x.shape[0], WIDTH))
        return x + jax.lax.scan(cell, start, x.swapaxes(0, 1))[1].swapaxes(0, 1)

    layers = {"in": normal(1, LAYERS, WIDTH, WIDTH, scale=0.2), "again": normal(2, LAYERS, WIDTH, WIDTH, scale=0.2)}
    return plain(lambda p, x: over_layers(recurrent, p, x), layers)


@model
def blocks_of_layers() -> Model:
    """A loop over blocks, each of which is a loop over layers."""
    block = lambda p, x: jax.lax.scan(lambda x, p: (feed_forward(p, x), None), x, p)[0]  # noqa: E731
    return plain(lambda p, x: over_layers(jax.checkpoint(block), p, x), stack(1, LAYERS, 3))


@model
def layers_within_time() -> Model:
    """A stacked recurrent network, time outside: every step in time goes over all layers."""

    def loss(p, x):
        def moment(states, x):
            def layer(x, both):
                p, state = both
                state = jnp.tanh(x @ p["in"] + state @ p["again"])
                return state, state

            x, states = jax.lax.scan(layer, x, (p["layers"], states))
            return states, x

        with jax.named_scope("time"):
            start = jnp.zeros((LAYERS, x.shape[0], WIDTH))
            _, outs = jax.lax.scan(moment, start, x.swapaxes(0, 1))
        return head(p["head"], outs)

    layers = {"in": normal(1, LAYERS, WIDTH, WIDTH, scale=0.2), "again": normal(2, LAYERS, WIDTH, WIDTH, scale=0.2)}
    why = "the loop over layers is within one over time, which would have to go round all islands"
    return Model(train(loss, with_head(layers), examples()), (Loop("time", LENGTH, why), "head"), ())


@model
def layers_within_the_users_microbatches() -> Model:
    """Gradients that the user accumulates over pieces of the batch."""

    def step(params, x):
        def loss(p, x):
            return head(p["head"], over_layers(feed_forward, p["layers"], x))

        def piece(total, x):
            value, grads = jax.value_and_grad(loss)(params, x)
            return jax.tree.map(jnp.add, total, grads), value

        with jax.named_scope("pieces"):
            grads, values = jax.lax.scan(
                piece, jax.tree.map(jnp.zeros_like, params), x.reshape(2, BATCH // 2, LENGTH, WIDTH)
            )
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, grads), values, grads

    case = zoo.Case(step, (with_head(stack(1)), examples()), donate=(0,), batch=(1,))
    why = "the loop over layers is within one over the batch, which would have to go round all islands"
    return Model(case, (Loop("pieces", 2, why),), (), mixes="reshape")


@model
def recurrence() -> Model:
    """A loop over time alone."""

    def loss(p, x):
        def cell(hidden, x):
            hidden = jnp.tanh(x @ p["in"] + hidden @ p["again"])
            return hidden, hidden

        with jax.named_scope("time"):
            _, outs = jax.lax.scan(cell, jnp.zeros((x.shape[0], WIDTH)), x.swapaxes(0, 1))
        return head(p["head"], outs)

    params = {
        "in": normal(1, WIDTH, WIDTH, scale=0.2),
        "again": normal(2, WIDTH, WIDTH, scale=0.2),
        "head": output_matrix(),
    }
    return Model(train(loss, params, examples()), (Loop("time", LENGTH, NOT_LAYERS), "head"), ())


@model
def prefix_sums() -> Model:
    """A linear recurrence over time as a tree, which has no loop, in each of the stacked layers."""

    def mixed(p, x):
        decay = jnp.broadcast_to(jax.nn.sigmoid(p["decay"]), x.shape)
        combine = lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1])  # noqa: E731
        return feed_forward(p, x + 0.1 * jax.lax.associative_scan(combine, (decay, x), axis=1)[1])

    return plain(lambda p, x: over_layers(mixed, p, x), {**stack(1), "decay": normal(7, LAYERS, WIDTH)})


@model
def layers_in_the_carry() -> Model:
    """The stacks go round the loop unchanged."""

    def over(layers, x):
        def body(carry, i):
            x, layers = carry
            return (feed_forward(jax.tree.map(lambda one: one[i], layers), x), layers), None

        with jax.named_scope("layers"):
            return jax.lax.scan(body, (x, layers), jnp.arange(LAYERS))[0][0]

    return handed_on(plain(over))


@model
def an_ensemble() -> Model:
    """Several models at once: members before layers in every stack, and a `vmap` around the loop."""

    def loss(p, x):
        def member(layers):
            return over_layers(feed_forward, layers, x)

        return head(p["head"], jnp.mean(jax.vmap(member)(p["layers"]), axis=0))

    case = train(loss, with_head(stack(1, 3, LAYERS)), examples())
    return Model(case, stacks=(Stack(axis=1),), traffic=Traffic(3 * STREAM, 3 * STREAM))


@model
def layers_as_flat_vectors() -> Model:
    """All parameters of a layer are one vector, which the layer takes apart."""

    def layer(p, x):
        up, down = jnp.split(p, 2)
        return feed_forward({"up": up.reshape(WIDTH, HIDDEN), "down": down.reshape(HIDDEN, WIDTH)}, x)

    layers = jnp.concatenate([one.reshape(LAYERS, -1) for one in (stack(1)["up"], stack(1)["down"])], axis=1)
    return plain(lambda p, x: over_layers(jax.checkpoint(layer), p, x), layers)


@model
def layers_left_out_by_a_table() -> Model:
    """The stack is longer than the model: a mask says which layers are there."""
    mask = jnp.array([True, True, False, True, True, False])

    def over(layers, x):
        def body(x, both):
            p, is_there = both
            return jnp.where(is_there, feed_forward(p, x), x), None

        with jax.named_scope("layers"):
            return jax.lax.scan(body, x, (layers, mask))[0]

    return plain(over, stack(1, 6), Loop(layers=6), size=6)


@model
def quantised_inference() -> Model:
    """Integers for the matrices, and a scale for every column of every layer."""

    def layer(p, x):
        return x + jnp.tanh(x @ (p["up"] * p["scale"])) @ (p["down"] * 0.01)

    def fn(params, x):
        x = over_layers(layer, params["layers"], x)
        with jax.named_scope("head"):
            return x @ params["head"]

    layers = jax.tree.map(lambda one: jnp.round(100 * one).astype(jnp.int8), stack(1))
    layers["scale"] = jnp.full((LAYERS, 1, HIDDEN), 0.01)
    return Model(zoo.Case(fn, (with_head(layers), examples()), batch=(1,)), traffic=Traffic(STREAM))
