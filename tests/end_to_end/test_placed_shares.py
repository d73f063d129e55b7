"""An update of which each replica makes its share: gradients are scattered, and new parameters are gathered."""

import re

import jax
import numpy
import pytest
from atoll.compiler.commands.cli import run_here
from atoll.compiler.compiled import load_flat
from atoll.compiler.lowered import compile_module
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.replicas.exchange import bytes_sent
from atoll.compiler.report.report import Report
from atoll.runtime.check import check
from atoll.runtime.program import Run, Send
from microbatched import BY_XLA, compiled_by_xla, evaluated  # noqa: F401 (fixtures)
from placed_shares import Parameter, compiled, expected_of, numbers, placed, topology_of
from replicated import parts_of

pytestmark = pytest.mark.own

SEVERAL = (Parameter((12, 2)), Parameter((5, 12), 1), Parameter((12,)), Parameter((3, 12, 2), 1))
# Nothing is worth packing.
QUICK = "1 GB/s, 0 s"


def run(step, given):
    """The results by path, `new.` taken off."""
    found = step.call_flat([given[one.path] for one in step.program.inputs])
    return {one.path.removeprefix("new."): value for one, value in zip(step.program.outputs, found, strict=True)}


def check_steps(step, parameters, replicas, microbatches=2, steps=3, clipped=False):
    """Several steps, each on what the one before returned: the numbers of numpy, and the same bits in all replicas."""
    check(step.program)
    given = numbers(parameters, replicas, microbatches)
    for number in range(steps):
        expected = expected_of(parameters, {path: numpy.asarray(one) for path, one in given.items()}, clipped)
        found = run(step, given)
        for path, value in expected.items():
            numpy.testing.assert_array_equal(numpy.asarray(found[path]), value, err_msg=f"step {number}, {path}")
            for copies in parts_of(found[path]):
                assert len(copies) == (1 if path.startswith("m.") else replicas)
                assert len(set(copies.values())) == 1
        given |= {path: found[path] for path in expected if path in given}
    return given


def tasks_of(step, island=0):
    return [one.task for one in step.program.islands[island].instructions if isinstance(one, Run)]


def sent_by(step, island=0):
    """The buffers that an island sends."""
    found = step.program.islands[island]
    return [found.buffers[one.buffer] for one in found.instructions if isinstance(one, Send)]


@pytest.mark.one_in(2)
@BY_XLA
@pytest.mark.parametrize(("replicas", "link"), [(2, ""), (3, ""), (4, ""), (2, QUICK), (4, QUICK)])
def test_momentum_in_shares(replicas, link):
    with compiled(SEVERAL, replicas, link=link) as step:
        state = check_steps(step, SEVERAL, replicas)
        momentum = state["m.p0"]
        assert momentum.shape == (12, 2)
        size = 12 // replicas
        assert [(one.index[0], one.islands) for one in momentum.parts] == [
            (slice(size * number, size * (number + 1)), (f"island{number}",)) for number in range(replicas)
        ]
        numpy.testing.assert_array_equal(momentum.parts[1].read(), numpy.asarray(momentum)[size : 2 * size])


