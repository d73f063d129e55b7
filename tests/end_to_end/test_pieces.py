"""A stacked parameter whose layers live on two islands: two arguments of @main, and one array to the caller."""

import numpy
from atoll.compiler.compiled import load_flat
from atoll.compiler.lowered import compile_module
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.topology.topology import Topology
from atoll.runtime.program import Run

# Some layers are on stage 0 and the others on stage 1; each is replaced by its half.
STAGED = """
!state = tensor<2xf32>
!first = tensor<{first}x2xf32>
!rest = tensor<{rest}x2xf32>
module attributes {{atoll.phase = "staged", atoll.plan = "stages=2", atoll.stages = 2 : i32,
    atoll.topology = "2 x cpu[1]"}} {{
  sdy.mesh @mesh = <["devices"=1]>
  func.func @main(
      %b: !rest {{atoll.donated, atoll.path = "w", atoll.piece = array<i64: 0, {first}, 4>}},
      %x: !state {{atoll.path = "x"}},
      %a: !first {{atoll.donated, atoll.path = "w", atoll.piece = array<i64: 0, 0, 4>}})
      -> (!first {{atoll.path = "result[0]", atoll.piece = array<i64: 0, 0, 4>}},
          !state {{atoll.path = "result[1]"}},
          !rest {{atoll.path = "result[0]", atoll.piece = array<i64: 0, {first}, 4>}}) {{
    %zero = stablehlo.constant {at0} dense<0.0> : tensor<f32>
    %0 = stablehlo.reduce(%a init: %zero) applies stablehlo.add across dimensions = [0] {at0}
        : (!first, tensor<f32>) -> !state
    %1 = stablehlo.add %x, %0 {at0} : !state
    %zero_1 = stablehlo.constant {at1} dense<0.0> : tensor<f32>
    %2 = stablehlo.reduce(%b init: %zero_1) applies stablehlo.add across dimensions = [0] {at1}
        : (!rest, tensor<f32>) -> !state
    %3 = stablehlo.add %1, %2 {at1} : !state
    %half = stablehlo.constant {at0} dense<0.5> : !first
    %4 = stablehlo.multiply %a, %half {at0} : !first
    %half_1 = stablehlo.constant {at1} dense<0.5> : !rest
    %5 = stablehlo.multiply %b, %half_1 {at1} : !rest
    return %4, %3, %5 : !first, !state, !rest
  }}
}}
"""
TOPOLOGY = Topology.parse("2 x cpu[1]")
W, X = numpy.arange(8, dtype="float32").reshape(4, 2), numpy.ones(2, "float32")


def compiled(first=3):
    """The program for so many layers on the first island, of four."""
    at = [f"{{atoll.stage = {stage} : i32, atoll.sweep = 0 : i32}}" for stage in (0, 1)]
    return compile_module(parse_text(STAGED.format(first=first, rest=4 - first, at0=at[0], at1=at[1])), TOPOLOGY)


def check_steps(step):
    """Two steps, the second on what the first returned, which moves none of it."""
    stacked, total = step.call_flat([W, X])
    assert (stacked.shape, stacked.islands) == ((4, 2), ("island0", "island1"))
    numpy.testing.assert_array_equal(stacked, W / 2)
    numpy.testing.assert_array_equal(total, X + W.sum(0))
    again, total = step.call_flat([stacked, X])
    assert stacked.is_deleted()
    assert again.islands == ("island0", "island1")
    numpy.testing.assert_array_equal(again, W / 4)
    numpy.testing.assert_array_equal(total, X + W.sum(0) / 2)
    assert step.stats().bytes_per_link == {("island0", "island1"): 8}  # the state alone


def test_pieces_of_one_array_on_two_islands(tmp_path):
    with compiled() as step:
        assert [(one.path, one.shape, one.donated, one.starts) for one in step.program.inputs] == [
            ("w", (4, 2), True, ((0, 0), (3, 0))),
            ("x", (2,), False, ()),
        ]
        (placed, _) = step.put(W, X)
        assert placed.islands == ("island0", "island1")
        numpy.testing.assert_array_equal(placed, W)
        check_steps(step)
        step.save(tmp_path / "step.atoll")
    with load_flat(tmp_path / "step.atoll") as loaded:
        check_steps(loaded)


def test_each_piece_is_replaced_where_it_lives():
    with compiled() as step:
        runs = [one for island in step.program.islands for one in island.instructions if isinstance(one, Run)]
        assert all(run.donated for run in runs)
        assert [one.bytes for one in step.report().transfers] == [8]


def test_an_array_in_other_pieces_is_divided_anew():
    with compiled(3) as first, compiled(1) as second:
        stacked, _ = first.call_flat([W, X])
        again, total = second.call_flat([stacked, X])
        assert stacked.is_deleted()
        numpy.testing.assert_array_equal(again, W / 4)
        numpy.testing.assert_array_equal(total, X + W.sum(0) / 2)
