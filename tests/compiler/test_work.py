"""What a fragment does on each device: operations, bytes through its memory, bytes between devices."""

import jax
import numpy
import pytest
from atoll.compiler.cost.devices import DEVICE_KINDS, capacity_of, islands_at_once
from atoll.compiler.cost.reorders import Reordered
from atoll.compiler.cost.task_costs import named_seconds, seconds_of
from atoll.compiler.cost.work import Work, work_of
from atoll.compiler.lowered import lower
from atoll.compiler.mlir.functions import functions_in
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.plan.plan import Plan
from atoll.compiler.topology.island import ISLAND_KINDS
from atoll.compiler.topology.topology import topology

pytestmark = pytest.mark.own

ALONE, FOUR = (topology(f"1 x cpu[{axes}]").islands[0] for axes in ("data=1", "data=2, model=2"))
MESH = 'sdy.mesh @mesh = <["data"=2, "model"=2]>'


def work(body, island=FOUR):
    module = parse_text(f"module {{ {MESH}\n {body} }}")
    return work_of(functions_in(module)["f"], island)


def product(left="", right=""):
    def marks(spec):
        return f" {{sdy.sharding = #sdy.sharding<@mesh, {spec}>}}" if spec else ""

    return f"""
      func.func @f(%x: tensor<8x64xf32>{marks(left)}, %w: tensor<64x32xf32>{marks(right)}) -> tensor<8x32xf32> {{
        %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
          : (tensor<8x64xf32>, tensor<64x32xf32>) -> tensor<8x32xf32>
        %1 = stablehlo.tanh %0 : tensor<8x32xf32>
        return %1 : tensor<8x32xf32>
      }}"""


X_LIKE = numpy.zeros((4, 4), numpy.float32)
PRODUCT, X, W, Y = 2 * 8 * 64 * 32, 4 * 8 * 64, 4 * 64 * 32, 4 * 8 * 32


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        # What nothing divides, each device does.
        ("", "", Work(PRODUCT + 256, X + W + 2 * Y)),
        ("[{}, {}]", '[{}, {"model"}]', Work(PRODUCT / 2 + 128, X + W / 2 + Y)),
        ('[{"data"}, {}]', '[{}, {"model"}]', Work(PRODUCT / 4 + 64, X / 2 + W / 2 + Y / 2)),
        # Each device has a part of the sum, and gets all of it: of its bytes, half go round twice.
        ('[{}, {"model"}]', '[{"model"}, {}]', Work(PRODUCT / 2 + 256, X / 2 + W / 2 + 2 * Y, Y)),
        # One axis divides the rows and what is summed over: the weights are gathered, so each device sends its half.
        ('[{"data"}, {}]', '[{"data"}, {}]', Work(PRODUCT / 2 + 128, X / 2 + W / 2 + Y, X / 2)),
    ],
)
def test_a_product_and_what_follows_it(left, right, expected):
    found = work(product(left, right))
    assert (found.operations, found.moved) == (expected.operations, expected.moved)
    assert found.exchanged == expected.exchanged


def test_elementwise_operations_move_what_they_are_given_and_what_is_returned():
    found = work(
        """
      func.func @f(%p: tensor<64xf32>, %g: tensor<64xf32>) -> tensor<64xf32> {
        %0 = stablehlo.multiply %g, %g : tensor<64xf32>
        %1 = stablehlo.add %0, %g : tensor<64xf32>
        %2 = stablehlo.subtract %p, %1 : tensor<64xf32>
        return %2 : tensor<64xf32>
      }""",
        ALONE,
    )
    assert found == Work(3 * 64, 3 * 4 * 64)


