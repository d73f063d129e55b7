"""Layer loops of every form: how the loop is written, what it carries, what it takes and gives beside parameters."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy
import optax
import zoo
from jax.ad_checkpoint import checkpoint_name
from layered import (
    BATCH,
    FLOAT,
    HEADS,
    HIDDEN,
    LAYERS,
    LENGTH,
    STREAM,
    TRAINED,
    VOCABULARY,
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

NOT_LAYERS = "it goes over time, and nothing that it takes is stored by iteration"


# Transformers.


def attention_stack(number, layers=LAYERS):
    return {
        "norm": jnp.ones((layers, WIDTH)),
        "qkv": normal(number, layers, WIDTH, 3 * WIDTH, scale=WIDTH**-0.5),
        "out": normal(number + 1, layers, WIDTH, WIDTH, scale=WIDTH**-0.5),
        **stack(number + 2, layers),
    }


def attend(query, key, value, mask=None):
    split = lambda x: x.reshape(*x.shape[:2], HEADS, -1)  # noqa: E731
    scores = jnp.einsum("bthd,bshd->bhts", split(query), split(key)) * (WIDTH // HEADS) ** -0.5
    if mask is not None:
        scores = jnp.where(mask, scores, -1e9)
    mixed = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), split(value))
    return mixed.reshape(query.shape)


def normalise(x, scale):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6) * scale


def attention_layer(p, x):
    query, key, value = jnp.split(normalise(x, p["norm"]) @ p["qkv"], 3, axis=-1)
    query = checkpoint_name(query, "query")
    causal = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
    x = x + attend(query, key, value, causal) @ p["out"]
    return feed_forward(p, x)


def decoder(over, tied=True):
    """A language model's train step; `over` goes over its layers."""
    params = {
        "embedding": normal(1, VOCABULARY, WIDTH),
        "layers": attention_stack(10),
        "norm": jnp.ones(WIDTH),
        **({} if tied else {"head": normal(2, WIDTH, VOCABULARY, scale=0.3)}),
    }
    tokens = jnp.asarray(numpy.random.default_rng(0).integers(0, VOCABULARY, (BATCH, LENGTH + 1)), jnp.int32)

    def loss(params, tokens):
        with jax.named_scope("embed"):
            x = params["embedding"][tokens[:, :-1]]
        x = over(params["layers"], x)
        with jax.named_scope("head"):
            matrix = params["embedding"].T if tied else params["head"]
            scores = jax.nn.log_softmax(normalise(x, params["norm"]) @ matrix)
            return -jnp.mean(jnp.take_along_axis(scores, tokens[:, 1:, None], axis=-1))

    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(1e-2))
    return train(loss, params, tokens, optimizer=optimizer)


TABLE = VOCABULARY * WIDTH * FLOAT
TARGETS = BATCH * LENGTH * 4  # the tokens to predict, which come in where the embedding is
TIED = Traffic(STREAM, STREAM, TABLE + TARGETS, TABLE)
LANGUAGE = ("embed", Loop(), "head")


@model
def decoder_recomputed() -> Model:
    return Model(decoder(lambda p, x: over_layers(jax.checkpoint(attention_layer), p, x)), LANGUAGE, traffic=TIED)


@model
def decoder_recomputed_without_barrier() -> Model:
    layer = jax.checkpoint(attention_layer, prevent_cse=False)
    return Model(decoder(lambda p, x: over_layers(layer, p, x)), LANGUAGE, traffic=TIED)


@model
def decoder_untied() -> Model:
    case = decoder(lambda p, x: over_layers(attention_layer, p, x), tied=False)
    return Model(case, LANGUAGE, traffic=Traffic(STREAM, STREAM, TARGETS))


@model
def decoder_unrolled() -> Model:
    """The same parameters, gone over in Python: no loop is left, and each layer reads its slice of the stacks."""

    def over(layers, x):
        for number in range(LAYERS):
            with jax.named_scope(f"layer_{number}"):
                x = jax.checkpoint(attention_layer)(jax.tree.map(lambda one, at=number: one[at], layers), x)
        return x

    return Model(decoder(over), ("embed", *(f"layer_{number}" for number in range(LAYERS)), "head"))


def recomputed_by(policy):
    layer = jax.checkpoint(attention_layer, policy=policy)
    case = train(
        lambda p, x: head(p["head"], over_layers(layer, p["layers"], x)), with_head(attention_stack(1)), examples()
    )
    return Model(case, traffic=TRAINED)


@model
def policy_nothing_saveable() -> Model:
    return recomputed_by(jax.checkpoint_policies.nothing_saveable)


@model
def policy_everything_saveable() -> Model:
    return recomputed_by(jax.checkpoint_policies.everything_saveable)


@model
def policy_dots_saveable() -> Model:
    return recomputed_by(jax.checkpoint_policies.dots_saveable)


@model
def policy_dots_with_no_batch_dims_saveable() -> Model:
    return recomputed_by(jax.checkpoint_policies.dots_with_no_batch_dims_saveable)


@model
def policy_save_only_these_names() -> Model:
    return recomputed_by(jax.checkpoint_policies.save_only_these_names("query"))


@model
def policy_offloaded() -> Model:
    policy = jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=["query"],
        offload_src="device",
        offload_dst="pinned_host",
    )
    return recomputed_by(policy)


# How the loop is written.


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


# What the loop carries, takes and gives beside parameters and the stream.


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

    params = {**with_head(stack(1)), "weights": normal(70, LAYERS)}
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
    return Model(train(loss, with_head(layers), examples()), mixes="mul")


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


# Randomness, constants and the number of the layer.


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


# Caches.


def cached_step(batch_first):
    """One token of a decoder that has the keys and values of those before it, of every layer."""

    def fn(caches, params, x, position):
        def layer(x, both):
            p, cache = both
            query, key, value = jnp.split(normalise(x, p["norm"]) @ p["qkv"], 3, axis=-1)
            cache = {
                name: jax.lax.dynamic_update_slice_in_dim(cache[name], new, position, axis=1)
                for name, new in (("key", key), ("value", value))
            }
            mask = jnp.arange(LENGTH) <= position
            x = x + attend(query, cache["key"], cache["value"], mask[None, None, None]) @ p["out"]
            return feed_forward(p, x), cache

        if batch_first:
            caches = jax.tree.map(lambda one: one.swapaxes(0, 1), caches)
        with jax.named_scope("layers"):
            x, caches = jax.lax.scan(layer, x, (params["layers"], caches))
        if batch_first:
            caches = jax.tree.map(lambda one: one.swapaxes(0, 1), caches)
        with jax.named_scope("head"):
            return caches, x @ params["head"]

    lead = (BATCH, LAYERS) if batch_first else (LAYERS, BATCH)
    caches = {name: jnp.zeros((*lead, LENGTH, WIDTH)) for name in ("key", "value")}
    params = with_head(attention_stack(1))
    batch = (0, 2) if batch_first else ()
    case = zoo.Case(fn, (caches, params, normal(90, BATCH, 1, WIDTH), jnp.int32(2)), donate=(0,), batch=batch)
    stacks = Stack(), Stack(r"^(caches|result\[0\])\[", axis=int(batch_first))
    return Model(case, stacks=stacks, traffic=Traffic(BATCH * WIDTH * FLOAT))


@model
def cache_of_keys_and_values() -> Model:
    return cached_step(batch_first=False)


@model
def cache_with_the_batch_first() -> Model:
    # What has parts by microbatch has none by layer: each cache is whole on one island, and its rows cross.
    return replace(cached_step(batch_first=True), stacks=(), traffic=None)
