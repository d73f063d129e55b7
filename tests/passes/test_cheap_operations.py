"""Which operations are copied, and what is sent for them."""

import pytest
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.graph import Graph
from atoll.passes.stage.operations.cheap_operations import copied, sent_operands

PRELUDE = """
func.func @main(%x: tensor<4xf32>, %s: tensor<f32>) -> tensor<4xf32> {
  %c = stablehlo.constant dense<1.0> : tensor<4xf32>
"""


def graph_of(body):
    return Graph.of(parse_text(PRELUDE + body + "\n}"))


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
    assert sent_operands(graph)[-1] == [scalar, argument]


def sums(first):
    """Of two arrays, one after the other."""
    return graph_of(
        f"""
  %z = stablehlo.constant dense<0.0> : tensor<f32>
  %y = stablehlo.sine %x : tensor<4xf32> loc("jit(f)/jvp()/sin")
  %0 = stablehlo.reduce(%y init: %z) applies stablehlo.add across dimensions = [0]
    : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  %1 = stablehlo.multiply %y, %y : tensor<4xf32>
  %2 = stablehlo.reduce(%1 init: %z) applies stablehlo.add across dimensions = [0]
    : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
  %3 = {first} : tensor<f32>
  %4 = stablehlo.sqrt %3 : tensor<f32>
  %5 = stablehlo.compare LT, %4, %z : (tensor<f32>, tensor<f32>) -> tensor<i1>
  %6 = stablehlo.select %5, %4, %z : tensor<i1>, tensor<f32>
  %7 = stablehlo.broadcast_in_dim %6, dims = [] : (tensor<f32>) -> tensor<4xf32>
  return %7 : tensor<4xf32>"""
    )


def test_one_scalar_is_sent_for_all_that_is_made_of_it():
    graph = sums("stablehlo.negate %0")
    is_copied = copied(graph)
    assert is_copied[6:] == [True] * 5
    assert sent_operands(graph)[-1] == graph.results[3]


@pytest.mark.parametrize("first", ["stablehlo.add %0, %2", "stablehlo.add %0, %s"])
def test_of_two_scalars_what_is_made_of_both_is_sent(first):
    graph = sums(first)
    is_copied = copied(graph)
    assert is_copied[6:] == [False] + [True] * 4
    assert sent_operands(graph)[-1] == graph.results[6]


def test_in_the_model_a_scalar_is_computed_where_the_plan_says():
    graph = sums('stablehlo.negate %0 : tensor<f32> loc("jit(f)/jvp(here)/neg") %8 = stablehlo.abs %0')
    assert copied(graph)[6:8] == [False, True]