def test_a_loop_does_its_body_as_often_as_it_runs():
    found = work(
        """
      func.func @f(%x: tensor<8x8xf32>, %w: tensor<5x8x8xf32>) -> tensor<8x8xf32> {
        %c0 = stablehlo.constant dense<0> : tensor<i32>
        %0:2 = stablehlo.while(%i = %c0, %h = %x) : tensor<i32>, tensor<8x8xf32>
         cond { %n = stablehlo.constant dense<5> : tensor<i32>
           %b = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
           stablehlo.return %b : tensor<i1> }
         do { %one = stablehlo.constant dense<1> : tensor<i32>
           %z = stablehlo.constant dense<0> : tensor<i32>
           %s = stablehlo.dynamic_slice %w, %i, %z, %z, sizes = [1, 8, 8]
             : (tensor<5x8x8xf32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x8x8xf32>
           %m = stablehlo.reshape %s : (tensor<1x8x8xf32>) -> tensor<8x8xf32>
           %y = stablehlo.dot_general %h, %m, contracting_dims = [1] x [0]
             : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
           %j = stablehlo.add %i, %one : tensor<i32>
           stablehlo.return %j, %y : tensor<i32>, tensor<8x8xf32> }
        return %0#1 : tensor<8x8xf32>
      }""",
        ALONE,
    )
    assert 5 * 2 * 8**3 <= found.operations < 5 * (2 * 8**3 + 80)
    # Of the stack each iteration reads its layer.
    assert 5 * 4 * 256 <= found.moved < 5 * 5 * 256 + 256


def test_what_takes_longer_counts():
    islands = topology("1 x v4[2x2x1]")
    (island,) = islands.islands
    assert seconds_of(Work(137.5e12, 1.0), island, islands) == pytest.approx(1.0)
    assert seconds_of(Work(1.0, 0.8 * 1228e9), island, islands) == pytest.approx(1.0)
    assert seconds_of(Work(137.5e12, 1.0, 240e9), island, islands) == pytest.approx(2.0)


def test_a_core_computes_and_moves_in_turn():
    (island,) = (islands := topology("1 x cpu[1]; rates cpu : 5 Gop/s, 2 GB/s, 1 Gop/s in convolutions")).islands
    assert seconds_of(Work(5e9, 2e9), island, islands) == pytest.approx(2.0)
    assert seconds_of(Work(6e9, 2e9, convolved=1e9), island, islands) == pytest.approx(3.0)


CONVOLUTION = """
      func.func @f(%x: tensor<4x8x8x3xf32>, %w: tensor<3x3x3x5xf32>) -> tensor<4x6x6x5xf32> {
        %0 = stablehlo.convolution(%x, %w) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], window = {}
          {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
          : (tensor<4x8x8x3xf32>, tensor<3x3x3x5xf32>) -> tensor<4x6x6x5xf32>
        %1 = stablehlo.tanh %0 : tensor<4x6x6x5xf32>
        return %1 : tensor<4x6x6x5xf32>
      }"""


def test_the_operations_of_convolutions_are_told_apart():
    found = work(CONVOLUTION, ALONE)
    assert found.convolved == 2 * 4 * 6 * 6 * 5 * 3 * 3 * 3
    assert found.operations == found.convolved + 4 * 6 * 6 * 5


# The gradient of weights that 3 positions of 4 examples share, of which a reshape makes rows.
SHARED = """
      func.func @f(%x: tensor<4x3x5xf32>, %g: tensor<4x3x7xf32>, %h: tensor<4x3x7xbf16>) -> tensor<7x5xf32> {
        %two = stablehlo.constant dense<2.0> : tensor<4x3x7xf32>
        %0 = stablehlo.convert %h : (tensor<4x3x7xbf16>) -> tensor<4x3x7xf32>
        %1 = stablehlo.multiply %g, %0 : tensor<4x3x7xf32>
        %2 = stablehlo.multiply %1, %two : tensor<4x3x7xf32>
        %3 = stablehlo.add %2, %g : tensor<4x3x7xf32>
        %4 = stablehlo.dot_general SIDES : (TYPES) -> RESULT
        return %4 : RESULT
      }"""
G = 4 * 4 * 3 * 7


def shared(left, right, dimensions, result="tensor<7x5xf32>"):
    kinds = dict.fromkeys(("%1", "%3", "%g"), "tensor<4x3x7xf32>") | {"%x": "tensor<4x3x5xf32>"}
    text = SHARED.replace("-> tensor<7x5xf32> {", f"-> {result} {{").replace("RESULT", result)
    text = text.replace("SIDES", f"{left}, {right}, {dimensions}")
    return text.replace("TYPES", f"{kinds[left]}, {kinds[right]}")


