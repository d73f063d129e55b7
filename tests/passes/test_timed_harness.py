"""The judge of phase `timed` itself: modules that a person wrote, right ones and ones that must be caught."""

import re

import jax
import jax.numpy as jnp
import numpy
import pytest
import timed_harness
from atoll.compiler.mlir.binary import Binary
from atoll.compiler.mlir.ir_text import parse_text
from timed_harness import (
    QUICKLY,
    ContractBrokenError,
    Program,
    answers,
    compiling_quickly,
    difference,
    differences,
    faults,
    judged,
    lowered,
)


def step(w, x):
    y = x @ w
    return w - y.T @ x, y, x


PROGRAM = Program(
    step, (numpy.arange(16, dtype="float32").reshape(4, 4), numpy.arange(32, dtype="float32").reshape(8, 4)), (1,), 4
)

RIGHT = """
module attributes {atoll.phase = "timed"} {
func.func public @main(%w: tensor<4x4xf32> {atoll.path = "w"},
    %x: tensor<2x4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 4 : i32})
    -> (tensor<4x4xf32> {atoll.path = "result[0]"},
        tensor<2x4xf32> {atoll.path = "result[1]", atoll.parts = 4 : i32, atoll.parts_dimension = 0 : i32},
        tensor<2x4xf32> {atoll.path = "result[2]", atoll.parts = 4 : i32, atoll.parts_dimension = 0 : i32}) {
  %zero = stablehlo.constant dense<0.0> : tensor<4x4xf32>
  %none = stablehlo.constant dense<0.0> : tensor<2x4xf32>
  %loop:2 = mpmd.for (%zero, %none) {iterations = 4 : ui32, atoll.parts = array<i64: 1>}
      (%sum: tensor<4x4xf32>, %_: tensor<2x4xf32>, %index: tensor<ui32>) {
    %y = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
        : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %partial = stablehlo.dot_general %y, %x, contracting_dims = [0] x [0]
        : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
    %next = stablehlo.add %sum, %partial : tensor<4x4xf32>
    mpmd.return %next, %y : tensor<4x4xf32>, tensor<2x4xf32>
  } : tensor<4x4xf32>, tensor<2x4xf32>
  %updated = stablehlo.subtract %w, %loop#0 : tensor<4x4xf32>
  return %updated, %loop#1, %x : tensor<4x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>
}
}
"""


def judge(program, text):
    """What the harness says of a module that is said to be a program's."""
    job, _, original = lowered(program)
    pair = judged(program, job, parse_text(text), original)
    ((expected, found),) = answers([pair])
    return differences(pair, expected, found)


def test_a_right_module_is_accepted():
    assert judge(PROGRAM, RIGHT) == []


@pytest.mark.parametrize(
    ("old", "new", "results"),
    [
        ("%y, %x, contracting_dims = [0] x [0]", "%x, %y, contracting_dims = [0] x [0]", [0]),
        ("stablehlo.subtract", "stablehlo.add", [0]),
        ("stablehlo.add %sum", "stablehlo.maximum %sum", [0]),
        ("mpmd.return %next, %y", "%z = stablehlo.negate %y : tensor<2x4xf32>\nmpmd.return %next, %z", [1]),
        ("%x, %w, contracting_dims = [1] x [0]", "%x, %w, contracting_dims = [1] x [1]", [0, 1]),
        ("dense<0.0> : tensor<2x4xf32>", "dense<1.0> : tensor<2x4xf32>", []),  # nobody reads it
    ],
)
def test_a_wrong_answer_is_told(old, new, results):
    assert old in RIGHT
    told = judge(PROGRAM, RIGHT.replace(old, new))
    assert [line.partition(":")[0] for line in told] == [f"result {index}" for index in results]


