"""`atoll simulate`: copies of a program, what is predicted of them, and how it is shown."""

import itertools
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.commands.plan import JobTarget, ModuleTarget
from atoll.compiler.commands.simulate import FixedModule, GrowingJob, copies_of, plan_asked
from atoll.compiler.cost.devices import Spent, device_kind
from atoll.compiler.cost.work import Work
from atoll.compiler.emit.bundles import bundles_of
from atoll.compiler.errors import AtollError, PlanError, UsageError
from atoll.compiler.export.job import Job
from atoll.compiler.plan.plan import Plan
from atoll.compiler.planner.choice import BatchDivision, Choice
from atoll.compiler.replicas.exchange import RING
from atoll.compiler.report.prediction import predict
from atoll.compiler.report.whole_step import step_of_all_tasks
from atoll.compiler.scaling.chart import scaling_svg
from atoll.compiler.scaling.copies import job_of_copies, plan_of_copies, topology_of_copies
from atoll.compiler.scaling.failures import Failures
from atoll.compiler.scaling.losses import losses_of
from atoll.compiler.scaling.scale import Scale, scheduled
from atoll.compiler.scaling.scaling import Scaling, scaling
from atoll.compiler.schedules.costs import LinkCost
from atoll.compiler.schedules.step_task import StepTask
from atoll.compiler.schedules.whole_step import step_times
from atoll.compiler.topology.topology import topology
from told import told

import atoll

pytestmark = pytest.mark.own

BANDWIDTH, LATENCY = 1e9, 1e-5
LINKS = "link * <-> * : 1 GB/s, 10 us"


def step(params, x):
    def loss(params):
        h = x
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                h = jnp.tanh(h @ layer)
        return jnp.mean(h**2)

    return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))


def job(widths=(512,) * 5, batch=64, **changes):
    params = [jax.ShapeDtypeStruct(pair, "float32") for pair in itertools.pairwise(widths)]
    return Job(step, params, jax.ShapeDtypeStruct((batch, widths[0]), "float32"), **({"batch_argnums": 1} | changes))


def target(islands, **changes):
    return GrowingJob(JobTarget(job(**changes), topology(f"{islands} x cpu[1]; {LINKS}")))


def plan(**changes):
    return Plan(**({"stages": 2, "microbatches": 4, "schedule": "1f1b", "segments": 1} | changes))


# Copies


def test_islands_again_and_again():
    numbered = topology_of_copies(topology(f"2 x cpu[4]; {LINKS}; link island0 <-> island1 : 5 GB/s, 1 us"), 2)
    assert str(numbered).splitlines() == [
        "4 x cpu[4]",
        "link * <-> * : 1 GB/s, 10 us",
        "link island0 <-> island1 : 5 GB/s, 1 us",
        "link island2 <-> island3 : 5 GB/s, 1 us",
    ]
    named = topology_of_copies(topology("island a : cpu[4]; island b : cpu[2]"), 2)
    assert [island.name for island in named.islands] == ["a", "b", "a.1", "b.1"]


def test_a_larger_batch():
    def fn(count, state, batch):
        return state, batch, count

    arguments = (2, {"w": jnp.ones((3, 5))}, {"x": jnp.ones((3, 5), "bfloat16"), "scale": 2.0})
    small = Job(fn, *arguments, batch_axes=(None, None, {"x": 1, "scale": None}), static_argnums=0, donate_argnums=1)
    large = job_of_copies(small, 4)
    assert large.args[0] == 2
    assert large.args[1]["w"].shape == (3, 5)
    assert (large.args[2]["x"].shape, large.args[2]["x"].dtype) == ((3, 20), "bfloat16")
    assert large.args[2]["scale"] == 2.0
    assert (large.donate_argnums, large.where) == (small.donate_argnums, small.where)


@pytest.mark.parametrize(
    ("copies", "is_weak", "microbatches"), [(4, True, 6), (1, False, 6), (2, False, 3), (4, False, 1), (8, False, 1)]
)
def test_the_plan_of_copies(copies, is_weak, microbatches):
    found = plan_of_copies(Plan(microbatches=6, segments=1), 2, copies, 48, is_weak=is_weak)
    assert found == Plan(stages=2, microbatches=microbatches, replicas=copies, segments=1)


