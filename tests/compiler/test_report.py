"""The report: what it says is what the program does."""

import json
import re

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.errors import CompileError, UsageError
from atoll.compiler.lowered import compile_module
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.module.notes import WholeLoop
from atoll.compiler.report.report import Report
from atoll.compiler.report.report_text import _assumed
from atoll.compiler.text.quantities import MEMORY, amount_text, enough_text
from atoll.runtime.program import Run

import atoll

TOPOLOGY = """\
island left : cpu[data=2, model=2]
island right : cpu[1] 64 MiB
link left <-> right : 25 GB/s, 1 ms"""


def tied(params, tokens):
    """An embedding that is used at both ends, and a scalar that all layers use."""
    with jax.named_scope("embed"):
        x = params["embedding"][tokens] * params["scale"]
    with jax.named_scope("head"):
        return jnp.tanh(x * params["scale"]) @ params["embedding"].T


def train(params, tokens):
    grads = jax.grad(lambda params: tied(params, tokens).mean())(params)
    return jax.tree.map(lambda p, g: p - g, params, grads)


PARAMS = {"embedding": jax.ShapeDtypeStruct((32, 8), "float32"), "scale": jax.ShapeDtypeStruct((), "float32")}
TOKENS = jax.ShapeDtypeStruct((4,), "int32")
PLAN = atoll.Plan(stages="embed | head")


@pytest.fixture(scope="module")
def step():
    with atoll.compile(train, PARAMS, TOKENS, topology=TOPOLOGY, plan=PLAN, donate_argnums=0) as compiled:
        yield compiled


def test_islands_are_those_of_the_program(step):
    report = step.report()
    assert [one.name for one in report.islands] == ["left", "right"]
    for said, island in zip(report.islands, step.program.islands, strict=True):
        assert said.tasks == tuple(one.task for one in island.instructions if isinstance(one, Run))
        assert said.peak_bytes >= said.input_bytes
        assert said.cost > 0
    assert report.fragments == len(step.program.codes)
    assert report.stages == 2


def test_each_transfer_has_the_users_line_or_the_argument(step):
    report = step.report()
    assert sum(one.bytes for one in report.transfers) == sum(one.bytes for one in report.links)
    assert {one.where for one in report.transfers if one.where.startswith("params")} == {
        "params['embedding']",
        "params['scale']",
    }
    assert all(one.where.startswith(("params[", f"{__file__}:")) for one in report.transfers)


def test_links_have_the_topologys_numbers_or_say_that_they_are_assumed(step):
    assert {(one.text, one.is_default) for one in step.report().links} == {("25 GB/s, 1 ms", False)}
    assert "(assumed" not in str(step.report())
    with atoll.compile(train, PARAMS, TOKENS, topology="2 x cpu[1]", plan=PLAN) as other:
        assert all(one.is_default for one in other.report().links)
        assert "(assumed: the topology does not say)" in str(other.report())


def test_shared_arguments_say_where_they_live_and_why(step):
    shared = {one.path: one for one in step.report().shared}
    assert set(shared) == {"params['embedding']", "params['scale']"}
    embedding = shared["params['embedding']"]
    assert embedding.bytes == 32 * 8 * 4
    assert embedding.why == "where its new value is made"
    assert embedding.islands[0] == embedding.home
    [place] = next(one.every_place for one in step.program.inputs if one.path == embedding.path)
    assert place[0] == embedding.home


def test_text(step):
    text = str(step.report())
    assert text.startswith(f"topology  {TOPOLOGY.splitlines()[0]}\n          {TOPOLOGY.splitlines()[1]}\n")
    for part in ("plan      stages=", "arguments that several islands use", "left -> right", "the least possible"):
        assert part in text
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_what_is_no_report_is_refused():
    with pytest.raises(UsageError, match=r"test_report\.py:\d+: the text is no report: .*; give what to_json returned"):
        Report.from_json("{")


def test_json_has_all_of_it(step):
    report = step.report()
    assert Report.from_json(report.to_json()) == report
    assert set(json.loads(report.to_json())) == set(vars(report))
    assert step.program.report == report.to_json()