def test_the_order_of_parts_matters():
    """Parts that are written back in another order than that of the batch."""
    reverse = """
    %three = stablehlo.constant dense<3> : tensor<ui32>
    %row = stablehlo.subtract %three, %index : tensor<ui32>
    %float = stablehlo.convert %row : (tensor<ui32>) -> tensor<f32>
    %spread = stablehlo.broadcast_in_dim %float, dims = [] : (tensor<f32>) -> tensor<2x4xf32>
    mpmd.return %next, %spread :"""
    told = judge(PROGRAM, RIGHT.replace("mpmd.return %next, %y :", reverse))
    assert len(told) == 1
    assert "[3. 3. 3. 3.]\n [3. 3. 3. 3.]\n [2. 2. 2. 2.]" in told[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"timed"', '"stablehlo"', "the phase is stablehlo, not timed"),
        ("iterations = 4", "iterations = 2", "it has 2 : ui32 iterations"),
        (", atoll.batch,", ",", "argument 1 has only one of atoll.batch and atoll.parts"),
        ("atoll.batch, atoll.parts = 4", "atoll.batch, atoll.parts = 2", "argument 1 has 2 : i32 parts"),
        ("atoll.parts_dimension = 0", "atoll.parts_dimension = 1", "result 2 is a batch argument, which is split"),
        ("atoll.parts_dimension = 0", "atoll.parts_dimension = 2", "has atoll.parts_dimension = 2 : i32 and rank 2"),
        ('"result[2]", atoll.parts = 4 : i32, atoll.parts_dimension = 0 : i32', '"result[2]"', "result 2 is marked as"),
        ('"result[1]", atoll.parts = 4 : i32,', '"result[1]",', "result 1 has only one of"),
        (
            '"result[0]"}',
            '"result[0]", atoll.parts = 4 : i32, atoll.parts_dimension = 0 : i32}',
            "result 0 is marked as",
        ),
        (", atoll.parts = array<i64: 1>", "", "accumulator 1 is not used exactly"),
        ("array<i64: 1>", "array<i64: 0, 1>", "the argument of part 0 is used"),
        ("add %sum, %partial", "subtract %sum, %partial", "accumulator 0 is made with stablehlo.subtract"),
        ("add %sum, %partial", "add %sum, %sum", "accumulator 0 is not used exactly"),
        ("dense<0.0> : tensor<4x4xf32>", "dense<1.0> : tensor<4x4xf32>", "begins with 1.000000e+00"),
        ("mpmd.for (%zero", "mpmd.for (%w", "the initial value of result 0 is no splat constant"),
        ("return %next, %y", "return %next, %x", "part 1 is not made in the loop"),
        ("return %next, %y", "return %partial, %y", "accumulator 0 is not used exactly"),
        ("subtract %w, %loop#0", "dot_general %x, %x, contracting_dims = [0] x [0]", "is used outside of loops"),
        (
            "%loop:2",
            "%wt = stablehlo.transpose %w, dims = [1, 0] : (tensor<4x4xf32>) -> tensor<4x4xf32>\n%loop:2",
            "only one loop uses %",
        ),
    ],
)
def test_a_breach_of_the_contract_is_told(old, new, said):
    assert old in RIGHT
    text = RIGHT.replace(old, new)
    if "%wt" in new:
        text = text.replace("%x, %w,", "%x, %wt,")
    if "dot_general %x, %x" in new:
        text = text.replace(
            "[0] x [0] : tensor<4x4xf32>", "[0] x [0] : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>"
        )
    with pytest.raises(ContractBrokenError, match=re.escape(said)):
        judge(PROGRAM, text)


def test_parts_that_do_not_make_up_the_result_are_told():
    """The types of the parts are those of another size of batch."""
    text = RIGHT.replace("2x4xf32", "3x4xf32")
    with pytest.raises((ContractBrokenError, ValueError, TypeError)):
        judge(PROGRAM, text)


