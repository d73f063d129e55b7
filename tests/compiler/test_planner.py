"""`atoll plan`: the table, JSON and refusals; the language of stages; models."""

import itertools
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.commands.cli import run_here
from atoll.compiler.commands.plan import JobTarget
from atoll.compiler.errors import PlanError
from atoll.compiler.export.job import Job
from atoll.compiler.plan.plan import Plan
from atoll.compiler.planner.known import known_of
from atoll.compiler.planner.measuring import measured
from atoll.compiler.planner.plans import best_plans
from atoll.compiler.planner.proposals import proposals
from atoll.compiler.planner.ranking import LAYERS, PROGRAM, PlanRow, Ranking, what_binds, what_is_gained, why_first
from atoll.compiler.planner.stage_names import stage_text
from atoll.compiler.topology.topology import topology
from jax.sharding import PartitionSpec

pytestmark = pytest.mark.own

LAYERS_OF_LOOP = [[("embed",), ("layers", "0")], [("layers", "1")], [("layers", "2")], [("layers", "3"), ("head",)]]


@pytest.mark.parametrize(
    ("names", "begins", "expected"),
    [
        ([[("a",)], [("b",)]], [0, 1], "a | b"),
        (
            [[("layer_0",), ("layer_0", "x,y")], [("layer_1",)], [("layer_2",)], [("head",)]],
            [0, 2],
            "layer_[0..1] | layer_2, head",
        ),
        (LAYERS_OF_LOOP, [0, 2], "embed, layers[0..1] | layers[2..3], head"),
        (LAYERS_OF_LOOP, [0, 1], "embed, layers[0..0] | layers[1..3], head"),
        ([[("m", "a")], [("m", "b c")]], [0, 1], 'm/a | m/"b c"'),
        # No scope tells them apart: there is none, or what stands in one is in both stages.
        ([[()], [()]], [0, 1], None),
        ([[("a",), ("b",)], [("b",)]], [0, 1], None),
    ],
)
def test_the_scopes_of_a_cut(names, begins, expected):
    assert stage_text(names, begins) == expected


def ranked(**changes):
    usual = {"plan": "stages=2, microbatches=4, schedule=1f1b, replicas=1", "source": PROGRAM, "step": 1.0, "busy": 0.8}
    usual |= {
        "links": 0.05,
        "exchange": 0.0,
        "bubble": 0.2,
        "memory": 2.5 * 2**20,
        "sent": 4096.0,
        "mfu": None,
        "hfu": None,
    }
    return PlanRow(**(usual | changes))


def test_the_table():
    plans = (
        ranked(mfu=0.462, hfu=0.578),
        ranked(plan="stages=4", step=1.25, busy=0.8, links=0.3, bubble=0.4, source=LAYERS),
    )
    found = Ranking(
        topology="2 x v4[2x2x1]",
        plans=plans,
        bound=0.8,
        tried=12,
        why=why_first(plans),
        without=what_is_gained("update=sharded", plans[0], ranked(step=1.5, memory=2.0**22), 3 << 20),
        binds=what_binds(plans[0], None),
        notes=("one microbatch",),
    )
    assert str(found).splitlines() == [
        "topology  2 x v4[2x2x1]",
        "",
        "      step  bubble      memory        sent   MFU   HFU   plan",
        "       1 s     20%     2.5 MiB     4.0 KiB   46%   58%   stages=2, microbatches=4, schedule=1f1b, replicas=1",
        "   ~1.25 s     40%     2.5 MiB     4.0 KiB     -     -   stages=4",
        "~ as what its layers cost says; the other steps are what their programs' reports predict",
        "",
        "best      stages=2, microbatches=4, schedule=1f1b, replicas=1",
        "          25.0% faster than the next, as links cost it 250 ms less",
        "          without update=sharded a step would take 1.5 s, not 1 s; "
        "a device would need 4.0 MiB, not 2.5 MiB, and has 3.0 MiB",
        "          bound by compute: of the step compute 80%, transfers 5%, the bubble 15%",
        "bound     no plan takes less than 800 ms, even if links took no time: "
        "the best is at most 25.0% above that; 12 were tried",
        "note      one microbatch",
    ]
    told = json.loads(found.to_json())
    assert told["gap"] == pytest.approx(0.25)
    assert told["plans"][0].keys() == set(PlanRow.__annotations__)


def test_what_binds_a_step():
    assert what_binds(ranked(links=0.15, busy=0.05, bubble=0.8), None).startswith(
        "bound by the bubble: of the step comp"
    )
    assert what_binds(ranked(), 0.5).startswith("bound by memory: without its limits 500 ms; of the step compute 80%")