def test_what_is_small_is_packed_and_what_is_cut_is_one_task():
    with compiled(SEVERAL, 2) as step:
        exchanged = [task for task in tasks_of(step) if task.startswith("X")]
        assert exchanged == ["X0.cut", "X0.add", "X1.share", "X2.pack", "X2.join"]
        assert [one.shape for one in sent_by(step)] == [(12 * 2 // 2 + 5 * 6 + 6 + 3 * 12,)] * 2
    with compiled(SEVERAL, 2, link=QUICK) as step:
        tasks = tasks_of(step)
        assert sum(task.endswith(".share") for task in tasks) == 1
        assert sum(task.endswith(".cut") for task in tasks) == sum(task.endswith(".join") for task in tasks) == 4
        assert [one.shape for one in sent_by(step)] == [(6, 2), (5, 6), (6,), (3, 6, 2)] * 2


@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_bytes_of_each_link(replicas):
    """Of all gradients each replica sends every other its share, and of all new parameters its own."""
    with compiled(SEVERAL, replicas) as step:
        run(step, numbers(SEVERAL, replicas))
        share = 4 * (12 * 2 + 5 * 12 + 12 + 3 * 12 * 2) // replicas
        names = [island.name for island in step.program.islands]
        links = [(one, other) for one in names for other in names if one != other]
        assert step.stats().bytes_per_link == dict.fromkeys(links, 2 * share)
        scatter, gather = step.report().exchanges
        assert (scatter.form, scatter.task, scatter.in_loop, scatter.sums) == ("scatter", "F0", True, 4)
        assert (gather.form, gather.task, gather.in_loop, gather.sums) == ("gather", "U0", False, 4)
        for one in (scatter, gather):
            assert (one.bytes, one.messages, one.sent) == (share * replicas, replicas - 1, share * (replicas - 1))
            assert one.sent == bytes_sent(one.form, one.bytes, replicas)


@BY_XLA
@pytest.mark.parametrize("replicas", [2, 3])
def test_shares_of_a_sum_have_the_bits_of_the_whole_sum(replicas):
    """Whatever the numbers: they are added in the order of the replicas."""
    one = Parameter((6, 4))
    given = numbers([one], replicas)
    given["g0"] = numpy.random.default_rng(0).normal(size=given["g0"].shape).astype("float32")
    text = placed([one], topology_of(1, replicas), replicas, 2)
    lines = text.splitlines()
    (scatter,) = (number for number, line in enumerate(lines) if '"add"' in line)
    result, operand, whole, share = re.match(r"\s*(%\w+) = \S+ (\S+) : (.*) to (.*) \{", lines[scatter]).groups()
    lines[scatter : scatter + 1] = [
        f'%total = mpmd.transfer {{atoll.exchange = "add"}} {operand} : ({whole}) -> {whole}',
        f"{result} = builtin.unrealized_conversion_cast %total : {whole} to {share} "
        '{atoll.exchange = "share", atoll.share = 0 : i32}',
    ]
    with (
        compile_module(parse_text(text), topology_of(1, replicas)) as ours,
        compile_module(parse_text("\n".join(lines)), topology_of(1, replicas)) as theirs,
    ):
        assert "X0.cut" in tasks_of(ours)
        assert "X0.cut" not in tasks_of(theirs)
        found, expected = run(ours, given), run(theirs, given)
        for path in ("p0", "m.p0"):
            assert numpy.asarray(found[path]).tobytes() == numpy.asarray(expected[path]).tobytes()


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("replicas", [2, 3])
def test_a_norm_over_all_shares(stages, replicas):
    """Each replica has the squares of its shares, and gradients are halved in all if there are many."""
    several = [Parameter((12, 2)), Parameter((6, 6), 1, stage=stages - 1)]
    with compiled(several, replicas, clipped=True) as step:
        state = check_steps(step, several, replicas, clipped=True)
        few = {path: numpy.asarray(one) for path, one in state.items()}
        few |= {path: (one > 3).astype(one.dtype) for path, one in few.items() if path.startswith("g")}
        assert (
            expected_of(several, few, True)["norm"]
            < 1000
            < expected_of(several, numbers(several, replicas), True)["norm"]
        )
        numpy.testing.assert_array_equal(run(step, few)["p0"], expected_of(several, few, True)["p0"])
        norms = [one for one in step.report().exchanges if one.form == "direct"]
        assert [(one.form, one.bytes, one.in_loop) for one in norms] == [("direct", 4, False)] * stages


@pytest.mark.parametrize("share", [0, 1])
@pytest.mark.parametrize("replicas", [2, 3])
def test_pieces_are_shared_along_their_dimension_or_another(share, replicas, tmp_path):
    """Layers 0..5 are on the first stage, 6..17 on the second; each replica has a share of either."""
    layers = [Parameter((6, 12), share, 0, piece=(0, 0, 18)), Parameter((12, 12), share, 1, piece=(0, 6, 18))]
    with compiled(layers, replicas) as step:
        state = check_steps(step, layers, replicas)
        momentum = state["m.w"]
        assert momentum.shape == (18, 12)
        assert len(momentum.parts) == 2 * replicas
        sizes = (
            [(6 // replicas, 12), (12 // replicas, 12)] if share == 0 else [(6, 12 // replicas), (12, 12 // replicas)]
        )
        assert [one.read().shape for one in momentum.parts] == [size for size in sizes for _ in range(replicas)]
        text = step.ir("program")
        assert "m.w : float32[18, 12], donated -> island0 %1, island2 %1" in text
        assert f"parts along dimension {'0' if share == 0 else '0 and 1'}" in text
        step.save(tmp_path / "step.atoll")
        given = {path: numpy.asarray(one) for path, one in state.items()}
        expected = {path: numpy.asarray(one) for path, one in run(step, state).items()}
    with load_flat(tmp_path / "step.atoll") as step:
        for path, value in run(step, given).items():
            assert numpy.asarray(value).tobytes() == expected[path].tobytes()


def test_a_whole_piece_beside_one_in_shares():
    """What one stage shares, another may have whole."""
    layers = [Parameter((6, 4), 0, 0, piece=(0, 0, 10)), Parameter((4, 4), 1, 1, piece=(0, 6, 10))]
    with compiled(layers, 2) as step:
        momentum = check_steps(step, layers, 2)["m.w"]
        assert [tuple((one.start, one.stop) for one in part.index) for part in momentum.parts] == [
            ((0, 3), (0, 4)),
            ((3, 6), (0, 4)),
            ((6, 10), (0, 2)),
            ((6, 10), (2, 4)),
        ]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64"])
def test_dtypes(dtype):
    several = [Parameter((4, 3), dtype=dtype), Parameter((2,), dtype=dtype), Parameter((4,))]
    with compiled(several, 2) as step:
        check_steps(step, several, 2, steps=1)
        assert len(sent_by(step)) == 4  # a vector of each dtype there, and one back


def test_devices_divide_what_is_shared_along_another_dimension():
    """It crosses as it is divided, alone, and small things are packed beside it."""
    over = (("model",), ())
    several = [
        Parameter((8, 6), 1, spec=over),
        Parameter((6, 8), 0, spec=((), ("data", "model"))),
        Parameter((4,)),
        Parameter((6, 2)),
    ]
    with compiled(several, 2, island="cpu[data=2, model=2]") as step:
        check_steps(step, several, 2)
        assert [(one.shape, one.spec) for one in sent_by(step)] == [
            ((8, 3), over),
            ((3, 8), ((), ("data", "model"))),
            ((2 + 6,), ()),
        ] * 2


def test_devices_divide_what_is_shared_along_the_same_dimension():
    over = [Parameter((8, 6), 0, spec=(("model",), ())), Parameter((8,), 0, spec=(("model",),))]
    with compiled(over, 2, island="cpu[model=2]") as step:
        check_steps(step, over, 2)


def test_a_dump_of_each_phase_is_resumed():
    layers = [Parameter((6, 4), 1, 0, piece=(0, 0, 10)), Parameter((4, 4), 1, 1, piece=(0, 6, 10))]
    given = numbers(layers, 2)
    expected = expected_of(layers, given)
    with compiled(layers, 2) as step:
        dumps = [step.ir(phase, debug_info=True) for phase in step.phases[:-1]]
    assert dumps
    for text in dumps:
        with compile_module(parse_text(text), topology_of(2, 2)) as again:
            found = run(again, given)
            for path, value in expected.items():
                numpy.testing.assert_array_equal(found[path], value)


def test_arguments_stay_and_move():
    """State that was put, or comes from another division, is what the step takes."""
    with compiled(SEVERAL, 2) as two, compiled(SEVERAL, 3) as three:
        given = numbers(SEVERAL, 3)
        expected = expected_of(SEVERAL, given)
        found = run(three, given)
        smaller = numbers(SEVERAL, 2)
        again = smaller | {path: found[path] for path in expected}
        then = expected_of(SEVERAL, smaller | expected)
        for path, value in run(two, again).items():
            numpy.testing.assert_array_equal(value, then[path])
        paths = [one.path for one in two.program.inputs]
        put = dict(zip(paths, two.put(*(smaller[path] for path in paths)), strict=True))
        assert [part.islands for part in put["m.p0"].parts] == [("island0",), ("island1",)]
        assert put["p0"].islands == ("island0", "island1")
        for path, value in run(two, put).items():
            numpy.testing.assert_array_equal(value, expected_of(SEVERAL, smaller)[path])


def test_report_and_prediction():
    with compiled(SEVERAL, 2, clipped=True) as step:
        report = step.report()
        text = str(report)
        assert re.search(r"island0 <-> island1 +672 B +4 +scatter after the last F0: 1 message of 336 B in all", text)
        assert re.search(r"island0 <-> island1 +672 B +4 +gather after U0\.2: 1 message of 336 B in all", text)
        assert re.search(r"island0 <-> island1 +4 B +1 +direct after U0: 1 message of 4 B", text)
        assert Report.from_json(report.to_json()) == report
        pipeline = report.pipeline
        around = [one.seconds for one in pipeline.exchanges if not one.in_loop]
        assert len(around) == 2
        simulation = pipeline.simulation(topology_of(1, 2))
        ((begin, end),) = simulation.updates
        work = pipeline.around_seconds[0]
        assert end - begin == pytest.approx(work + sum(around))
        # Of the momentum each island has a half.
        sizes = 4 * (12 * 2 + 5 * 12 + 12 + 3 * 12 * 2)
        assert [one.input_bytes for one in report.islands] == [sizes + sizes // 2 + 4 * sizes] * 2
        run(step, numbers(SEVERAL, 2))
        assert {one.name: one.peak_bytes for one in report.islands} == step.stats().peak_bytes


def test_a_trace_has_the_exchanges(tmp_path):
    with compiled(SEVERAL, 2) as step:
        with step.trace(tmp_path / "trace.pftrace"):
            jax.block_until_ready([numpy.asarray(one) for one in run(step, numbers(SEVERAL, 2)).values()])
        tasks = {one.task for one in step.report().measured.tasks}
        assert {"X0.cut", "X0.add", "X1.share", "X2.pack", "X2.join"} <= tasks


# What stands elsewhere than behind a loop.


SHORT = """
!whole = !mpmd.mesh_tensor<"island0", tensor<4x6xf32>>
!rows = !mpmd.mesh_tensor<"island0", tensor<2x6xf32>>
!columns = !mpmd.mesh_tensor<"island0", tensor<4x3xf32>>
module attributes {{atoll.phase = "placed", atoll.plan = "stages=1, replicas=2", atoll.stages = 1 : i32,
    atoll.topology = "2 x cpu[1]"}} {{
  func.func @main({given}) -> ({made})
      attributes {{topology = #mpmd.topology<<"island0" : <["devices"=1]>>, <"island1" : <["devices"=1]>>>}} {{
{body}
  }}
}}
"""


def short(given, body, made):
    arguments = ", ".join(
        f'%{name}: !{kind} {{atoll.path = "{name}"{"" if kind == "whole" else f", atoll.share = {share} : i32"}}}'
        for name, kind, share in given
    )
    results = ", ".join(
        f'!{kind} {{atoll.path = "{name}"{"" if kind == "whole" else f", atoll.share = {share} : i32"}}}'
        for name, kind, share in made
    )
    end = f"return {', '.join(f'%{name}' for name, *_ in made)} : {', '.join(f'!{kind}' for _, kind, _ in made)}"
    return SHORT.format(given=arguments, made=results, body=f"{body}\n{end}")


def cast(result, operand, source, target, kind, share):
    marks = f'{{atoll.exchange = "{kind}", atoll.share = {share} : i32}}'
    return f"%{result} = builtin.unrealized_conversion_cast %{operand} : !{source} to !{target} {marks}"


X = numpy.arange(24, dtype="float32").reshape(4, 6)


def test_an_argument_in_shares_is_gathered_and_cut_anew():
    """Rows come in, columns go out; and what nobody asks for is neither sent nor cut."""
    body = "\n".join(
        [
            cast("all", "x", "rows", "whole", "gather", 0),
            cast("y", "all", "whole", "columns", "share", 1),
            cast("none", "x", "rows", "whole", "gather", 0),
            cast("nothing", "all", "whole", "rows", "share", 0),
            cast("neither", "nothing", "rows", "whole", "gather", 0),
        ]
    )
    text = short([("x", "rows", 0)], body, [("y", "columns", 1), ("all", "whole", None)])
    with compile_module(parse_text(text), topology_of(1, 2)) as step:
        y, whole = step.call_flat([X])
        numpy.testing.assert_array_equal(whole, X)
        numpy.testing.assert_array_equal(y, X)
        numpy.testing.assert_array_equal(y.parts[1].read(), X[:, 3:])
        assert tasks_of(step) == ["X0.join", "X1.share"]
        assert step.stats().bytes_per_link == {("island0", "island1"): 48, ("island1", "island0"): 48}
        (exchange,) = step.report().exchanges
        assert (exchange.task, exchange.in_loop) == (None, False)
        assert "gather as soon as it is there: 1 message of 48 B in all from each" in str(step.report())


def test_what_one_exchange_makes_another_takes():
    """Both replicas add up what they have, and the sum goes to both in shares, and back."""
    body = "\n".join(
        [
            '%own = mpmd.fragment<mesh="island0", origin=["I0"]> (%x) '
            "{atoll.stage = 0 : i32, atoll.sweep = 0 : i32} (%a: tensor<4x6xf32>) {",
            "%n = stablehlo.negate %a : tensor<4x6xf32>",
            "mpmd.return %n : tensor<4x6xf32>",
            "} : (!whole) -> !whole",
            cast("some", "own", "whole", "rows", "add", 0),
            cast("all", "some", "rows", "whole", "gather", 0),
            cast("y", "all", "whole", "columns", "share", 1),
        ]
    )
    text = short([("x", "whole", None)], body, [("y", "columns", 1), ("all", "whole", None)])
    with compile_module(parse_text(text), topology_of(1, 2)) as step:
        for value in step.call_flat([X]):
            numpy.testing.assert_array_equal(value, -2 * X)
        assert tasks_of(step) == ["I0", "X0.cut", "X0.add", "X1.join", "X2.share"]


def test_an_array_without_elements_is_shared():
    text = short([("x", "rows", 0)], cast("y", "x", "rows", "whole", "gather", 0), [("y", "whole", None)])
    text = text.replace("4x6xf32", "4x0xf32").replace("2x6xf32", "2x0xf32")
    with compile_module(parse_text(text), topology_of(1, 2)) as step:
        (y,) = step.call_flat([X[:, :0]])
        assert numpy.asarray(y).shape == (4, 0)


def test_a_hand_written_module_is_run_by_the_command(tmp_path, capsys):
    """Two stages of two replicas: halves of the gradients, the norm, and halves of the parameters cross each link."""
    layers = [Parameter((4, 6), 1, 0, piece=(0, 0, 10)), Parameter((6, 6), 0, 1, piece=(0, 4, 10))]
    file = tmp_path / "step.mlir"
    file.write_text(placed(layers, topology_of(2, 2), 2, 2, clipped=True))
    assert run_here(["run", str(file), "--steps=2"]) == 0
    out = capsys.readouterr().out
    assert f"island0 -> island2: {4 * 4 * 6 + 4} bytes" in out
    assert f"island1 -> island3: {4 * 6 * 6 + 4} bytes" in out
