"""How the planner has a step updated: by every replica or each its share, and with what only it reads on the host."""

from dataclasses import replace
from math import inf

import jax
import jax.numpy as jnp
import pytest
from atoll.compiler.commands.plan import JobTarget
from atoll.compiler.cost.update_way import USUAL, UpdateWay
from atoll.compiler.plan.patterns_for_paths import patterns_naming
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.scope_patterns import path_components
from atoll.compiler.planner.bound import least_step
from atoll.compiler.planner.candidates import simulated
from atoll.compiler.planner.chain import Cut
from atoll.compiler.planner.known import known_of
from atoll.compiler.planner.plans import best_plans
from atoll.compiler.planner.proposals import on_replicas, proposals
from atoll.compiler.planner.settings import settings_of, sizes_of
from atoll.compiler.report.step_parts import parts_of_step
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS
from atoll.compiler.topology.topology import topology

import atoll

pytestmark = pytest.mark.own

WIDTH, LAYERS, BATCH = 256, 4, 64
STATE = 2 * LAYERS * WIDTH * WIDTH * 4  # two moments
LINK, FAST_LINK = (f"link island0 <-> island1 : {one}" for one in ("1 GB/s, 10 us", "100 GB/s, 1 us"))


def step(state, x):
    """A train step that keeps two moments for each parameter."""
    weights, moments = state["weights"], state["moments"]

    def loss_fn(weights):
        h = x
        for index, weight in enumerate(weights):
            with jax.named_scope(f"layer_{index}"):
                h = jnp.tanh(h @ weight)
        return jnp.mean(h**2)

    gradients = jax.grad(loss_fn)(weights)
    first = [0.9 * m + 0.1 * g for m, g in zip(moments["first"], gradients, strict=True)]
    second = [0.99 * v + 0.01 * g * g for v, g in zip(moments["second"], gradients, strict=True)]
    new = [w - m / (jnp.sqrt(v) + 1e-8) for w, m, v in zip(weights, first, second, strict=True)]
    return {"weights": new, "moments": {"first": first, "second": second}}


def job():
    weights = [jax.ShapeDtypeStruct((WIDTH, WIDTH), "float32")] * LAYERS
    state = {"weights": weights, "moments": {"first": weights, "second": weights}}
    x = jax.ShapeDtypeStruct((BATCH, WIDTH), "float32")
    return atoll.Job(step, state, x, batch_argnums=1, donate_argnums=0)


@pytest.fixture(scope="module")
def program():
    return JobTarget(job(), topology(f"2 x cpu[1]; {LINK}"))


@pytest.fixture(scope="module")
def model(program):
    return known_of(program, lambda _: None).model


@pytest.mark.parametrize(
    ("wanted", "others", "expected"),
    [
        (["s.mu[0]", "s.mu[1]", "r[0].mu[0]", "r[0].mu[1]"], ["s.w[0]", "r[0].w[0]"], "mu"),
        (["s[1].m", "r[1].m"], ["s[0].m", "r[0].m"], "r/1, s/1"),
        (["s['a b']['m']"], ["s.c.m", "x"], '"a b"'),
        (["s[0]"], ["s[0]"], ""),
        ([], ["s[0]"], ""),
    ],
)
def test_patterns_name_what_is_wanted_and_nothing_else(wanted, others, expected):
    assert patterns_naming(list(map(path_components, wanted)), list(map(path_components, others))) == expected


def on_one_island(model, replicas, way):
    """Four microbatches in each of some replicas, as the layers have it."""
    sizes = [one for one in sizes_of(model.topology, BATCH, True) if one[:2] == (replicas, 4)]
    [(_, setting)] = settings_of(model, sizes, lambda _: [way])
    here = setting.with_islands(1)
    return on_replicas(model, simulated(here, Cut((0,), (0,)), SCHEDULE_KINDS["1f1b"]), replicas)


