"""Loops over layers that sort tokens by expert are written out; others remain loops."""

import functools

import jax
import jax.numpy as jnp
import numpy
import pytest
from accepted import normal
from atoll.compiler.mlir.bindings import stablehlo
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.notes import Joined
from atoll.compiler.module.noting import notes_of
from jax import lax
from timed_harness import Program, compiled_quickly, faults, lowered, pair_of, take_to  # noqa: F401 (a fixture)

LAYERS, TOKENS, WIDTH, EXPERTS = 3, 8, 4, 2


def routed(x, p):
    gates, chosen = lax.top_k(jax.nn.softmax(x @ p["router"]), 1)
    order = jnp.argsort(chosen[:, 0])
    sizes = jnp.bincount(chosen[:, 0], length=EXPERTS)
    rows = lax.ragged_dot(x[order], p["expert"], sizes)
    return x + gates * jnp.tanh(rows)[jnp.argsort(order)], sizes


def dense(x, p):
    return x + jnp.tanh(x @ p["router"]) @ p["router"].T, (x**2).mean(0)


def penalised(layer, params, x, reverse=False):
    """A loss, and how often each expert is chosen in each layer."""
    x, told = lax.scan(layer, x, params, reverse=reverse)
    return (x**2).mean(), told


def program(layer, **options):
    params = {
        "router": normal(1, LAYERS, WIDTH, EXPERTS, scale=0.5),
        "expert": normal(2, LAYERS, EXPERTS, WIDTH, WIDTH, scale=0.5),
    }
    fn = jax.value_and_grad(functools.partial(penalised, layer, **options), has_aux=True)
    return Program(fn, (params, numpy.asarray(normal(3, TOKENS, WIDTH))), (1,), 2, layer.__name__)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layer", [routed, jax.checkpoint(routed)], ids=["kept", "made again"])
def test_the_gradient_of_layers_that_sort_is_that_of_jax(layer, reverse):
    with jax.enable_x64(True):
        assert faults([pair_of(program(layer, reverse=reverse))]) == [""]


@pytest.mark.parametrize(("layer", "remains"), [(routed, False), (dense, True)])
def test_only_layers_that_sort_are_written_out_and_nothing_is_done_for_the_whole_batch(layer, remains):
    _, module, _ = lowered(program(layer))
    take_to(module, "timed", 2)
    assert bool(operations_in(module.operation, stablehlo.WhileOp)) == remains
    assert not [one for one in notes_of(module) if isinstance(one.fact, Joined)]
