"""Prefill and decode on islands that divide the model differently; only the jobs and `main` know of atoll."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy
from jax.sharding import PartitionSpec as P

import atoll

VOCABULARY, WIDTH, HEADS, LAYERS = 32, 16, 4, 2
BATCH, PROMPT, LENGTH = 4, 8, 16  # the prompt is part of the length

Params = Any  # a pytree of arrays
Cache = list[dict[str, jax.Array]]  # for each layer the keys and values of all places


def init_params(key: jax.Array) -> Params:
    def matrix(key: jax.Array, fan_in: int, *shape: int) -> jax.Array:
        return jax.random.normal(key, shape) * fan_in**-0.5

    keys, size = iter(jax.random.split(key, 2 + 4 * LAYERS)), WIDTH // HEADS
    layers = [
        {
            "qkv": matrix(next(keys), WIDTH, WIDTH, 3, HEADS, size),
            "out": matrix(next(keys), WIDTH, HEADS, size, WIDTH),
            "up": matrix(next(keys), WIDTH, WIDTH, 4 * WIDTH),
            "down": matrix(next(keys), 4 * WIDTH, 4 * WIDTH, WIDTH),
        }
        for _ in range(LAYERS)
    ]
    return {
        "embed": matrix(next(keys), 1, VOCABULARY, WIDTH),
        "places": matrix(next(keys), 1, LENGTH, WIDTH),
        "layers": layers,
    }


def normalised(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def forward(params: Params, cache: Cache, tokens: jax.Array, place: jax.Array) -> tuple[jax.Array, Cache]:
    """The likeliest token after these, which stand at `place` and behind it, and the cache with theirs in it."""
    new = tokens.shape[1]
    x = params["embed"][tokens] + jax.lax.dynamic_slice_in_dim(params["places"], place, new)
    seen = jnp.arange(LENGTH) <= place + jnp.arange(new)[:, None]
    filled = []
    for layer, old in zip(params["layers"], cache, strict=True):
        q, k, v = jnp.einsum("btd,dchk->cbthk", normalised(x), layer["qkv"])
        keys, values = (
            jax.lax.dynamic_update_slice_in_dim(old[name], part, place, axis=1) for name, part in (("k", k), ("v", v))
        )
        scores = jnp.where(seen, jnp.einsum("bqhk,bthk->bhqt", q, keys) * q.shape[-1] ** -0.5, -jnp.inf)
        mixed = jnp.einsum("bhqt,bthk->bqhk", jax.nn.softmax(scores), values)
        x = x + jnp.einsum("bqhk,hkd->bqd", mixed, layer["out"])
        x = x + jax.nn.gelu(normalised(x) @ layer["up"]) @ layer["down"]
        filled.append({"k": keys, "v": values})
    return jnp.argmax(normalised(x[:, -1]) @ params["embed"].T, axis=-1), filled


def prefill(params: Params, prompts: jax.Array) -> tuple[jax.Array, Cache]:
    """All of the prompt at once."""
    empty = jnp.zeros((BATCH, LENGTH, HEADS, WIDTH // HEADS))
    return forward(params, [{"k": empty, "v": empty}] * LAYERS, prompts, jnp.int32(0))


def decode(params: Params, cache: Cache, token: jax.Array, place: jax.Array) -> tuple[jax.Array, Cache]:
    """One token more of every answer."""
    return forward(params, cache, token[:, None], place)


def generate(params: Params, prompts: jax.Array) -> jax.Array:
    """Both in one program, which `main` compares with."""
    token, cache = prefill(params, prompts)

    def turn(carry: tuple[jax.Array, Cache], place: jax.Array) -> tuple[tuple[jax.Array, Cache], jax.Array]:
        return decode(params, carry[1], carry[0], place), carry[0]

    (last, _), tokens = jax.lax.scan(turn, (token, cache), jnp.arange(PROMPT, LENGTH - 1))
    return jnp.append(tokens.T, last[:, None], axis=1)


PARAMS = jax.eval_shape(lambda: init_params(jax.random.key(0)))
PROMPTS = jax.ShapeDtypeStruct((BATCH, PROMPT), jnp.int32)
TOKEN, CACHE = jax.eval_shape(prefill, PARAMS, PROMPTS)
PLACE = jax.ShapeDtypeStruct((), jnp.int32)

# Prefill is a lot of work for each request: its devices divide the heads and the MLP. Decode divides the requests.
TOPOLOGY = "island prefill : cpu[model=2]; island decode : cpu[data=2]"
LAYER = {"qkv": P(None, None, "model"), "out": P("model"), "up": P(None, "model"), "down": P("model")}
DIVIDED = {"embed": P(), "places": P(), "layers": [LAYER] * LAYERS}

prefilling = atoll.Job(
    prefill, PARAMS, PROMPTS, in_shardings=(DIVIDED, P()), out_shardings=(P(), P(None, None, "model"))
)
decoding = atoll.Job(
    decode, PARAMS, CACHE, TOKEN, PLACE, in_shardings=(P(), P("data"), P("data"), P()), donate_argnums=1
)


def bytes_of(tree: Params | Cache) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def main() -> None:
    with atoll.Cluster(TOPOLOGY) as cluster:
        first = atoll.compile(prefilling, topology=cluster, islands=("prefill",))
        then = atoll.compile(decoding, topology=cluster, islands=("decode",))
        params = init_params(jax.random.key(0))
        prompts = numpy.random.default_rng(0).integers(0, VOCABULARY, (BATCH, PROMPT)).astype(numpy.int32)
        # Each island gets the parameters once, in its own division.
        to_prefill = first.put(params, prompts)[0]
        to_decode = then.put(params, *jax.tree.map(jnp.zeros_like, (CACHE, TOKEN, PLACE)))[0]

        token, cache = first(to_prefill, prompts)
        tokens, sent = [token], []
        for place in range(PROMPT, LENGTH - 1):
            token, cache = then(to_decode, cache, token, numpy.int32(place))
            tokens.append(token)
            sent.append(sum(then.stats().bytes_per_link.values()))

        answers = numpy.stack([numpy.asarray(token) for token in tokens], axis=1)
        print("the cache has", bytes_of(CACHE), "bytes, and a token of each request", bytes_of(TOKEN))
        print("bytes sent for each turn of decode:", *sent)
        print(answers)
        print("as by one program:", bool((answers == jax.jit(generate)(params, prompts)).all()))
        print(then.report())


if __name__ == "__main__":
    main()
