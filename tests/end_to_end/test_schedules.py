"""What a plan's schedule says is what the program follows, and what its islands do."""

import itertools

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS
from atoll.compiler.topology.devices import meshes_of
from atoll.runtime.controller import Controller
from atoll.runtime.program import Run
from atoll.runtime.sleeping import SleepingDevices
from microbatched import evaluated  # noqa: F401 (a fixture)

import atoll

pytestmark = pytest.mark.own

ISLANDS, MICROBATCHES = 2, 4


def forward(params, x):
    for index, layer in enumerate(params):
        with jax.named_scope(f"layer_{index}"):
            x = jnp.tanh(x @ layer)
    return x


def train_step(params, x):
    loss, gradients = jax.value_and_grad(lambda params: jnp.mean(forward(params, x) ** 2))(params)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), loss


def compiled(name, microbatches=MICROBATCHES):
    params = [numpy.eye(4, dtype="float32")] * (ISLANDS * SCHEDULE_KINDS[name].chunks)
    x = numpy.ones((microbatches, 4), "float32")
    plan = atoll.Plan(stages=len(params), microbatches=microbatches, schedule=name)
    fn = forward if name == "forward-only" else train_step
    return atoll.compile(fn, params, x, topology=f"{ISLANDS} x cpu[1]", plan=plan, batch_argnums=1)


def streams(program):
    """For each island the tasks of its loop."""
    return [
        [one.task for one in island.instructions if isinstance(one, Run) and "@" in one.task]
        for island in program.islands
    ]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", SCHEDULE_KINDS)
def test_a_program_follows_the_plans_schedule(name, tmp_path):
    with compiled(name) as step:
        schedule = step.schedule
        asked = atoll.schedule(name, islands=ISLANDS, microbatches=MICROBATCHES)
        if asked.split_stages:
            asked = asked.whole_backward([0])  # the first stage gives nothing to anybody, so all it has are weights
        assert schedule == asked
        assert [[str(task) for task in row] for row in schedule.rows] == streams(step.program)
        step.save(tmp_path / "step.atoll")
        program, meshes = step.program, meshes_of(step.topology)
    with atoll.load(tmp_path / "step.atoll") as loaded:
        assert loaded.schedule == schedule
    arguments = [numpy.zeros(one.shape, one.dtype) for one in program.inputs]
    with (
        SleepingDevices(program, meshes, lambda task: 0.001 if "@" in task else 0.0) as sleeping,
        Controller(program, meshes, devices=sleeping.devices, timeout=120) as controller,
    ):
        for _ in range(2):
            controller.start(controller.put(arguments))
        order = controller.stats().order
    assert [[task for task in row if "@" in task] for row in order.values()] == streams(program)
    for number, island in enumerate(program.islands):
        own = [one for one in sleeping.slept if one.island == island.name]
        assert [one.task for one in own if "@" in one.task] == 2 * streams(program)[number]
        assert all(one.end <= next_.start for one, next_ in itertools.pairwise(own))


def test_an_order_that_was_edited():
    with compiled("1f1b") as step:
        text = step.ir("scheduled")
    row = 'island0 = "F0@0 F1@0 B0@0'
    assert row in text
    from atoll.compiler.lowered import compile_module
    from atoll.compiler.mlir.ir_text import parse_text

    edited = parse_text(text.replace("F0@0 F1@0", "F1@0 F0@0"))
    with compile_module(edited, step.topology) as again:
        assert again.schedule.name == "edited"
        assert [[str(task) for task in row] for row in again.schedule.rows] == streams(again.program)
        assert again.report().pipeline.name == "edited"


@pytest.mark.parametrize(
    ("name", "edit", "told", "phase"),
    [
        (
            "1f1b",
            ("stages=2", "stages=4"),
            "the plan makes 4 stages, each segment counted, and the module has 2",
            "timed",
        ),
        (
            "1f1b",
            ("segments=1", "segments=2"),
            "the plan makes 4 stages, each segment counted, and the",
            "timed",
        ),
        ("interleaved-1f1b", ("interleaved-1f1b(2)", "zb-v"), None, None),
        ("zb-h1", ("zb-h1", "1f1b"), "schedule 1f1b has W1 nowhere, and the module has it on island1", "timed"),
        (
            "1f1b",
            ("microbatches=4", "microbatches=2"),
            "the plan has 2 microbatches on all replicas together, and the module has 4",
            "stablehlo",
        ),
    ],
)
def test_a_plan_that_was_edited_behind_what_it_decides(name, edit, told, phase):
    with compiled(name) as step:
        text, topology = step.ir("staged"), step.topology
    from atoll.compiler.lowered import compile_module
    from atoll.compiler.mlir.ir_text import parse_text

    assert text.count(edit[0]) == 1
    edited = parse_text(text.replace(*edit))
    if told is None:  # nothing has been decided that another schedule needs otherwise
        with compile_module(edited, topology) as again:
            assert again.schedule.name == edit[1]
        return
    with pytest.raises(atoll.CompileError) as caught:
        compile_module(edited, topology)
    assert told in str(caught.value)
    assert f"give the plan as it was, or change it in a dump of phase {phase}" in caught.value.remedy


@pytest.mark.parametrize("name", ["1f1b", "zb-h1"])
def test_a_plan_that_is_edited_before_it_decides(name):
    with compiled(name) as step:
        text, topology = step.ir("timed"), step.topology
    from atoll.compiler.lowered import compile_module
    from atoll.compiler.mlir.ir_text import parse_text

    with compile_module(parse_text(text.replace("segments=1", "segments=2")), topology) as again:
        assert again.schedule.stages == 4


@pytest.mark.parametrize(
    "plan",
    [
        atoll.Plan(stages=2),
        atoll.Plan(placement={"layer_0": "island0", "layer_1": "island1"}, microbatches=2),
    ],
)
def test_no_pipeline_has_no_schedule(plan):
    params, x = [numpy.eye(4, dtype="float32")] * 2, numpy.ones((4, 4), "float32")
    with atoll.compile(train_step, params, x, topology="2 x cpu[1]", plan=plan, batch_argnums=1) as step:
        assert step.schedule is None
        assert step.report().pipeline is None