def test_parts_along_another_dimension():
    program = Program(lambda x: (x * 2).T, (numpy.arange(12, dtype="float32").reshape(6, 2),), (0,), 3)
    text = """
module attributes {atoll.phase = "timed"} {
func.func public @main(%x: tensor<2x2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 3 : i32})
    -> (tensor<2x2xf32> {atoll.path = "result", atoll.parts = 3 : i32, atoll.parts_dimension = 1 : i32}) {
  %none = stablehlo.constant dense<0.0> : tensor<2x2xf32>
  %loop = mpmd.for (%none) {iterations = 3 : ui32, atoll.parts = array<i64: 0>}
      (%_: tensor<2x2xf32>, %index: tensor<ui32>) {
    %y = stablehlo.add %x, %x : tensor<2x2xf32>
    %t = stablehlo.transpose %y, dims = [1, 0] : (tensor<2x2xf32>) -> tensor<2x2xf32>
    mpmd.return %t : tensor<2x2xf32>
  } : tensor<2x2xf32>
  return %loop : tensor<2x2xf32>
}
}
"""
    assert judge(program, text) == []
    assert len(judge(program, text.replace("add %x, %x", "multiply %x, %x"))) == 1
    with pytest.raises((ContractBrokenError, ValueError, TypeError)):
        judge(program, text.replace("parts_dimension = 1", "parts_dimension = 0"))


def test_the_index_and_captured_regions():
    """Examples counted by the iteration; a region in the loop that captures a batch argument; an unused batch."""

    def fn(w, x, unused):
        counts = jnp.arange(4)
        return jnp.where(counts % 2 == 0, x + w, -x), jnp.any(x > 5), jnp.max(x)

    program = Program(fn, (numpy.float32(2), numpy.arange(4, dtype="float32"), numpy.zeros((4, 1))), (1, 2))
    text = """
module attributes {atoll.phase = "timed"} {
func.func public @main(%w: tensor<f32> {atoll.path = "w"},
    %x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32})
    -> (tensor<2xf32> {atoll.path = "result[0]", atoll.parts = 2 : i32, atoll.parts_dimension = 0 : i32},
        tensor<i1> {atoll.path = "result[1]"}, tensor<f32> {atoll.path = "result[2]"}) {
  %no = stablehlo.constant dense<false> : tensor<i1>
  %least = stablehlo.constant dense<0xFF800000> : tensor<f32>
  %none = stablehlo.constant dense<0.0> : tensor<2xf32>
  %loop:3 = mpmd.for (%none, %no, %least) {iterations = 2 : ui32, atoll.parts = array<i64: 0>}
      (%_: tensor<2xf32>, %any: tensor<i1>, %max: tensor<f32>, %index: tensor<ui32>) {
    %two = stablehlo.constant dense<2> : tensor<ui32>
    %start = stablehlo.multiply %index, %two : tensor<ui32>
    %starts = stablehlo.broadcast_in_dim %start, dims = [] : (tensor<ui32>) -> tensor<2xui32>
    %iota = stablehlo.iota dim = 0 : tensor<2xui32>
    %count = stablehlo.add %iota, %starts : tensor<2xui32>
    %twos = stablehlo.constant dense<2> : tensor<2xui32>
    %zeros = stablehlo.constant dense<0> : tensor<2xui32>
    %rest = stablehlo.remainder %count, %twos : tensor<2xui32>
    %even = stablehlo.compare EQ, %rest, %zeros : (tensor<2xui32>, tensor<2xui32>) -> tensor<2xi1>
    %yes = stablehlo.constant dense<0> : tensor<i32>
    %sum = "stablehlo.case"(%yes) ({
      %spread = stablehlo.broadcast_in_dim %w, dims = [] : (tensor<f32>) -> tensor<2xf32>
      %in = stablehlo.add %x, %spread : tensor<2xf32>
      stablehlo.return %in : tensor<2xf32>
    }, {
      stablehlo.return %x : tensor<2xf32>
    }) : (tensor<i32>) -> tensor<2xf32>
    %minus = stablehlo.negate %x : tensor<2xf32>
    %part = stablehlo.select %even, %sum, %minus : tensor<2xi1>, tensor<2xf32>
    %fives = stablehlo.constant dense<5.0> : tensor<2xf32>
    %more = stablehlo.compare GT, %x, %fives : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xi1>
    %f = stablehlo.constant dense<false> : tensor<i1>
    %one = stablehlo.reduce(%more init: %f) applies stablehlo.or across dimensions = [0]
        : (tensor<2xi1>, tensor<i1>) -> tensor<i1>
    %next = stablehlo.or %any, %one : tensor<i1>
    %inf = stablehlo.constant dense<0xFF800000> : tensor<f32>
    %most = stablehlo.reduce(%x init: %inf) applies stablehlo.maximum across dimensions = [0]
        : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
    %new = stablehlo.maximum %max, %most : tensor<f32>
    mpmd.return %part, %next, %new : tensor<2xf32>, tensor<i1>, tensor<f32>
  } : tensor<2xf32>, tensor<i1>, tensor<f32>
  return %loop#0, %loop#1, %loop#2 : tensor<2xf32>, tensor<i1>, tensor<f32>
}
}
"""
    assert judge(program, text) == []
    assert len(judge(program, text.replace("multiply %index, %two", "add %index, %two"))) == 1


