"""Which results take the places of arguments: asked of the module for where they live, and of programs that are run."""

import pytest
from atoll.compiler.commands.run import _leaf
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.feedback import StateLeaf, replacements
from atoll.compiler.module.homes import fed_back, replaced_arguments
from atoll.runtime.program import Input, Output


def leaves(*paths):
    return [StateLeaf(*path.split(":")) if ":" in path else StateLeaf(path, "f32") for path in paths]


def found(arguments, results):
    given = leaves(*arguments)
    made = leaves(*results)
    pairs = replacements(dict(enumerate(given)), made)
    return {given[one].path: made[other].path for one, other in pairs.items()}


@pytest.mark.parametrize(
    ("arguments", "results", "wanted"),
    [
        pytest.param(
            ["s['m']", "s['w']"],
            ["result[0]['w']", "result[1]['m']", "result[1]['w']"],
            {"s['m']": "result[1]['m']", "s['w']": "result[1]['w']"},
            id="by the result that has all of it, not by the first of the same key",
        ),
        pytest.param(
            ["p['w']", "m['w']"],
            ["result[0]['w']", "result[1]['w']"],
            {"p['w']": "result[0]['w']", "m['w']": "result[1]['w']"},
            id="each by a result of its own",
        ),
        pytest.param(["x", "y"], ["result"], {"x": "result"}, id="a result replaces one"),
        pytest.param(["x"], ["result[0]", "result[1]"], {"x": "result[0]"}, id="the first that fits"),
        pytest.param(
            ["s['n']:i32", "s['w']"],
            ["result['n']:f32", "result['w']"],
            {"s['w']": "result['w']"},
            id="as far as the kinds agree",
        ),
        pytest.param(
            ["a['w']", "a['v']", "b['w']"],
            ["result['w']"],
            {"b['w']": "result['w']"},
            id="what is replaced as a whole comes before what is not",
        ),
        pytest.param(
            ["s[0]", "s[1]"], ["result[1]", "result[0]"], {"s[0]": "result[0]", "s[1]": "result[1]"}, id="all results"
        ),
        pytest.param(["s['w']"], ["result['v']"], {}, id="none"),
    ],
)
def test_replacements(arguments, results, wanted):
    assert found(arguments, results) == wanted


STEP = """
func.func @main(
    %w: tensor<4xf32> {atoll.path = "state['w']", atoll.donated},
    %m: tensor<4xf32> {atoll.path = "state['m']", atoll.donated})
    -> (tensor<4xf32> {atoll.path = "result[0]['w']"},
        tensor<4xf32> {atoll.path = "result[1]['m']"},
        tensor<4xf32> {atoll.path = "result[1]['w']"}) {
  %0 = stablehlo.add %w, %m : tensor<4xf32>
  return %0, %m, %w : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
"""


def test_a_module_and_its_program_agree():
    module = parse_text(STEP)
    inputs = [Input(f"state['{key}']", (4,), "float32", donated=True) for key in "wm"]
    outputs = [Output(f"result{path}", (4,), "float32") for path in ("[0]['w']", "[1]['m']", "[1]['w']")]
    of_program = replacements(dict(enumerate(map(_leaf, inputs))), list(map(_leaf, outputs)))
    assert replaced_arguments(module) == fed_back(module) == list(of_program.items()) == [(0, 2), (1, 1)]
