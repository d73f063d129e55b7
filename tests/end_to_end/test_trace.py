"""What a trace records: every task and every value that crosses, when it happened."""

import itertools
from collections import Counter
from typing import NamedTuple
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.compiler.errors import UsageError
from atoll.compiler.topology.devices import meshes_of
from atoll.runtime.controller import Controller
from atoll.runtime.program import Run, Send
from atoll.runtime.sleeping import SleepingDevices, Slept
from atoll.runtime.trace import TracedTask
from atoll.runtime.trace_file import to_bytes
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)
from trace_reader import Found, arrows, read_slices, read_trace

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
    """The tracks of two steps; one more ran before them and one behind."""
    path = tmp_path_factory.mktemp("trace") / "steps.pftrace"
    state, _ = step(PARAMS, X)
    with step.trace(path):
        for _ in range(2):
            state, _ = step(state, X)
    step(state, X)
    return read_trace(path)


class Slow(NamedTuple):
    """A step on devices whose every task of the loop takes so long that whoever needs its values waits for them."""

    tracks: dict[tuple[str, ...], list[Found]]
    tasks: list[TracedTask]
    slept: list[Slept]


@pytest.fixture(scope="module")
def slow(step, tmp_path_factory):
    program, meshes = step.program, meshes_of(step.topology)
    arguments = [numpy.zeros(one.shape, one.dtype) for one in program.inputs]
    with (
        SleepingDevices(program, meshes, lambda task: 0.1 if "@" in task else 0.0) as sleeping,
        Controller(program, meshes, devices=sleeping.devices, timeout=120) as controller,
    ):
        with controller.traced() as trace:
            controller.start(controller.put(arguments))
        path = tmp_path_factory.mktemp("slow") / "step.pftrace"
        path.write_bytes(to_bytes(trace.program, trace.records))
        return Slow(read_trace(path), trace.last_step(), sleeping.slept)


def slices(tracks):
    return [one for its in tracks.values() for one in its]


def instructions(program, kind):
    return {island.name: [one for one in island.instructions if isinstance(one, kind)] for island in program.islands}


def test_there_is_a_track_for_each_island_and_one_for_the_controller(traced):
    assert list(traced) == [
        ("controller",),
        ("controller", "steps"),
        *(
            (island, *part)
            for island in ("island0", "island1")
            for part in [(), ("tasks",), ("transfers",), ("waits",)]
        ),
    ]
    assert not traced["island0",]


def test_every_task_and_transfer_of_every_step_is_there_once(step, traced):
    found = Counter(
        (*one.track, one.args["step"], one.name)
        for track, its in traced.items()
        for one in its
        if track[-1] in ("tasks", "transfers")
    )
    assert set(found.values()) == {1}
    wanted = set()
    for number in (1, 2):
        for island, runs in instructions(step.program, Run).items():
            wanted |= {(island, "tasks", number, one.task) for one in runs}
            other = "island1" if island == "island0" else "island0"
            made, taken = ("F", "B") if island == "island0" else ("B", "F")
            stage, other_stage = island[-1], other[-1]
            for microbatch in range(MICROBATCHES):
                wanted.add((island, "transfers", number, f"send {made}{microbatch}@{stage} to {other}"))
                wanted.add((island, "transfers", number, f"receive {taken}{microbatch}@{other_stage} from {other}"))
    assert set(found) == wanted


def test_one_finds_a_step(traced):
    """Its slice lasts from when the controller starts it until the last island has done its part."""
    steps, starts = traced["controller", "steps"], traced["controller",]
    assert [one.name for one in steps] == ["step 1", "step 2"]
    assert [one.name for one in starts] == ["start step 1", "start step 2"]
    for step, start in zip(steps, starts, strict=True):
        parts = [
            one
            for track, its in traced.items()
            for one in its
            if one.args["step"] == step.args["step"] and track[-1] in ("tasks", "transfers")
        ]
        assert step.start == start.start
        assert step.end == max(one.end for one in [*parts, start])


def test_times_are_in_order(traced):
    """On an island's track one thing after the other; and what comes from a task comes behind it."""
    for track, its in traced.items():
        for one, following in itertools.pairwise(its):
            assert one.end <= following.start or track == ("controller", "steps"), (one, following)
    tasks = [one for track, its in traced.items() for one in its if track[-1] == "tasks"]
    times = {(one.args["step"], one.name): one for one in tasks}
    for number in (1, 2):
        for microbatch in range(MICROBATCHES):
            chain = [f"F{microbatch}@0", f"F{microbatch}@1", f"B{microbatch}@1", f"B{microbatch}@0"]
            for before, after in itertools.pairwise(chain):
                assert times[number, before].end <= times[number, after].start


