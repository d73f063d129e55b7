"""What operations are for."""

import jax
import jax.numpy as jnp
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.graph import Graph
from atoll.passes.stage.operations.roles import roles_of

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


def test_jax_and_the_roles_agree():
    """Forward, backward and update of a real train step."""
    from atoll.compiler.export.frontend import export
    from atoll.compiler.export.job import Job

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
