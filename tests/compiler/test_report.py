"""The report: what it says is what the program does."""

import json
import re

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.compiled import Report, compile_module
from atoll.compiler.ir_text import parse_text
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
    assert "assumed" not in str(step.report())
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
    [place] = next(one.places for one in step.program.inputs if one.path == embedding.path)
    assert place[0] == embedding.home


def test_text(step):
    text = str(step.report())
    assert text.startswith(f"topology  {TOPOLOGY.splitlines()[0]}\n          {TOPOLOGY.splitlines()[1]}\n")
    for part in ("plan      stages=", "arguments that several islands use", "left -> right", "the least possible"):
        assert part in text
    assert not any(line != line.rstrip() for line in text.splitlines())


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


def test_values_that_fit_no_device():
    topology = "island left : cpu[1]; island right : cpu[1] 512 B"
    with pytest.raises(atoll.PlanError) as caught:
        atoll.compile(train, PARAMS, TOKENS, topology=topology, plan=PLAN)
    assert caught.value.what.startswith("a device of island right has 512 B and needs at least ")
    assert caught.value.where.startswith(f"{__file__}:")
    assert caught.value.remedy


def test_a_module_written_by_hand_says_nothing_of_the_least_traffic(step):
    text = re.sub(r"atoll.traffic\w* = \d+ : i64, ", "", step.ir("scheduled"))
    with compile_module(parse_text(text), step.topology) as again:
        report = again.report()
    assert report.traffic is None
    assert "cross between stages" not in str(report)
    assert report.transfers
