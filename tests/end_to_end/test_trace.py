"""What a trace records: every task and every value that crosses, when it happened."""

import itertools
import json
from collections import Counter
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.compiler.errors import UsageError
from atoll.compiler.topology.devices import meshes_of
from atoll.runtime.controller import Controller
from atoll.runtime.program import Run, Send
from atoll.runtime.sleeping import SleepingDevices

import atoll

STAGES, MICROBATCHES = 2, 4


def train_step(params, x):
    def loss(params):
        h = x
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                h = jnp.tanh(h @ layer)
        return jnp.mean(h**2)

    value, gradients = jax.value_and_grad(loss)(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), value


PARAMS = [numpy.eye(8, dtype="float32")] * STAGES
X = numpy.ones((8, 8), "float32")


@pytest.fixture(scope="module")
def step():
    plan = atoll.Plan(stages=STAGES, microbatches=MICROBATCHES, schedule="1f1b")
    with atoll.compile(
        train_step, PARAMS, X, topology=f"{STAGES} x cpu[1]", plan=plan, batch_argnums=1, donate_argnums=0
    ) as compiled:
        yield compiled


@pytest.fixture(scope="module")
def traced(step, tmp_path_factory):
    """The events of two steps; one more ran before them and one behind."""
    path = tmp_path_factory.mktemp("trace") / "steps.json"
    state, _ = step(PARAMS, X)
    with step.trace(path):
        for _ in range(2):
            state, _ = step(state, X)
    step(state, X)
    return json.loads(path.read_text())["traceEvents"]


def slices(events):
    return [one for one in events if one["ph"] == "X"]


def names_of_processes(events):
    return {one["pid"]: one["args"]["name"] for one in events if one["name"] == "process_name"}


def instructions(program, kind):
    return {island.name: [one for one in island.instructions if isinstance(one, kind)] for island in program.islands}


def test_every_task_and_transfer_of_every_step_is_there_once(step, traced):
    processes = names_of_processes(traced)
    assert list(processes.values()) == ["controller", "island0", "island1"]
    found = Counter((processes[one["pid"]], one["args"]["step"], one["name"]) for one in slices(traced))
    assert set(found.values()) == {1}
    wanted = {("controller", number, f"step {number}") for number in (1, 2)}
    for number in (1, 2):
        for island, runs in instructions(step.program, Run).items():
            wanted |= {(island, number, one.task) for one in runs}
            other = "island1" if island == "island0" else "island0"
            made, taken = ("F", "B") if island == "island0" else ("B", "F")
            stage, other_stage = island[-1], other[-1]
            for microbatch in range(MICROBATCHES):
                wanted.add((island, number, f"send {made}{microbatch}@{stage} to {other}"))
                wanted.add((island, number, f"receive {taken}{microbatch}@{other_stage} from {other}"))
    assert set(found) == wanted


def test_times_are_in_order(traced):
    """On a track one thing after the other; and what comes from a task comes behind it."""
    tracks = {}
    for one in slices(traced):
        tracks.setdefault((one["pid"], one["tid"]), []).append(one)
    for track in tracks.values():
        for one, following in itertools.pairwise(track):
            assert one["ts"] + one["dur"] <= following["ts"] + 0.002, (one, following)
    ends = {(one["args"]["step"], one["name"]): one["ts"] + one["dur"] for one in slices(traced)}
    starts = {(one["args"]["step"], one["name"]): one["ts"] for one in slices(traced)}
    for number in (1, 2):
        for microbatch in range(MICROBATCHES):
            chain = [f"F{microbatch}@0", f"F{microbatch}@1", f"B{microbatch}@1", f"B{microbatch}@0"]
            for before, after in itertools.pairwise(chain):
                assert ends[number, before] <= starts[number, after]