def test_what_a_task_and_a_transfer_tell(step, traced):
    task = next(one for one in traced["island1", "tasks"] if one.name == "F3@1")
    assert task.category == "F"
    assert task.args["microbatch"] == 3
    assert task.args["stage"] == "1"
    assert task.args["where"].startswith(f"{__file__}:")
    assert "layer_1" in task.args["scopes"]
    assert {"fragment", "bytes", "donated bytes"} <= set(task.args)
    sent = [one for one in slices(traced) if one.name.startswith("send") and one.args["step"] == 2]
    total = Counter()
    for one in sent:
        total[one.args["from"], one.args["to"]] += one.args["bytes"]
    assert total == step.stats().bytes_per_link


def test_an_arrow_leads_from_each_send_to_its_receive(step, traced):
    pairs = arrows(slices(traced))
    sends = [one for island in step.program.islands for one in island.instructions if isinstance(one, Send)]
    assert len(pairs) == 2 * len(sends)
    for sent, received in pairs:
        made = sent.name.removeprefix("send ").partition(" ")[0]
        source, target = sent.track[0], received.track[0]
        assert sent.name == f"send {made} to {target}"
        assert received.name == f"receive {made} from {source}"
        assert sent.args == received.args
        assert sent.start <= received.start  # else a viewer drops the arrow


def test_a_wait_tells_what_for(slow):
    """The last stage waits for what the first one sends."""
    waits = [one for one in slow.tracks["island1", "waits"] if one.name.startswith("value F")]
    received = {one.name: one for one in slow.tracks["island1", "transfers"]}
    assert waits
    for one in waits:
        assert one.category == "wait"
        microbatch = one.args["microbatch"]
        assert one.name == f"value F{microbatch}@0 from island0"
        assert one.args.items() >= {"for": "value", "stage": "0", "from": "island0"}.items()
        assert set(one.args) == {"step", "for", "microbatch", "stage", "from", "tag"}
        assert one.end <= received[f"receive F{microbatch}@0 from island0"].start


def test_no_island_waits_while_it_works(traced, slow):
    for tracks, island in itertools.product((traced, slow.tracks), ("island0", "island1")):
        busy = [*tracks[island, "tasks"], *tracks[island, "transfers"]]
        for one in tracks[island, "waits"]:
            assert all(one.end <= other.start or other.end <= one.start for other in busy), one


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
    assert [
        one.partition(":")[0] for one in texts if one.startswith(("predicted", "measured")) and ", from " not in one
    ] == [
        "predicted",
        "measured",
    ]


def test_a_trace_says_what_it_cannot(step, tmp_path):
    unknown = step.trace(tmp_path / "nowhere" / "steps.pftrace")
    with (
        pytest.raises(UsageError, match=r"^\S+: cannot write .*: No such file or directory; name another file"),
        unknown,
    ):
        pytest.fail("there is no such folder")
    outer, inner = step.trace(tmp_path / "outer.pftrace"), step.trace(tmp_path / "inner.pftrace")
    remark = r"^\S+: steps are being traced already; end that trace first"
    with outer, pytest.raises(UsageError, match=remark), inner:
        pytest.fail("one trace at a time")
    assert read_slices(tmp_path / "outer.pftrace") == []


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
        with step.trace(tmp_path / "steps.pftrace"):
            result = step(w, w)
        with pytest.raises(atoll.AtollError, match="no"):
            numpy.asarray(result)
    assert {one.name for one in read_slices(tmp_path / "steps.pftrace")} >= {
        "F0",
        "F1",
        "send F0 to island1",
        "receive F0 from island0",
    }


@pytest.mark.parametrize("fn", [lambda x: x + 1, lambda x: x])
def test_a_step_without_a_loop_is_drawn(fn):
    """Also one in which there is nothing to do."""
    report = atoll.lower(fn, X, topology="1 x cpu[1]").report()
    assert report.pipeline is None
    assert "predicted: no loops, bubble 0%" in report.svg()
    assert "step      no loop over microbatches" in str(report)


def test_recorded_times_are_those_of_the_devices(slow):
    """On devices that say when they were at work."""
    slept = {(one.island, one.task): one for one in slow.slept}
    assert len(slow.tasks) == len(slept)
    for one in slow.tasks:
        inside = slept[one.island, one.task]
        assert one.start <= inside.start <= inside.end <= one.end