ROWS = "contracting_dims = [0, 1] x [0, 1]"


@pytest.mark.parametrize(
    ("body", "reordered"),
    [
        # The first operand's rows are summed up, and it is computed of what is read, a constant aside.
        (shared("%3", "%x", ROWS), (Reordered(G, 1.5 * G),)),
        # What is computed of nothing else is copied, and what comes second is in order.
        (shared("%g", "%x", ROWS), ()),
        (shared("%1", "%x", ROWS), (Reordered(G, 1.5 * G),)),
        (shared("%x", "%3", ROWS, "tensor<5x7xf32>"), ()),
        # With a batch, two matrices meet in each example.
        (shared("%3", "%x", "batching_dims = [0] x [0], contracting_dims = [1] x [1]", "tensor<4x7x5xf32>"), ()),
        # Of each position too, but these come behind the examples; what is left comes last before and after.
        (
            shared("%3", "%3", "batching_dims = [1] x [1], contracting_dims = [0] x [0]", "tensor<3x7x7xf32>"),
            (Reordered(G, 1.5 * G),),
        ),
        (product(), ()),
    ],
)
def test_what_products_take_in_another_order(body, reordered):
    assert work(body, ALONE).reordered == reordered
    assert work(body, topology("1 x v4[2x2x1]").islands[0]).reordered == ()


def test_one_example_has_no_other_order():
    body = shared("%3", "%x", ROWS).replace("4x3x", "1x3x")
    assert work(body, ALONE).reordered == ()


def test_what_another_order_takes():
    """The more is read for a value, the more of what reading it takes comes on top."""
    text = "1 x cpu[1]; rates cpu : 5 Gop/s, 2 GB/s, 1 GB/s reordered, 2 GB/s beyond 8 GB"
    (island,) = (islands := topology(text)).islands
    for read, lost in ((4e9, 0), (8e9, 0.5 * 4), (9.6e9, 0.75 * 4.8), (12e9, 6), (80e9, 40)):
        assert seconds_of(Work(reordered=(Reordered(1e9, read),)), island, islands) == pytest.approx(1 + lost)
    some = (Reordered(1e9, 4e9), Reordered(1e9, 12e9))
    assert seconds_of(Work(5e9, 2e9, reordered=some), island, islands) == pytest.approx(1 + 1 + 1 + 1 + 6)
    assert seconds_of(Work(reordered=some[:1]) * 2.5, island, islands) == pytest.approx(2.5)
    assert seconds_of(Work(reordered=some), island, topology("1 x cpu[1]")) == 0


def test_what_was_measured_counts_where_the_topology_says_so():
    islands = topology("2 x cpu[2]; rates cpu : 5 Gop/s, 2 GB/s, 1.5 at once")
    one, _ = islands.islands
    assert seconds_of(Work(5e9), one, islands) == pytest.approx(1.0)
    assert seconds_of(Work(1.0, 2e9), one, islands) == pytest.approx(1.0)
    # Of two devices each, three quarters of an island work at once, and of two replicas half of that.
    assert islands_at_once(islands.islands, islands, 1) == pytest.approx(0.75)
    assert islands_at_once([one], islands, 2) == pytest.approx(0.375)
    assert islands_at_once([one], topology("2 x cpu[2]; rates cpu : 5 Gop/s, 2 GB/s"), 1) is None


def test_a_task_takes_what_was_measured_beside_its_work():
    def seconds(rates):
        lowered = lower(jax.numpy.tanh, X_LIKE, topology=f"1 x cpu[1]; rates cpu : {rates}", plan=Plan(microbatches=1))
        return sum(named_seconds(parse_text(lowered.ir("scheduled"))).values())

    assert seconds("1 Gop/s, 1 GB/s, 120 us a task") == pytest.approx(seconds("1 Gop/s, 1 GB/s") + 120e-6)


def test_every_kind_is_in_the_table():
    assert DEVICE_KINDS.keys() == set(ISLAND_KINDS)
    assert capacity_of(topology("1 x cpu[1] 2 GiB").islands[0]) == 2 * 2**30
    assert capacity_of(ALONE) is None
