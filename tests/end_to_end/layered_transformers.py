"""Transformers whose layers are stacked, with all of what is recomputed in the backward pass."""

import jax
import jax.numpy as jnp
import numpy
import optax
from jax.ad_checkpoint import checkpoint_name
from layered import (
    BATCH,
    FLOAT,
    HEADS,
    LAYERS,
    LENGTH,
    STREAM,
    TRAINED,
    VOCABULARY,
    WIDTH,
    Loop,
    Model,
    Traffic,
    examples,
    feed_forward,
    head,
    model,
    normal,
    over_layers,
    stack,
    train,
    with_head,
)

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