@pytest.mark.parametrize(
    ("replicas", "way"),
    [(2, USUAL), (2, UpdateWay(2)), (1, UpdateWay(1, is_offloaded=True)), (2, UpdateWay(2, is_offloaded=True))],
    ids=["whole", "shared", "on the host", "shared on the host"],
)
def test_what_layers_say_is_what_the_report_of_the_program_says(program, model, replicas, way):
    found, usual = (on_one_island(model, replicas, one) for one in (way, USUAL))
    plan = found.plans(model)[0]
    assert (plan.update, plan.on_host) == (
        "sharded" if way.is_shared else "auto",
        "moments" if way.is_offloaded else "",
    )
    report, whole = (program.lowered(one.plans(model)[0]).report() for one in (found, usual))
    predicted = parts_of_step(report.pipeline, report.whole_step, program.topology)
    assert found.seconds == pytest.approx(predicted.step, rel=0.02)
    # What replicas receive of each other takes memory as well, in one way to update a little more than in another.
    saved = whole.islands[0].peak_bytes - report.islands[0].peak_bytes
    assert usual.candidate.memory[0] - found.candidate.memory[0] == pytest.approx(saved, rel=0.05)
    assert report.islands[0].host_bytes == (STATE // way.shared_by if way.is_offloaded else 0)


def by_brute_force(model, batch):
    """The least step of any number of replicas and microbatches, with every cut of alike islands, 1F1B or GPipe, and
    every way to update."""
    best = inf
    ways = [UpdateWay(shared, on_host) for shared in (1, 2) for on_host in (False, True)]
    for replicas, setting in settings_of(model, sizes_of(model.topology, batch, True), lambda one: ways[: 2 * one]):
        for count in range(1, len(setting.homes) + 1):
            cuts = [(0,)] if count == 1 else [(0, one) for one in range(1, setting.chain.layers)]
            for begins, kind in ((one, kind) for one in cuts for kind in ("1f1b", "gpipe", "zb-h1", "zb-h2")):
                cut = Cut(begins, (0,) * count)
                found = simulated(setting.with_islands(count), cut, SCHEDULE_KINDS[kind])
                best = min(best, inf if found is None else on_replicas(model, found, replicas).seconds)
    return best


@pytest.mark.parametrize("megabytes", [1.5, 2.0, 2.5, 3.0, 4.0, 6.0])
def test_it_is_within_two_percent_of_brute_force_over_all_ways(model, megabytes):
    """However much memory there is: shares and the host are for the steps that it would leave out."""
    limited = replace(model, limits=(megabytes * 1e6,))
    best = by_brute_force(limited, BATCH)
    kept = proposals(limited, BATCH, True)
    moved = proposals(limited, BATCH, True, offloaded=True, below=kept.best)
    assert (min(kept.best, moved.best) < inf) == (best < inf)
    if best < inf:
        assert min(kept.best, moved.best) <= 1.02 * best
        assert min(kept.bound, moved.bound) <= best


def test_no_way_to_update_beats_its_bound(model):
    for replicas, setting in settings_of(model, sizes_of(model.topology, BATCH, True), lambda one: [UpdateWay(one)]):
        examples = BATCH / replicas / setting.microbatches
        of_parts = model.of_parts(replicas * setting.microbatches)
        least = least_step(of_parts, examples, setting.homes, setting.microbatches, None, setting.way)
        found = simulated(setting.with_islands(1), Cut((0,), (0,)), SCHEDULE_KINDS["1f1b"])
        assert least <= on_replicas(model, found, replicas).seconds


@pytest.mark.parametrize(
    ("memory", "update", "offload", "without"),
    [
        ("", "sharded", "", "without update=sharded a step would take "),
        (" 5.5 MB", "sharded", "", "without update=sharded a device of island island0 has 5500 kB and needs at least "),
        (
            " 2 MB",
            "auto",
            "moments",
            'without offload="moments" a device of island island0 has 2 MB and needs at least ',
        ),
    ],
)
def test_the_table_has_the_way_that_fits(memory, update, offload, without):
    found = best_plans(JobTarget(job(), topology(f"2 x cpu[1]{memory}; {FAST_LINK}")))
    plan = Plan.parse(found.plans[0].plan)
    assert (plan.update, plan.on_host) == (update, offload)
    assert found.without.startswith(without)
