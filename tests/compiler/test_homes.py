"""Where arguments live."""

from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.homes import homes_of, replaced_arguments

STEP = """
func.func @main(
    %w: tensor<4xf32> {atoll.path = "state['w']", atoll.donated},
    %m: tensor<4xf32> {atoll.path = "state['m']", atoll.donated},
    %n: tensor<i32> {atoll.path = "state['n']", atoll.donated},
    %k: tensor<4xf32> {atoll.path = "kept['w']"})
    -> (tensor<4xf32> {atoll.path = "result[0]['w']"},
        tensor<4xf32> {atoll.path = "result[0]['m']"},
        tensor<f32> {atoll.path = "result[0]['n']"}) {
  %0 = stablehlo.add %w, %k : tensor<4xf32>
  %1 = stablehlo.add %m, %k : tensor<4xf32>
  %2 = stablehlo.convert %n : (tensor<i32>) -> tensor<f32>
  return %0, %1, %2 : tensor<4xf32>, tensor<4xf32>, tensor<f32>
}
"""


def test_a_donated_argument_is_replaced_by_the_result_of_its_path_and_type():
    assert replaced_arguments(parse_text(STEP)) == [(0, 0), (1, 1)]


def test_a_plain_argument_is_replaced_by_a_plain_result():
    text = STEP.replace("result[0]['w']", "result").replace("state['w']", "x")
    assert (0, 0) in replaced_arguments(parse_text(text))


def test_two_arguments_do_not_share_a_replacement():
    text = STEP.replace("state['w']", "x").replace("state['m']", "y").replace("result[0]['w']", "result")
    replaced = replaced_arguments(parse_text(text))
    assert len({result for _, result in replaced}) == len(replaced)


def test_a_piece_is_replaced_by_the_same_piece():
    text = STEP.replace("['m']", "['w']")
    for path, *starts in (("state['w']", 4, 0), ("result[0]['w']", 0, 4)):
        for start in starts:
            mark = f'atoll.piece = array<i64: 0, {start}, 8>, atoll.path = "{path}"'
            text = text.replace(f'{{atoll.path = "{path}"', f"{{{mark}", 1)
    assert sorted(replaced_arguments(parse_text(text))) == [(0, 1), (1, 0)]


def test_homes():
    module = parse_text(STEP)
    graph = Graph.of(module)
    first, second, _ = graph.returned
    # The maker of the replacement, also where nothing there uses the old one; else the first user; else any island.
    assert homes_of(module, graph, {0: [2, 1], 1: [2, 0], 2: [3, 0]}, {first: 1, second: 1}) == [1, 1, 3, 0]
