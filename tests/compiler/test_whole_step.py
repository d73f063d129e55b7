"""A step with several loops on paper: tasks that wait for each other, links, and how loops overlap."""

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.compiler.cost.task_costs import costs_of
from atoll.compiler.schedules.costs import LinkCost
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.simulate import simulate
from atoll.compiler.schedules.step_task import StepTask
from atoll.compiler.schedules.whole_step import LoopTimes, step_times
from atoll.runtime.program import Receive, Run

import atoll

pytestmark = pytest.mark.own


def test_islands_go_on_as_soon_as_what_they_need_is_there():
    tasks = [
        StepTask("L0.F0@0", 0, 1.0, 0, (), ((1, 8),)),
        StepTask("L0.F1@0", 0, 1.0, 0, (), ((1, 8),)),
        StepTask("F0@0", 0, 3.0, 1),
        StepTask("L0.F0@1", 1, 2.0, 0, (0,)),
        StepTask("L0.F1@1", 1, 2.0, 0, (1,)),
        StepTask("U1", 1, 1.0, None, (2, 4)),
    ]
    times = step_times(tasks, {(0, 1): LinkCost(latency=0.5, bandwidth=4.0)})
    # The link is taken from 1 to 3 and from 3 to 5; each value arrives half a unit later.
    assert times.starts == (0.0, 1.0, 2.0, 3.5, 5.5, 7.5)
    assert times.makespan == 8.5
    assert times.bubble(2) == pytest.approx(1 - 10 / 17)
    # Before the second loop begins one island has two units of work and the other one none; after that three and five.
    pauses = [pytest.approx(1 / 8.5), pytest.approx(2.5 / 8.5)]
    assert times.loops(2) == [LoopTimes(0, 0.0, 7.5, 0.0, pauses[0]), LoopTimes(1, 2.0, 5.0, 5.5, pauses[1])]


def test_what_is_exchanged_takes_no_time_of_its_island():
    tasks = [
        StepTask("B0@0", 0, 1.0, 0),
        StepTask("B1@0", 0, 1.0, 0),
        StepTask("X0.all", 1, 4.0, None, (0,)),
        StepTask("U0", 0, 1.0, None, (1, 2)),
    ]
    times = step_times(tasks, {})
    assert (times.starts[3], times.makespan, times.bubble(1)) == (5.0, 6.0, 0.5)


LAYERS = [numpy.eye(64, dtype="float32")] * 4
BATCH = numpy.ones((64, 64), "float32")


def loss(params, x):
    for index, layer in enumerate(params):
        with jax.named_scope(f"layer_{index}"):
            x = jnp.tanh(x @ layer)
    return jnp.mean(x**2)


def sharpness_aware(params, x):
    up = jax.tree.map(lambda p, g: p + 0.05 * g, params, jax.grad(loss)(params, x))
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(up, x))


def centred(params, x):
    def loss(params):
        h = x
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                h = h @ layer
                h = jnp.tanh(h - h.mean(0))
        return jnp.mean(h**2)

    return jax.grad(loss)(params)


def lowered(step, schedule="1f1b", **plan):
    plan = atoll.Plan(stages=2, microbatches=4, schedule=schedule, **plan)
    return atoll.lower(step, LAYERS, BATCH, topology="2 x cpu[1]", plan=plan, batch_argnums=1)


@pytest.fixture(scope="module")
def report():
    return lowered(sharpness_aware).report()


def test_all_loops_are_in_the_prediction(report):
    whole = report.whole_step
    names = [task.name for task in whole.tasks]
    assert [name for name in names if "@0" in name and name.startswith("L0.F")] == [f"L0.F{n}@0" for n in range(4)]
    # 8 tasks a loop and island, and what each island does before the first loop, between them and after the last one.
    assert len(names) == 2 * (8 + 8 + 3)
    first, last = whole.loops
    assert (first.loop, last.loop, first.overlap, last.overlap) == (0, 1, 0.0, 0.0)
    # All weights wait for the first loop; then the second takes as long.
    assert last.start > first.end
    assert last.end - last.start == pytest.approx(first.end - first.start)
    assert last.end < whole.step < 1.01 * last.end
    # The last loop by itself does not have the work of the other one.
    around = max(report.pipeline.around_seconds)
    assert report.pipeline.step == pytest.approx(last.end - last.start + around)
    assert report.from_json(report.to_json()) == report


