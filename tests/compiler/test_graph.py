"""The body of @main as integers."""

import pytest
from atoll.compiler.mlir.bindings import ir, new_context
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.graph import ARGUMENT, Graph, bytes_of, elements_of

TEXT = """
func.func @main(%x: tensor<4xf32>, %p: tensor<i1>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %0 = stablehlo.add %x, %x : tensor<4xf32>
  %1:2 = "stablehlo.if"(%p) ({
    %2 = stablehlo.negate %0 : tensor<4xf32>
    stablehlo.return %2, %x : tensor<4xf32>, tensor<4xf32>
  }, {
    stablehlo.return %0, %0 : tensor<4xf32>, tensor<4xf32>
  }) : (tensor<i1>) -> (tensor<4xf32>, tensor<4xf32>)
  return %1#1, %x, %1#1 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
"""


def test_operations_and_values_by_number():
    graph = Graph.of(parse_text(TEXT))
    assert [str(one.operation.name) for one in graph.operations] == ["stablehlo.add", "stablehlo.if"]
    assert graph.producer == [ARGUMENT, ARGUMENT, 0, 1, 1]
    assert graph.operands == [[0], [1, 2, 0]]  # each once; those that regions take too
    assert graph.results == [[2], [3, 4]]
    assert graph.users == [[0, 1], [1], [1], [], []]
    assert graph.returned == [4, 0, 4]
    assert graph.sizes == [16, 1, 16, 16, 16]


def test_no_operations():
    graph = Graph.of(parse_text("func.func @main() { return }"))
    assert (graph.operations, graph.values, graph.returned, graph.sizes) == ([], [], [], [])


@pytest.mark.parametrize(
    ("text", "elements", "size"),
    [
        ("tensor<f32>", 1, 4),
        ("tensor<0x4xf32>", 0, 0),
        ("tensor<3x5xbf16>", 15, 30),
        ("tensor<9xi1>", 9, 9),
        ("tensor<9xi4>", 9, 9),
        ("tensor<2xcomplex<f64>>", 2, 32),
        ("tensor<100000x100000xui32>", 10**10, 4 * 10**10),
        ("!stablehlo.token", 0, 0),
    ],
)
def test_sizes(text, elements, size):
    parsed = ir.Type.parse(text, new_context())
    assert (elements_of(parsed), bytes_of(parsed)) == (elements, size)


LOOP = """
func.func @main(%w: tensor<4xf32>, %x: tensor<2xf32> {atoll.parts = 3 : i32}) -> (tensor<f32>, tensor<2xf32>) {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %none = stablehlo.constant dense<0.0> : tensor<2xf32>
  %0 = stablehlo.negate %w : tensor<4xf32>
  %1:2 = mpmd.for (%zero, %none) {iterations = 3 : ui32, atoll.parts = array<i64: 1>} (
      %sum: tensor<f32>, %part: tensor<2xf32>, %index: tensor<ui32>) {
    %2 = "stablehlo.custom_call"(%0, %x) {call_target_name = "f"} : (tensor<4xf32>, tensor<2xf32>) -> tensor<f32>
    %3 = stablehlo.add %sum, %2 : tensor<f32>
    %4 = stablehlo.sine %x : tensor<2xf32>
    mpmd.return %3, %4 : tensor<f32>, tensor<2xf32>
  } : tensor<f32>, tensor<2xf32>
  %5 = stablehlo.abs %1#0 : tensor<f32>
  return %5, %1#1 : tensor<f32>, tensor<2xf32>
}
"""


def test_a_loop_over_microbatches_is_part_of_the_whole():
    graph = Graph.of(parse_text(LOOP))
    names = [operation.operation.name.partition(".")[2] for operation in graph.operations]
    # The placeholder, which nobody reads, is no operation.
    assert names == ["constant", "negate", "custom_call", "add", "sine", "abs"]
    assert graph.region == [0, 0, 1, 1, 1, 2]
    assert (graph.arguments, [loop.region for loop in graph.loops]) == (2, [1])


def test_what_a_loop_yields_is_what_is_used_behind_it():
    graph = Graph.of(parse_text(LOOP))
    (loop,) = graph.loops
    total, part = loop.carried
    assert (total.is_part, part.is_part) == (False, True)
    assert graph.producer[total.yielded] == 3
    assert graph.operands[5] == [total.yielded]
    assert graph.returned == [graph.results[5][0], part.yielded]
    assert graph.outside[total.yielded] == loop.operation.results[0]


def test_a_value_is_there_as_often_as_there_are_microbatches():
    graph = Graph.of(parse_text(LOOP))
    (loop,) = graph.loops
    total, part = loop.carried
    assert graph.times[:2] == [1, 3]
    assert (graph.times[total.yielded], graph.times[part.yielded]) == (1, 3)
    assert graph.times[graph.results[2][0]] == 3