def test_a_plan_that_cannot_be_copied():
    with pytest.raises(PlanError, match="a placement and replicas=2 are both given"):
        plan_of_copies(Plan(placement={"a": "island0"}), 2, 2, 8, is_weak=True)


def test_a_plan_by_which_copies_compute_something_else():
    with pytest.raises(UsageError, match="each number of copies would compute another function; leave it out"):
        plan_asked('microbatches=2, per_microbatch="norm"')


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1,2,x", "--copies has '1,2,x'; write numbers from 1 on: --copies 1,2,4,8"),
        ("0", "--copies has '0'"),
        ("1,3000", "--copies: 3000 copies of 2 islands are more than 4096; ask for fewer copies"),
    ],
)
def test_what_are_no_numbers_of_copies(text, what):
    with pytest.raises(UsageError) as caught:
        copies_of(text, 2)
    assert told(caught.value).startswith(what)


def test_numbers_of_copies():
    assert copies_of(" 4, 1,2,4", 2) == [1, 2, 4]


# What is predicted


def test_on_what_a_device_spends_its_time():
    v4 = device_kind((one := topology("1 x v4[2x2x1]")).islands[0], one)
    assert v4.spent(Work(275e12, 1228e9)) == Spent(2.0, 0.0, 0.0)
    assert v4.spent(Work(275e10, 1228e9, 300e9)) == Spent(0.0, 1.25, 1.25)
    assert v4.seconds(Work(275e10, 1228e9, 300e9)) == 2.5


def test_a_row_is_what_the_report_of_that_program_says():
    found = scaling(target(2), plan(), [1, 4], None)
    islands = topology_of_copies(topology(f"2 x cpu[1]; {LINKS}"), 4)
    report = atoll.lower(job(batch=256), topology=islands, plan=plan(replicas=4)).report()
    row = found.weak[-1]
    assert row.step == report.pipeline.step
    assert row.memory == max(island.peak_bytes for island in report.islands)
    assert sum(row.parts.values()) == pytest.approx(row.step)
    assert (row.islands, row.devices, row.replicas, row.batch) == (8, 8, 4, 256)
    assert row.repeated == pytest.approx(1.0, rel=0.2)
    # Strong scaling leaves each replica one microbatch of the same size, and so a larger part of pauses.
    one, four = found.strong
    assert one.step == found.weak[0].step
    assert four.plan == str(plan(replicas=4, microbatches=1))
    assert four.efficiency == pytest.approx(one.step / four.step / 4)
    assert four.busy < one.busy


def test_replicas_of_one_island_exchange_in_the_closed_form():
    """Weak scaling of plain data parallelism: the step of one, and the exchange of S bytes in a ring.

    The first messages of all weights follow each other; the later ones go weight by weight.
    """
    weights = 4
    size = weights * 512 * 512 * 4
    found = scaling(target(1), plan(stages=1, microbatches=2), [1, 2, 4, 8], None)
    alone = found.weak[0]
    assert alone.exchange == 0
    for row in found.weak[1:]:
        count = row.replicas
        later = 2 * (count - 1) - 1  # messages of a weight, after its first
        ring = (later + 1) * size / count / BANDWIDTH + (1 + weights * later) * LATENCY
        direct = LATENCY + size / BANDWIDTH  # two replicas send each other all
        assert row.exchange == pytest.approx(ring if count > 2 else direct)
        assert row.step == pytest.approx(alone.step + row.exchange)
        assert row.efficiency == pytest.approx(alone.step / row.step)