def test_many_programs_share_a_module():
    job, _, original = lowered(PROGRAM)
    texts = [RIGHT, RIGHT.replace("stablehlo.subtract", "stablehlo.add"), RIGHT]
    pairs = [judged(PROGRAM, job, parse_text(text), original) for text in texts]
    told = [differences(pair, *both) for pair, both in zip(pairs, answers(pairs), strict=True)]
    assert [len(one) for one in told] == [0, 1, 0]


def test_what_xla_makes_wrong_in_haste_is_judged_as_for_users(monkeypatch):
    """In haste it makes both wrong here, and only one of them is."""
    job, _, original = lowered(PROGRAM)
    right, wrong = (
        judged(PROGRAM, job, parse_text(text), original) for text in (RIGHT, RIGHT.replace("subtract", "add"))
    )

    def hasty(pairs, options=QUICKLY):
        found = answers(pairs, options)
        return [(expected, [one + 1 for one in ours]) for expected, ours in found] if options else found

    monkeypatch.setattr(timed_harness, "answers", hasty)
    told = faults([right, wrong])
    assert told[0] == ""
    assert told[1].startswith("WRONG ANSWER\nresult 0: ")


@pytest.mark.parametrize(
    ("expected", "found", "examples", "same"),
    [
        ([1.0, 0.0], [1.0, 1e-6], None, True),
        ([1.0, 0.0], [1.0, 1e-4], None, False),
        ([1.0, 0.0], [1.0, 1e-6], 0, False),
        ([[1e3, 0.0]], [[1e3, 1e-3]], 0, True),
        ([numpy.nan, 1], [numpy.nan, 1], None, True),
        ([numpy.nan, 1], [1, 1], None, False),
        ([numpy.inf, 1], [numpy.inf, 1], None, True),
        ([numpy.inf, 1], [-numpy.inf, 1], None, False),
        ([numpy.inf, 1], [numpy.inf, 2], None, False),
        ([], [], 0, True),
    ],
)
def test_difference(expected, found, examples, same):
    one, other = numpy.array(expected, "float32"), numpy.array(found, "float32")
    assert (difference(one, other, examples) == "") == same


def test_difference_of_integers_and_types():
    assert difference(numpy.array([1, 2]), numpy.array([1, 2])) == ""
    assert difference(numpy.array([1, 2]), numpy.array([1, 3])) == "1 of 2 elements differ"
    assert "float32(2,), not int32" in difference(numpy.zeros(2, "int32"), numpy.zeros(2, "float32"))


def test_tasks_that_islands_share_are_compiled_quickly_too():
    """They go to XLA by a way of their own, not by `jax.stages.Lowered.compile`. Nothing is left of it afterwards."""
    there = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    binary = Binary(jax.jit(jnp.sin, in_shardings=there, out_shardings=there).lower(1.0))
    with compiling_quickly():
        assert QUICKLY.items() <= dict(binary._options(jax.devices()[:1]).env_option_overrides).items()
    assert not binary._options(jax.devices()[:1]).env_option_overrides