def test_the_work_of_all_loops_is_the_reports(report):
    whole = report.whole_step
    work = sum(task.seconds for task in whole.tasks)
    pipeline = report.pipeline
    in_a_loop = pipeline.microbatches * sum(sum(stage.seconds) for stage in pipeline.stages)
    assert work == pytest.approx(2 * in_a_loop + sum(pipeline.around_seconds))
    sent = sum(size for task in whole.tasks for _, size in task.sends)
    assert sent == sum(link.bytes for link in report.links)


def test_the_text_and_the_picture_have_all_loops(report):
    text = str(report)
    assert "step      2 loops over microbatches, one after the other\n          predicted step " in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith(("L0 ", "last "))] == ["L0", "last"]
    assert "predicted last loop by itself " in text
    svg = report.svg()
    assert "predicted: 2 loops, bubble " in svg
    assert all(f">{name}, island island1: " in svg for name in ("L0.B3@1", "F0@1", "I1"))


RING = "\n".join(
    [
        *(f"island i{one} : cpu[1]" for one in range(3)),
        *(f"link i{one} <-> i{other} : 1 MB/s, 1 us" for one, other in ((0, 1), (0, 2), (1, 2))),
    ]
)


def in_a_ring(step):
    plan = atoll.Plan(stages=1, microbatches=2, replicas=3, segments=4, schedule="1f1b")
    return atoll.lower(step, LAYERS, jnp.ones((48, 64)), topology=RING, plan=plan, batch_argnums=1)


def test_a_ring_goes_on_after_the_loop():
    """It sends one slice when the sums are complete; the rest stands where something takes them."""
    lowered = in_a_ring(jax.grad(loss))
    instructions = lowered.program.islands[0].instructions
    end = max(at for at, one in enumerate(instructions) if isinstance(one, Run) and one.task.startswith("B"))
    waits = [at for at, one in enumerate(instructions) if isinstance(one, Receive)]
    assert len(waits) == 4 * 4
    assert min(waits) > end
    pipeline = lowered.report().pipeline
    assert [(one.task, one.in_loop) for one in pipeline.exchanges] == [(f"B{n}", True) for n in (3, 2, 1, 0)]
    message = 1e-6 + 64 * 64 * 4 / 3 / 1e6
    assert [one.late for one in pipeline.exchanges] == [pytest.approx(3 * message, rel=1e-3)] * 4
    assert pipeline.step == pytest.approx(4 * 4 * message, rel=0.01)  # tasks take next to nothing
    slow = pipeline.simulation(lowered.topology, slower=1e6)  # so that each first message crosses beside a task
    ((begin, _),) = slow.updates
    assert begin - max(task.end for task in slow.tasks) == pytest.approx(13 * message, rel=0.01)


def test_a_ring_of_an_earlier_loop_goes_on_after_that():
    whole = in_a_ring(sharpness_aware).report().whole_step
    times = whole.times(atoll.topology(RING))
    first = whole.loops[0]
    begins = [start for task, start in zip(times.tasks, times.starts, strict=True) if task.name == "X0.all"]
    assert begins == [pytest.approx(first.end)]


def test_the_tasks_of_a_block_are_predicted_one_by_one():
    """As they run: what the first of them makes does not wait for the second."""
    plan = atoll.Plan(stages=4, microbatches=4, schedule="dualpipe-v")
    topology = atoll.topology("2 x cpu[1]")
    report = atoll.lower(jax.grad(loss), LAYERS, BATCH, topology=topology, plan=plan, batch_argnums=1).report()
    one = report.pipeline
    in_blocks = simulate(
        Schedule.parse(one.schedule), costs_of(topology, one.islands, one.stages, one.around_seconds, one.replicas)
    )
    assert one.step < in_blocks.makespan


def test_an_open_schedule_searches_for_every_loop():
    found = lowered(sharpness_aware, schedule="auto").report()
    flowing = lowered(sharpness_aware, schedule="1f1b").report()
    first, last = found.whole_step.loops
    assert first.end - first.start == pytest.approx(last.end - last.start)
    assert found.whole_step.step < flowing.whole_step.step


def test_loops_overlap_where_nothing_waits_for_a_sum():
    """Going back, one island is done with a loop while the other one still adds up the gradients of its weights."""
    step = lowered(centred, extra=100).report().whole_step
    loops = step.loops
    assert len(loops) > 4
    # On the way forward each loop needs the mean that the one before it completes.
    assert [one.overlap for one in loops[:4]] == [0.0] * 4
    assert sum(one.pause for one in loops) == pytest.approx(step.bubble)
    overlapping = [after for after in loops if after.overlap > 0]
    assert overlapping
    assert all(one.start < loops[one.loop - 1].end for one in overlapping)
