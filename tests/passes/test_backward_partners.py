"""Which stage backward contractions follow."""

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.export.frontend import export
from atoll.compiler.export.job import Job
from atoll.compiler.mlir.bindings import stablehlo
from atoll.compiler.module.graph import Graph
from atoll.passes.stage.cut.least_traffic import Value, least_traffic
from atoll.passes.stage.operations.backward_partners import with_companions
from atoll.passes.stage.operations.cheap_operations import copied
from atoll.passes.stage.operations.roles import roles_of


def model(params, x, checkpoint=False):
    for one in params:
        layer = lambda x, one=one: jnp.sin((x @ one.T).reshape(x.shape))  # noqa: E731
        x = (jax.checkpoint(layer) if checkpoint else layer)(x)
    return jnp.sum(x)


def force(params, x):
    return jnp.sum(jax.grad(model, argnums=1)(params, x) ** 2)


def contractions(loss, shared=False):
    """The graph of its gradient, its contractions, and the stages, of which each forward contraction has its own."""
    weights = [jnp.ones((3, 3))] * 2
    fn = (lambda w, x: loss([w, w], x)) if shared else loss
    graph = Graph.of(export(Job(jax.grad(fn), weights[0] if shared else weights, jnp.ones((2, 3)))))
    found = [index for index, one in enumerate(graph.operations) if isinstance(one, stablehlo.DotGeneralOp)]
    forward = [index for index in found if roles_of(graph)[index] == "forward"]
    stages = [forward.index(index) if index in forward else None for index in range(len(graph.operations))]
    return graph, found, stages


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(model, [0, 1, 1, 1, 0]), (lambda params, x: model(params, x, checkpoint=True), [0, 1, 1, 1, 1, 0, 0])],
)
def test_they_follow_the_parameter_or_the_activation(loss, expected):
    graph, found, stages = contractions(loss)
    followed = with_companions(graph, copied(graph), stages)
    assert [followed[index] for index in found] == expected
    assert all(one is None for index, one in enumerate(followed) if index not in found)


def test_what_two_stages_share_tells_nothing():
    graph, found, stages = contractions(model, shared=True)
    followed = [with_companions(graph, copied(graph), stages)[index] for index in found]
    assert followed[:2] == [0, 1]
    # The gradient of the activation takes the parameter alone; those of the parameter take one activation each.
    assert sorted(followed[2:], key=str) == [0, 1, None]


def test_the_gradient_of_a_table_follows_the_lookup():
    def tied(table, tokens):
        return jnp.sum(jnp.sin(table[tokens]) @ table.T)

    graph = Graph.of(export(Job(jax.grad(tied), jnp.ones((5, 3)), jnp.ones(2, "int32"))))
    stages = [1 if isinstance(one, stablehlo.DotGeneralOp) else None for one in graph.operations]
    [lookup] = [index for index, one in enumerate(graph.operations) if isinstance(one, stablehlo.GatherOp)]
    [scatter] = [index for index, one in enumerate(graph.operations) if isinstance(one, stablehlo.ScatterOp)]
    stages[lookup] = 0
    assert with_companions(graph, copied(graph), stages)[scatter] == 0


def test_a_row_whose_number_is_a_constant_tells_nothing():
    def first(table):
        return jnp.sum(jnp.sin(table[jnp.array([0, 2])]))

    graph = Graph.of(export(Job(jax.grad(first), jnp.ones((5, 3)))))
    stages = [0 if isinstance(one, stablehlo.GatherOp) else None for one in graph.operations]
    assert 0 in stages
    assert with_companions(graph, copied(graph), stages) == stages


def test_a_model_that_needs_gradients_is_left_alone():
    graph, _, stages = contractions(force)
    assert with_companions(graph, copied(graph), stages) == stages


def test_the_bound_knows_nothing_of_them():
    values = [Value(5, (0, 1)), Value(1, (1, 2))]
    found = least_traffic([0, None, 1], values, kept=[0, 1, 1])
    assert (found.labels, found.traffic, found.lower_bound) == ((0, 1, 1), 5, 1)
