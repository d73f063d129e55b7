"""Costs of single operations."""

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.cost.operations import cost_of
from atoll.compiler.export.frontend import export
from atoll.compiler.export.job import Job
from atoll.compiler.module.graph import Graph
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.pipeline import PHASES
from atoll.compiler.pipeline.registry import steps_of_phase


def cost(fn, *args):
    """The cost of all that a function does."""
    module = export(Job(fn, *args))
    run_passes(module, steps_of_phase(PHASES[0]))
    graph = Graph.of(module)
    return sum(cost_of(one) for one in graph.operations)


CONSTANT = 1  # what a scalar in the program counts


def zeros(*shape):
    return jnp.zeros(shape)


@pytest.mark.parametrize(
    ("fn", "args", "expected"),
    [
        (lambda a, b: jax.lax.dot(a, b), (zeros(3, 5), zeros(5, 7)), 2 * 3 * 5 * 7),
        (lambda a, b: jax.lax.batch_matmul(a, b), (zeros(2, 3, 5), zeros(2, 5, 7)), 2 * 2 * 3 * 5 * 7),
        (lambda a: jax.lax.neg(a), (zeros(3, 5),), 15),
        (
            lambda a, k: jax.lax.conv(a, k, (1, 1), "VALID"),
            (zeros(1, 3, 8, 8), zeros(6, 3, 3, 3)),
            2 * (6 * 6 * 6) * (3 * 3 * 3),
        ),
        (lambda a: jax.lax.neg(a), (zeros(0, 5),), 0),
    ],
)
def test_cost(fn, args, expected):
    assert cost(fn, *args) == expected


def test_a_loop_costs_its_body_once_an_iteration():
    def loop(count):
        return cost(lambda x: jax.lax.fori_loop(0, count, lambda _, y: jnp.sin(y), x), zeros(1000))

    assert 10_000 <= loop(10) < 11_000
    assert 20_000 <= loop(20) < 21_000


def test_a_scan_costs_its_length():
    def scan(x, w):
        return jax.lax.scan(lambda y, one: (y @ one, None), x, w)[0]

    assert cost(scan, zeros(16, 16), zeros(6, 16, 16)) >= 6 * 2 * 16**3
    assert cost(scan, zeros(16, 16), zeros(6, 16, 16)) < 6.5 * 2 * 16**3


def test_a_loop_of_unknown_length_counts_once():
    body = cost(lambda x: jax.lax.while_loop(lambda y: y.sum() < 1, lambda y: jnp.sin(y), x), zeros(1000))
    assert 1000 <= body < 3100


def test_a_comparison_in_the_body_is_no_bound():
    def loop(x):
        return jax.lax.while_loop(lambda y: y.sum() < 1, lambda y: jnp.where(y.astype(int) < 77, y, -y), x)

    assert cost(loop, zeros(1000)) < 10_000


def test_a_branch_costs_what_its_dearest_alternative_does():
    def branch(p, x):
        return jax.lax.cond(p, lambda: jnp.sin(x), lambda: jnp.sin(jnp.sin(jnp.sin(x))))

    assert 3000 <= cost(branch, True, zeros(1000)) < 3100


def test_a_reduction_costs_what_it_combines():
    assert cost(lambda x: jnp.sum(x), zeros(10, 100)) == 999 + CONSTANT
    assert cost(lambda x: jnp.sum(x, 1), zeros(10, 100)) == 990 + CONSTANT


def test_what_is_written_into_something_costs_what_is_written():
    table, rows = zeros(1000, 64), zeros(8, 64)
    assert cost(lambda x, y: jax.lax.dynamic_update_slice(x, y, (3, 0)), table, rows) == 512 + 2 * CONSTANT
    layers = zeros(50, 1000)
    kept = cost(lambda x: jax.lax.scan(lambda h, one: (h, jnp.sin(one)), 0.0, x), layers)
    assert 50 * 2000 <= kept < 50 * 7000  # and not 50 times all layers