def step(params, x):
    def loss(params):
        h = x
        for index, layer in enumerate(params):
            with jax.named_scope(f"layer_{index}"):
                h = jnp.tanh(h @ layer)
        return jnp.mean(h**2)

    return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))


def job(widths, batch=16, batch_argnums=1, donate_argnums=()):
    pairs = itertools.pairwise(widths)
    params = [jax.ShapeDtypeStruct(pair, "float32") for pair in pairs]
    examples = jax.ShapeDtypeStruct((batch, widths[0]), "float32")
    return Job(step, params, examples, batch_argnums=batch_argnums, donate_argnums=donate_argnums)


def best(job, islands):
    return best_plans(JobTarget(job, topology(islands)))


@pytest.mark.parametrize(
    ("islands", "wanted"),
    [
        # Links that take hardly any time: more islands are faster. Very slow ones: one island is.
        ("2 x cpu[1]; link island0 <-> island1 : 100 GB/s, 1 ns", {"replicas=2", "stages=2"}),
        ("2 x cpu[1]; link island0 <-> island1 : 1 kB/s, 1 s", {"stages=1"}),
    ],
)
def test_what_links_cost_decides(islands, wanted):
    found = best(job((64,) * 5, batch=64), islands)
    first = found.plans[0]
    assert any(one in first.plan for one in wanted), first.plan
    assert found.bound <= first.step
    for one in found.plans:
        assert str(Plan.parse(one.plan)) == one.plan
    assert PROGRAM in {one.source for one in found.plans}


@pytest.mark.parametrize(("delay", "several"), [("10 ns", True), ("1 ms", False)])
def test_the_segments_of_a_proposal_are_those_of_its_program(delay, several):
    """Where small messages are worth sending, a stage runs in several; where latency counts, in one."""
    islands = f"2 x cpu[1]; link island0 <-> island1 : 1 GB/s, {delay}"
    program = JobTarget(job((64,) * 9, batch=1024), topology(islands))
    known = known_of(program, lambda _: None)
    found = proposals(known.model, known.batch, known.is_cut).ranked
    one = next(one for one in found if one.replicas == 2 and one.candidate.setting.microbatches > 1)
    plan = program.lowered(one.plans(known.model)[-1]).plan
    assert one.segments == (1 if plan.segments == "auto" else plan.segments)  # one is not told
    assert (one.segments > 1) == several


def test_memory_forces_stages():
    """The state of all layers does not fit one device, that of half of them does."""
    limit = "2 x cpu[1] 100 KiB; link island0 <-> island1 : 1 MB/s, 1 ms"
    found = best(job((64,) * 5), limit)
    assert all("stages=1," not in one.plan for one in found.plans)
    assert all(one.memory <= 100 * 1024 for one in found.plans)
    assert "bound by memory: without its limits" in found.binds


@pytest.mark.parametrize("rooms", [("", " 80 KiB"), (" 80 KiB", "")])
def test_the_smallest_twin_decides_what_fits(rooms):
    """Replicas would be fastest, but one of the islands has no room for a whole one."""
    islands = "; ".join(f"island {name} : cpu[1]{room}" for name, room in zip("ab", rooms, strict=True))
    found = best(job((64,) * 5, batch=64), f"{islands}; link a <-> b : 100 GB/s, 1 ns")
    assert all("replicas=1" in one.plan for one in found.plans)
    assert found.plans[0].source == PROGRAM
    # Stage 0 keeps more than stage 1, so it goes to the larger island, which the table of the schedule says.
    assert ("stages on 1 0" in found.plans[0].plan) == bool(rooms[0])


@pytest.mark.parametrize(
    ("widths", "donated", "freed"),
    [
        ((64,) * 4, (), 0),
        ((64,) * 4, (0,), 0),
        ((16, 32, 48, 64), (0,), 0),
        # A sum of gradients is transposed, so that a new parameter takes over its memory only where it is square. The
        # examples are gone by then.
        ((16, 32, 48, 64), (), 16 * 16 * 4),
    ],
)
def test_what_layers_need_is_the_peak_of_their_program(widths, donated, freed):
    program = JobTarget(job(widths, donate_argnums=donated), topology("1 x cpu[1]"))
    chain = known_of(program, lambda _: None).model.chain(4.0)
    (island,) = program.lowered(Plan(stages=1, microbatches=4, schedule="1f1b", replicas=1)).report().islands
    assert chain.needs(0, 0, chain.layers, 1) == island.peak_bytes + freed