def test_one_island_sends_nothing():
    with atoll.compile(train, PARAMS, TOKENS, topology="1 x cpu[1]") as step:
        assert step.report().transfers == step.report().links == step.report().shared == ()
        assert "nothing crosses between islands" in str(step.report())


def test_an_empty_island_says_so():
    with atoll.compile(lambda x: x + 1, TOKENS, topology="2 x cpu[1]") as step:
        assert [one.tasks for one in step.report().islands] == [("F0",), ()]
        assert "(empty: no stage)" in str(step.report())


def test_what_is_sharded_counts_by_device():
    def fn(w, x):
        return x @ w

    w, x = jax.ShapeDtypeStruct((64, 64), "float32"), jax.ShapeDtypeStruct((4, 64), "float32")
    spec = jax.sharding.PartitionSpec(None, "model")
    with atoll.compile(fn, w, x, topology="1 x cpu[data=2, model=2]", in_shardings=(spec, None)) as step:
        assert step.report().islands[0].input_bytes == w.size * 4 // 2 + x.size * 4


@pytest.mark.parametrize(
    ("limit", "needed", "texts"),
    [
        (2368 * 2**10, 2400 * 2**10, ("2368 KiB", "2400.0 KiB")),
        (2368 * 2**10, 2368 * 2**10 + 1, ("2368 KiB", "2368.1 KiB")),
        (3 * 10**9, 3 * 2**30, ("3 GB", "3.3 GB")),
        (512, 513, ("512 B", "513 B")),
        (0, 1, ("0 B", "1 B")),
    ],
)
def test_a_limit_and_what_is_over_it_are_told_in_one_unit(limit, needed, texts):
    assert (amount_text(limit, MEMORY), enough_text(needed, limit, MEMORY)) == texts


def test_values_that_fit_no_device():
    topology = "island left : cpu[1]; island right : cpu[1] 512 B"
    with pytest.raises(atoll.PlanError) as caught:
        atoll.compile(train, PARAMS, TOKENS, topology=topology, plan=PLAN)
    assert caught.value.what.startswith("a device of island right has 512 B and needs at least ")
    assert caught.value.where.startswith(f"{__file__}:")
    assert caught.value.remedy


def test_a_module_written_by_hand_says_nothing_of_the_least_traffic(step):
    text = re.sub(r"atoll.notes = \[.*?\], ", "", step.ir("scheduled"))
    with compile_module(parse_text(text), step.topology) as again:
        report = again.report()
    assert report.notes == ()
    assert "cross between stages" not in str(report)
    assert report.transfers


def test_what_passes_noted_is_in_the_report_with_its_line_and_is_not_printed(capfd):
    def fn(n, x):
        return jnp.cos(jax.lax.while_loop(lambda at: at[0] < n, lambda at: (at[0] + 1, jnp.sin(at[1])), (0, x))[1])

    scalar, vector = jax.ShapeDtypeStruct((), "int32"), jax.ShapeDtypeStruct((8,), "float32")
    with atoll.compile(fn, scalar, vector, topology="2 x cpu[1]", plan=atoll.Plan(stages=2)) as step:
        assert capfd.readouterr() == ("", "")
        (note,) = (one for one in step.report().notes if isinstance(one.fact, WholeLoop))
        assert (note.fact.scope, note.fact.why) == ("", "its length depends on data")
        assert (note.place.file, note.place.line) == (__file__, fn.__code__.co_firstlineno + 1)
        assert f"not cut, and on one stage: the loop, as its length depends on data, at {note.place}" in str(
            step.report()
        )


LAYERS = [jax.ShapeDtypeStruct((64, 64), "float32")] * 4
BATCH = jax.ShapeDtypeStruct((128, 64), "float32")


def train_layers(params, x):
    def loss(params):
        h = x
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                h = jnp.tanh(h @ layer)
        return jnp.mean(h**2)

    value, grads = jax.value_and_grad(loss)(params)
    return jax.tree.map(lambda p, g: p - g, params, grads), value


