"""What operations are for, and which are copied."""

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.graph import Graph
from atoll.compiler.ir_text import parse_text
from atoll.compiler.roles import copied, roles_of, sent_operands

PRELUDE = """
func.func @main(%x: tensor<4xf32>, %s: tensor<f32>) -> tensor<4xf32> {
  %c = stablehlo.constant dense<1.0> : tensor<4xf32>
"""


def graph_of(body):
    return Graph.of(parse_text(PRELUDE + body + "\n}"))


def test_roles_follow_dependence_where_no_scope_tells():
    graph = graph_of(
        """
  %0 = stablehlo.negate %x : tensor<4xf32> loc("jit(f)/neg")
  %1 = stablehlo.sine %0 : tensor<4xf32> loc("jit(f)/jvp()/sin")
  %2 = stablehlo.abs %1 : tensor<4xf32> loc("jit(f)/transpose(jvp())/abs")
  %3 = stablehlo.cosine %1 : tensor<4xf32> loc("jit(f)/jvp()/checkpoint/rematted_computation/cos")
  %4 = stablehlo.add %2, %3 : tensor<4xf32> loc("jit(f)/add")
  %5 = stablehlo.add %4, %c : tensor<4xf32> loc("jit(f)/add")
  return %5 : tensor<4xf32>"""
    )
    roles = ["update", "forward", "forward", "backward", "rematerialised", "update", "update"]
    assert roles_of(graph) == roles  # the constant is for the update alone


def test_what_a_later_gradient_needs_of_an_earlier_one_is_no_forward_operation():
    graph = graph_of(
        """
  %0 = stablehlo.sine %x : tensor<4xf32> loc("jit(f)/jvp()/sin")
  %1 = stablehlo.negate %0 : tensor<4xf32> loc("jit(f)/neg")
  %2 = stablehlo.cosine %1 : tensor<4xf32> loc("jit(f)/jvp()/cos")
  return %2 : tensor<4xf32>"""
    )
    assert roles_of(graph)[2] == "update"


def test_without_a_gradient_all_is_forward():
    graph = graph_of('%0 = stablehlo.sine %x : tensor<4xf32> loc("jit(f)/sin")\n return %0 : tensor<4xf32>')
    assert roles_of(graph) == ["forward", "forward"]


@pytest.mark.parametrize(
    ("operation", "is_copied"),
    [
        ("stablehlo.negate %c : tensor<4xf32>", True),
        ("stablehlo.negate %x : tensor<4xf32>", False),
        ("stablehlo.add %c, %x : tensor<4xf32>", False),
        ("stablehlo.broadcast_in_dim %s, dims = [] : (tensor<f32>) -> tensor<4xf32>", True),
        ("stablehlo.custom_call @f(%c) : (tensor<4xf32>) -> tensor<4xf32>", False),
    ],
)
def test_copied(operation, is_copied):
    assert copied(graph_of(f"%0 = {operation}\n return %0 : tensor<4xf32>")) == [True, is_copied]


def test_random_numbers_are_never_drawn_twice():
    graph = graph_of(
        """
  %one = stablehlo.constant dense<1.0> : tensor<f32>
  %shape = stablehlo.constant dense<4> : tensor<1xi64>
  %0 = stablehlo.rng %s, %one, %shape, distribution = UNIFORM
    : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<4xf32>
  return %0 : tensor<4xf32>"""
    )
    assert copied(graph)[-1] is False


def test_a_scalar_that_is_computed_is_sent_and_its_broadcast_copied():
    graph = graph_of(
        """
  %z = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.reduce(%x init: %z) applies stablehlo.add across dimensions = [0]
    : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  %1 = stablehlo.broadcast_in_dim %0, dims = [] : (tensor<f32>) -> tensor<4xf32>
  %2 = stablehlo.multiply %1, %c : tensor<4xf32>
  %3 = stablehlo.add %2, %x : tensor<4xf32>
  return %3 : tensor<4xf32>"""
    )
    is_copied = copied(graph)
    assert is_copied == [True, True, False, True, True, False]
    scalar, argument = graph.results[2][0], 0
    assert sent_operands(graph, is_copied)[-1] == [scalar, argument]


def test_jax_and_the_roles_agree():
    """Forward, backward and update of a real train step."""
    from atoll.compiler.frontend import export
    from atoll.compiler.job import Job

    def step(w, x):
        gradient = jax.grad(lambda w: jnp.sum(jnp.sin(x @ w)))(w)
        return w - 0.1 * gradient

    graph = Graph.of(export(Job(step, jnp.zeros((3, 3)), jnp.zeros((2, 3)))))
    found = {
        str(operation.operation.name).removeprefix("stablehlo."): role
        for operation, role in zip(graph.operations, roles_of(graph), strict=True)
    }
    assert found["sine"] == "forward"
    assert found["subtract"] == "update"
    assert "backward" in found.values()