def test_what_a_task_and_a_transfer_tell(step, traced):
    task = next(one for one in slices(traced) if one["name"] == "F3@1")
    assert task["args"]["microbatch"] == 3
    assert task["args"]["stage"] == "1"
    assert task["args"]["where"].startswith(f"{__file__}:")
    assert "layer_1" in task["args"]["scopes"]
    sent = [one for one in slices(traced) if one["name"].startswith("send") and one["args"]["step"] == 2]
    total = Counter()
    for one in sent:
        total[one["args"]["from"], one["args"]["to"]] += one["args"]["bytes"]
    assert total == step.stats().bytes_per_link
    arrows = Counter((one["ph"], one["id"]) for one in traced if one["ph"] in "sf")
    assert set(arrows.values()) == {1}
    assert {name for kind, name in arrows if kind == "s"} == {name for kind, name in arrows if kind == "f"}
    assert len(arrows) == 2 * 2 * len(
        [one for island in step.program.islands for one in island.instructions if isinstance(one, Send)]
    )


def test_the_report_has_the_last_traced_step(step, traced):
    report = step.report()
    assert {one.name for one in report.islands} == {one.island for one in report.measured.tasks}
    assert len(report.measured.tasks) == sum(map(len, instructions(step.program, Run).values()))
    assert report.measured.tasks[0].start == 0
    assert 0 < report.measured.bubble(["island0", "island1"]) < 1
    assert type(report).from_json(report.to_json()) == report
    assert "measured  step " in str(report)


def test_the_picture_has_what_is_predicted_beside_what_was_measured(step, traced):
    root = ElementTree.fromstring(step.report().svg())
    titles = [one.text for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert sum("microbatch" in one for one in titles) == 2 * STAGES * MICROBATCHES  # predicted
    assert sum(", island island" in one for one in titles) == len(step.report().measured.tasks)
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [one.partition(":")[0] for one in texts if one.startswith(("predicted", "measured"))] == [
        "predicted",
        "measured",
    ]


def test_a_trace_says_what_it_cannot(step, tmp_path):
    unknown = step.trace(tmp_path / "nowhere" / "steps.json")
    with pytest.raises(UsageError, match=r"^cannot write .*: No such file or directory; name another file"), unknown:
        pytest.fail("there is no such folder")
    outer, inner = step.trace(tmp_path / "outer.json"), step.trace(tmp_path / "inner.json")
    remark = r"^steps are being traced already; end that trace first"
    with outer, pytest.raises(UsageError, match=remark), inner:
        pytest.fail("one trace at a time")
    assert slices(json.loads((tmp_path / "outer.json").read_text())["traceEvents"]) == []


def test_a_step_that_fails_is_traced_as_well(tmp_path):
    def fails(x):
        raise ValueError("no")

    def fn(w, x):
        with jax.named_scope("first"):
            h = jax.pure_callback(fails, jax.ShapeDtypeStruct((2, 2), "float32"), x @ w)
        with jax.named_scope("second"):
            return h @ w

    w = jnp.ones((2, 2))
    with atoll.compile(fn, w, w, topology="2 x cpu[1]", plan=atoll.Plan(stages="first | second")) as step:
        with step.trace(tmp_path / "steps.json"):
            result = step(w, w)
        with pytest.raises(atoll.AtollError, match="no"):
            numpy.asarray(result)
    events = slices(json.loads((tmp_path / "steps.json").read_text())["traceEvents"])
    assert {one["name"] for one in events} >= {"F0", "F1", "send F0 to island1", "receive F0 from island0"}


def test_nothing_to_draw():
    with atoll.compile(lambda x: x + 1, X, topology="1 x cpu[1]") as step:
        report = step.report()
    with pytest.raises(UsageError, match="there is nothing to draw"):
        report.svg()


def test_recorded_times_are_those_of_the_devices(step):
    """On devices that say when they were at work."""
    program, meshes = step.program, meshes_of(step.topology)
    arguments = [numpy.zeros(one.shape, one.dtype) for one in program.inputs]
    with (
        SleepingDevices(program, meshes, lambda task: 0.01 if "@" in task else 0.0) as sleeping,
        Controller(program, meshes, devices=sleeping.devices, timeout=120) as controller,
    ):
        with controller.traced() as trace:
            controller.start(controller.put(arguments))
        slept = {(one.island, one.task): one for one in sleeping.slept}
        for one in trace.last_step():
            inside = slept[one.island, one.task]
            assert one.start <= inside.start <= inside.end <= one.end
