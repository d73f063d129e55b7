"""Prefill and decode on islands that divide the model differently: what one program gives, and what crosses."""

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.examples.serving import serve
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

import atoll

TURNS = 3


@pytest.fixture(scope="module")
def programs():
    with atoll.Cluster(serve.TOPOLOGY) as cluster:
        yield (
            atoll.compile(serve.prefilling, topology=cluster, islands=("prefill",)),
            atoll.compile(serve.decoding, topology=cluster, islands=("decode",)),
        )


@pytest.fixture(scope="module")
def arguments():
    params = jax.jit(lambda: serve.init_params(jax.random.key(1)))()
    return params, numpy.random.default_rng(1).integers(0, serve.VOCABULARY, serve.PROMPTS.shape).astype(numpy.int32)


def turns(prefill, decode, for_prefill, for_decode, prompts):
    """The tokens of each turn, and the cache after the last."""
    token, cache = prefill(for_prefill, prompts)
    tokens = [token]
    for number in range(TURNS):
        token, cache = decode(for_decode, cache, token, numpy.int32(serve.PROMPT + number))
        tokens.append(token)
    return tokens, cache


def test_tokens_and_cache_are_those_of_one_device(programs, arguments):
    prefill, decode = programs
    params, prompts = arguments
    tokens, cache = turns(prefill, decode, params, params, prompts)
    expected, whole = turns(jax.jit(serve.prefill), jax.jit(serve.decode), params, params, prompts)
    assert numpy.array_equal(numpy.stack(list(map(numpy.asarray, tokens))), numpy.stack(expected))
    for ours, theirs in zip(jax.tree.leaves(cache), jax.tree.leaves(whole), strict=True):
        assert numpy.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_cache_crosses_once_and_parameters_never(programs, arguments):
    prefill, decode = programs
    params, prompts = arguments
    here = prefill.put(params, prompts)[0]
    there = decode.put(params, *jax.tree.map(jnp.zeros_like, (serve.CACHE, serve.TOKEN, serve.PLACE)))[0]
    token, cache = prefill(here, prompts)
    for sent in (serve.bytes_of((serve.CACHE, serve.TOKEN)), 0, 0):
        token, cache = decode(there, cache, token, numpy.int32(serve.PROMPT))
        token.block_until_ready()
        assert sum(decode.stats().bytes_per_link.values()) == sent
    assert [leaf.islands for leaf in jax.tree.leaves(cache)] == 4 * [("decode",)]