@pytest.fixture(scope="module")
def pipeline():
    plan = atoll.Plan(stages=4, microbatches=8, schedule="zb-v")
    topology = "island left : cpu[1]; island right : cpu[2]; link left <-> right : 1 GB/s, 10 us"
    with atoll.compile(train_layers, LAYERS, BATCH, topology=topology, plan=plan, batch_argnums=1) as compiled:
        yield compiled


def test_what_a_loop_does_counts_for_each_microbatch(pipeline):
    report = pipeline.report()
    assert {one.times for one in report.transfers} == {8}
    assert {one.bytes for one in report.transfers} == {128 // 8 * 64 * 4}
    assert [(one.source, one.bytes) for one in report.links] == [("left", 8 * 8192), ("right", 8 * 8192)]
    # Four layers, each three matrix products for 16 rows in 8 microbatches; the first one has no input gradient.
    products = 2 * 128 * 64 * 64
    assert 11 * products < sum(one.cost for one in report.islands) < 12 * products
    assert all(len(one.tasks) < 16 for one in report.islands)


def test_the_prediction_is_the_simulators(pipeline):
    predicted, schedule = pipeline.report().pipeline, pipeline.schedule
    assert (predicted.name, predicted.microbatches, predicted.islands) == ("zb-v", 8, ("left", "right"))
    assert [stage.island for stage in predicted.stages] == ["left", "right", "right", "left"]
    assert [stage.weight > 0 for stage in predicted.stages] == [False, True, True, True]
    assert [stage.forward_bytes for stage in predicted.stages] == [4096, 0, 4096, 0]
    assert [stage.backward_bytes for stage in predicted.stages] == [0, 4096, 0, 4096]
    assert list(predicted.activations) == pytest.approx(schedule.simulate().peak)
    assert 0 < predicted.bubble_without_links <= predicted.bubble < 1
    assert predicted.lower_bound <= predicted.span <= predicted.step
    # The first stage's forward task, 16 rows of a matrix product and a tanh, at the assumed speed of one CPU device,
    # and what the product takes and makes, through its memory.
    first = predicted.simulation(pipeline.topology).tasks[0]
    assert first.end == pytest.approx(
        (2 * 16 * 64 * 64 + 16 * 64) / 20e9 + 4 * (2 * 16 * 64 + 64 * 64) / 20e9, rel=0.02
    )


def test_what_was_measured_is_named_among_what_is_assumed():
    text = _assumed("2 x cpu[1]; rates cpu : 5 Gop/s, 2 GB/s, 1 GB/s reordered, 3 GB/s beyond 8 MiB")
    assert text.startswith(
        "5.0 G operations a second on a device of kind cpu, and 2.0 GB through its memory (1.0 GB in another order), "
        "as the topology says"
    )


def test_the_text_of_a_pipeline(pipeline):
    text = str(pipeline.report())
    for part in (
        "pipeline  zb-v, 8 microbatches, 4 stages on 2 islands",
        "assumed: 20.0 G operations a second on a device of kind cpu",
        "4.0 KiB x 16 ",
        "buffers ",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) < 200
    assert not any(line != line.rstrip() for line in text.splitlines())
    report = pipeline.report()
    assert Report.from_json(report.to_json()) == report


@pytest.mark.parametrize(("microbatches", "batch", "is_told"), [("auto", 2, True), (1, 2, False), ("auto", (), False)])
def test_why_there_is_one_microbatch_is_told_if_nobody_asked_for_it(microbatches, batch, is_told):
    def fn(a, b, x):
        return jnp.tanh(jnp.tanh(x @ a) @ b)

    shapes = [jax.ShapeDtypeStruct((64, 64), "float32")] * 3
    plan = atoll.Plan(stages=2, microbatches=microbatches)
    text = str(atoll.lower(fn, *shapes, topology="2 x cpu[1]", batch_argnums=batch, plan=plan).report())
    assert ("one microbatch, as all work of a step is predicted to take" in text) == is_told


def test_a_picture_of_the_prediction(pipeline):
    svg = pipeline.report().svg()
    assert svg.count("of microbatch") == sum(map(len, pipeline.schedule.rows))
    assert ">left<" in svg
    assert "speeds of devices assumed" in svg


def test_a_shared_parameter_is_as_large_as_it_is_however_many_microbatches_use_it():
    def fn(table, places):
        with jax.named_scope("look_up"):
            x = table[places]
        with jax.named_scope("score"):
            return jnp.tanh(x) @ table.T

    shapes = jax.ShapeDtypeStruct((8, 4), "float32"), jax.ShapeDtypeStruct((8,), "int32")
    plan = atoll.Plan(stages="look_up | score", microbatches=4, schedule="1f1b")
    lowered = atoll.lower(fn, *shapes, topology="2 x cpu[1]", batch_argnums=1, plan=plan)
    [table] = lowered.report().shared
    assert table.bytes == 8 * 4 * 4


def gated(w, x):
    y = jnp.tanh(x @ w)
    share = (y @ w).mean(0)
    return jnp.tanh((y * share) @ w).mean()


def line_of_gated(offset):
    return f"{__file__}:{gated.__code__.co_firstlineno + offset}"


def extra_table(topology="2 x cpu[1]", in_shardings=None, **plan):
    """What the report says of `gated`, whose examples need a sum of them all: the text's table, and the report."""
    shapes, plan = (
        (jax.ShapeDtypeStruct((size, 64), "float32") for size in (64, 128)),
        atoll.Plan(microbatches=4, **plan),
    )
    report = atoll.lower(
        gated, *shapes, topology=topology, batch_argnums=1, plan=plan, in_shardings=in_shardings
    ).report()
    assert Report.from_json(report.to_json()) == report
    lines = str(report).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("extra "))
    return [line.split() for line in lines[start : lines.index("", start)]], report


