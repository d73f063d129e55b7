"""The body of @main as integers."""

import pytest
from atoll.compiler.graph import ARGUMENT, Graph, bytes_of, elements_of
from atoll.compiler.ir_text import parse_text
from atoll.compiler.mlir import ir, new_context

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