def test_all_replicas_simulated_take_what_follows_from_one():
    """Every task of four replicas, and every message of their rings, run on paper: the same step."""
    count, islands = 4, 2
    one = target(islands)
    module = scheduled(
        one.exported(count), topology_of_copies(one.topology, count), plan_of_copies(plan(), 2, count, 64, is_weak=True)
    )
    whole, bundles = step_of_all_tasks(module), bundles_of(module)
    assert {unit.form for bundle in bundles for unit in bundle.units} == {RING}
    tasks, numbers = [], {}
    link = LinkCost(LATENCY, BANDWIDTH)

    def row_of(replica, row):
        return replica * 2 * islands + row

    def add(key, *task):
        numbers[key] = len(tasks)
        tasks.append(StepTask(*task))

    for replica in range(count):
        for number, task in enumerate(whole.tasks):
            if task.row < islands:
                sends = tuple((row_of(replica, target), size) for target, size in task.sends)
                add((replica, number), task.name, row_of(replica, task.row), task.seconds, 0, task.needs, sends)
    exchanges = [number for number, task in enumerate(whole.tasks) if task.row >= islands]
    for number, bundle in zip(exchanges, bundles, strict=True):
        task = whole.tasks[number]
        last = max(one for one, other in enumerate(whole.tasks) if (other.row, other.loop) == (task.row - islands, 0))
        # The first messages of all units, and the later ones unit by unit; the end only waits for what comes.
        later = [unit.bytes for unit in bundle.units for _ in range(2 * (count - 1) - 1)]
        for turn, size in enumerate([sum(unit.bytes for unit in bundle.units), *later, None]):
            for replica in range(count):
                row, right = (row_of(one % count, task.row) for one in (replica, replica + 1))
                needs = [("of", (replica - 1) % count, number, turn - 1)] if turn else task.needs
                key = (replica, number) if size is None else ("of", replica, number, turn)
                sends = () if size is None else ((right, size / count),)
                add(key, key, row, 0.0, None, [*needs, last] if turn == 1 else needs, sends)
    made = []
    for one in tasks:
        replica = one.row // (2 * islands)
        needs = tuple(numbers[need if isinstance(need, tuple) else (replica, need)] for need in one.needs)
        made.append(one._replace(needs=needs))
    rows = range(count * 2 * islands)
    times = step_times(made, {(a, b): link for a in rows for b in rows if a != b})
    assert times.makespan == pytest.approx(predict(module).step)
    assert times.makespan == pytest.approx(scaling(target(2), plan(), [count], None).weak[0].step)


def test_what_a_plan_leaves_open_is_the_planners():
    """As in the program of one copy: it is divided before there are copies."""
    program = target(2, widths=(512,) * 9, batch=512)
    chosen = atoll.lower(program.target.job, topology=program.topology).plan
    assert chosen.microbatches > 1
    found = scaling(program, Plan(), [1, 2], None)
    assert [Plan.parse(one.plan).microbatches for one in found.weak] == [chosen.microbatches] * 2


def test_a_choice_that_is_refused_is_taken_back(monkeypatch):
    """Nobody has asked for three microbatches, which the batch does not divide into."""
    monkeypatch.setattr(BatchDivision, "chosen", lambda *_: Choice(1, 3, 1.0, 2.0))
    found = scaling(target(2, widths=(512,) * 9, batch=512), Plan(), [1], None)
    assert Plan.parse(found.weak[0].plan).microbatches == 1


def test_a_program_without_microbatches():
    found = scaling(target(2), plan(microbatches=1), [1], None)
    (row,) = found.weak
    assert row.exchange == 0
    assert sum(row.parts.values()) == pytest.approx(row.step)
    assert row.step > row.compute + row.traffic > 0


def test_what_cannot_be_made_is_a_note():
    found = scaling(target(1, batch=6), plan(stages=1, microbatches=2), [1, 4], None)
    assert [row.copies for row in found.weak] == [1, 4]
    assert [row.copies for row in found.strong] == [1]
    (note,) = found.notes
    assert note.startswith("4 copies, strong: ")
    assert "which 4 replicas cannot share evenly" in note
    with pytest.raises(AtollError, match="cannot share evenly"):
        scaling(target(1, batch=3), plan(stages=1, microbatches=2), [1], None)