def test_a_table_says_what_each_line_keeps_and_waits_for():
    table, report = extra_table(stages=2)
    bubble = f"{100 * report.whole_step.loops[0].pause:.0f}%"
    assert table == [
        ["extra", "done", "again", "at", "once", "kept", "waits", "bubble", "line"],
        ["32.0", "KiB", line_of_gated(1)],
        ["1", bubble, line_of_gated(2)],
        ["in", "all", "32.0", "KiB", "1", bubble],
        ["allowed", "50%", "48.0", "KiB"],
        ["kept", "on", "each", "device:", "island0", "32.0", "KiB"],
    ]


def test_a_table_says_what_each_line_does_again():
    table, report = extra_table(stages=1, extra="100%, 0 B")
    work = 2 * 128 * 64 * 64
    assert table[1:] == [
        [*f"{work / 1e6:.1f} M".split(), line_of_gated(1)],
        ["1", f"{100 * report.whole_step.loops[0].pause:.0f}%", line_of_gated(2)],
        ["in", "all", "34%", "1", f"{100 * report.whole_step.loops[0].pause:.0f}%"],
        ["allowed", "100%", "0", "B"],
    ]


def test_a_device_keeps_its_share():
    """Of what its replica does: as the island divides it, in the table and in what the plan allows."""
    examples = jax.sharding.PartitionSpec("data")
    table, report = extra_table("1 x cpu[data=2, model=2]", (None, examples), stages=1)
    assert table[1][:2] == ["16.0", "KiB"]
    assert table[-2] == ["allowed", "50%", "32.0", "KiB"]  # the weights, and half of the examples
    assert [one.kept_bytes for one in report.islands] == [16 * 1024]
    shardings = {"topology": "1 x cpu[data=2, model=2]", "in_shardings": (None, examples), "stages": 1}
    assert extra_table(**shardings, extra="0%, 16 KiB")[0][1] == table[1]
    with pytest.raises(CompileError, match=r"or 16\.0 KiB of the batch kept on a device"):
        extra_table(**shardings, extra="0%, 15 KiB")