def test_the_sums_of_divided_parameters_are_divided():
    """Also over the axis that divides the examples, which a summand is not divided over."""
    whole = job((64,) * 4, donate_argnums=0)
    shardings = PartitionSpec("data", "model"), PartitionSpec("data")
    divided = Job(step, *whole.args, batch_argnums=1, donate_argnums=0, in_shardings=shardings)
    chains = [
        known_of(JobTarget(one, topology("1 x cpu[data=2, model=2]")), lambda _: None).model.chain(4.0)
        for one in (whole, divided)
    ]
    first, second = (one.total("state", 0, 0, one.layers) for one in chains)
    assert second < 0.3 * first


def test_nothing_fits():
    with pytest.raises(PlanError, match=r"no plan fits: all layers together take 1\d\d\.\d KiB of a device .* KiB"):
        best(job((64,) * 5), "2 x cpu[1] 10 KiB")
    with pytest.raises(PlanError, match=r"no cut .* leaves few enough of them to each of the 2 islands, .* 60.0 K"):
        best(job((64,) * 5), "2 x cpu[1] 60 KiB")


def test_what_fits_one_island_alone_is_there():
    """The first island has no room for any layer, and stays empty."""
    found = best(job((64,) * 5), "island a : cpu[1] 1 B; island b : cpu[1]")
    assert {one.source for one in found.plans} == {PROGRAM}
    program = JobTarget(job((64,) * 5), topology("island a : cpu[1] 1 B; island b : cpu[1]"))
    first, second = program.lowered(Plan.parse(found.plans[0].plan)).report().islands
    assert first.cost == 0 < second.cost


def positions_share_weights(batch):
    def step(params, x):
        def loss(params):
            h = x
            for up, down in params:
                h = h + jax.nn.gelu(h @ up) @ down
            return jnp.mean(h**2)

        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    params = [(jax.ShapeDtypeStruct((16, 32), "float32"), jax.ShapeDtypeStruct((32, 16), "float32"))] * 2
    return Job(step, params, jax.ShapeDtypeStruct((batch, 8, 16), "float32"), batch_argnums=1)


ORDER = "1 x cpu[1]; rates cpu : 1 Top/s, 1 TB/s, 1 GB/s reordered"


def test_what_is_reordered_is_known_of_any_number_of_examples():
    program = JobTarget(positions_share_weights(16), topology(ORDER))
    model = known_of(program, lambda _: None).model
    assert {model.one.examples, model.other.examples} == {8, 2}
    counted = measured(program.exported(), program.topology, 4, model.one)
    needed = 4 * 4 * (4 * 8 * 32)  # what is read for the largest value of 4 examples: four others
    took = []
    for reach in (needed // 2, needed, 2 * needed):
        islands = topology(f"{ORDER}, 1 MB/s beyond {reach} B")
        direct, between = (replace(model, topology=islands, one=one, chains={}) for one in (counted, model.one))
        assert between.chain(4.0).weight[0] == pytest.approx(direct.chain(4.0).weight[0])
        took.append(sum(direct.chain(4.0).weight[0]))
    assert took[0] - took[2] == pytest.approx(2 * needed / 1e6)
    assert took[1] - took[2] == pytest.approx(needed / 1e6)


@pytest.mark.parametrize(("reach", "microbatches"), [("1 MiB", 1), ("56 KiB", 2), ("28 KiB", 4)])
def test_microbatches_are_as_large_as_caches_hold(reach, microbatches):
    """Of each example 4 KiB are read for the largest value, beside what a task costs."""
    found = best(positions_share_weights(16), f"{ORDER}, 1 MB/s beyond {reach}, 1 us a task")
    assert f"microbatches={microbatches}," in found.plans[0].plan, found.plans[0].plan
    assert found.bound <= found.plans[0].step


def test_without_a_batch_there_is_one_microbatch():
    found = best(job((64,) * 3, batch_argnums=()), "2 x cpu[1]")
    assert found.notes == ("one microbatch and one replica, as no argument has the batch",)
    assert all("microbatches=1," in one.plan and one.source == PROGRAM for one in found.plans)


JOB = """
import atoll, jax, jax.numpy as jnp
def f(w, x):
    return jnp.mean(jnp.tanh(x @ w[0]) @ w[1])
w = [jnp.ones((8, 8))] * 2
job = atoll.Job(f, w, jnp.ones((4, 8)), batch_argnums=1)
"""


def test_the_command(tmp_path, capsys):
    file = tmp_path / "model.py"
    file.write_text(JOB)
    assert run_here(["plan", f"{file}:job", "--topology", "2 x cpu[1]", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["topology"] == "2 x cpu[1]"
    assert told["plans"]
    assert run_here(["plan", f"{file}:job"]) == 1
    assert 'no topology is given; name the islands: --topology "2 x cpu[1]"' in capsys.readouterr().err