def test_shardings_that_divide_no_longer_are_told():
    whole, rows = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("data")
    sharded = job(widths=(64,) * 3, batch=16, in_shardings=([whole] * 2, rows))
    one = GrowingJob(JobTarget(sharded, topology(f"1 x cpu[data=8]; {LINKS}")))
    found = scaling(one, plan(stages=1, microbatches=1), [1, 2, 4], None)
    assert found.notes == (
        "4 copies, strong: each device does 5.6 times its part, as shardings do not divide so small a microbatch",
    )


def test_what_has_no_batch_and_what_has_a_fixed_one():
    none = scaling(target(2, batch_argnums=()), plan(microbatches=1), [1, 2], None)
    assert [row.copies for row in none.weak] == [row.copies for row in none.strong] == [1]
    assert none.notes == ("one copy alone, as no argument has the batch",)
    module = FixedModule(ModuleTarget(JobTarget(job(), topology("2 x cpu[1]")).exported(), topology("2 x cpu[1]")))
    fixed = scaling(module, plan(), [1, 2], None)
    assert not fixed.weak
    assert [row.copies for row in fixed.strong] == [1, 2]
    assert fixed.notes == ("weak scaling is left out, as a module has the batch that it was made with: give the job",)


# How it is shown


def scale(copies=1, **changes):
    usual = {
        "copies": copies,
        "replicas": copies,
        "islands": copies,
        "devices": 4 * copies,
        "batch": 8 * copies,
        "plan": "stages=1",
        "step": 10.0,
        "compute": 7.0,
        "traffic": 0.0,
        "collectives": 1.0,
        "transfers": 0.0,
        "exchange": 1.5,
        "bubble": 0.5,
        "busy": 0.95,
        "efficiency": 1 / copies,
        "mfu": 0.462,
        "hfu": None,
        "repeated": 1.0,
        "memory": 2**30,
        "limit": 2**31,
    }
    return Scale(**(usual | changes))


def test_the_table_and_the_picture():
    rows = (scale(), scale(4, memory=2**32), scale(64, batch=None, memory=None))
    failures = Failures.parse("device=5000 h, restart=10 min, save=30 s")
    found = Scaling(
        topology="1 x v4[2x2x1]",
        plan="stages=1",
        weak=rows,
        strong=rows[:1],
        losses=losses_of(rows, failures, 0),
        notes=("too small",),
    )
    lines = str(found).splitlines()
    assert lines[3:8] == [
        "weak scaling: every copy of the topology brings a batch",
        "copies replicas  devices   batch      step  examples/s efficiency  busy   MFU   HFU     memory   bound by",
        "     1        1        4       8      10 s         0.8       100%   95%   46%     -    1.0 GiB   compute 70%",
        "     4        4       16      32      10 s         3.2        25%   95%   46%     -    4.0 GiB   does not fit",
        "    64       64      256       -      10 s           -         2%   95%   46%     -          -   compute 70%",
    ]
    assert lines[-1] == "note      too small"
    told = json.loads(found.to_json())
    assert told["weak"][0].keys() == set(Scale.__annotations__)
    assert [one["goes_on"] is None for one in told["losses"]["copies"]] == [True, False, False]
    picture = ElementTree.fromstring(scaling_svg(found))
    width, height = (float(picture.get(name)) for name in ("width", "height"))
    assert 2 < width / height <= 4
    lines = [one for one in picture.iter("{http://www.w3.org/2000/svg}polyline") if one.get("class") == "l0"]
    assert [len(one.get("points").split()) for one in lines] == [2, 3, 1]  # of the legend, and of both panels


def test_the_interval_that_is_asked_for():
    asked = Failures.parse("island=200 h, restart=10 min, save=30 s, interval=25 s")
    found = losses_of((scale(2),), asked, 0)
    assert [one.steps for one in found.copies] == [2]
    assert [one.steps for one in found.intervals] == [1, 2, 4, 8]
    assert found.copies[0].between == pytest.approx(100 * 3600)
    assert losses_of((scale(2),), replace(asked, interval=None), 0).copies[0].steps > 2
