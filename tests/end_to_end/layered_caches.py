"""Layer loops that read and write a cache of keys and values."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import zoo
from layered import BATCH, FLOAT, LAYERS, LENGTH, WIDTH, Model, Stack, Traffic, feed_forward, model, normal, with_head
from layered_transformers import attend, attention_stack, normalise


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
