"""The searched schedule: never slower than a named one that fits, never above a limit, never below the bound."""

import itertools
import math
from dataclasses import replace
from random import Random

import pytest
from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.costs import Costs, LinkCost
from atoll.compiler.schedules.greedy import Problem, Taste, greedy, refilled
from atoll.compiler.schedules.improve import Moves, Timer, improved
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, kind_named, schedule
from atoll.compiler.schedules.patterns import patterns_for
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.search import _bound, search
from atoll.compiler.schedules.simulate import simulate
from atoll.compiler.schedules.stretched import stretched
from atoll.compiler.schedules.task import Task
from atoll.compiler.schedules.walk import check
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

pytestmark = pytest.mark.own


def equal_costs(islands, chunks=1, latency=0.0, activations=1.0):
    stages = islands * chunks
    links = {pair: LinkCost(latency) for pair in itertools.permutations(range(islands), 2)}
    each = (1 / chunks,) * stages
    return Costs(each, each, each, (0.0,) * islands, (activations / chunks,) * stages, links)


def all_named(islands, microbatches, costs, limits, whole=()):
    """The makespans of all named schedules that fit."""
    chunks = len(costs.forward) // islands
    for base in SCHEDULE_KINDS:
        kind = kind_named(f"{base}({chunks})") if SCHEDULE_KINDS[base].free_chunks else SCHEDULE_KINDS[base]
        if kind.chunks != chunks or not kind.has_backward or microbatches < kind.least_microbatches(islands):
            continue
        simulation = simulate(kind.build(islands, microbatches).whole_backward(whole), costs)
        if all(kept <= limit * (1 + 1e-12) for kept, limit in zip(simulation.peak, limits, strict=True)):
            yield simulation.makespan


@pytest.mark.parametrize(
    ("chunks", "limit", "name", "makespan"),
    [(1, math.inf, "zb-h1", 27), (1, 4, "zb-h1", 27), (2, math.inf, "zb-v", 25.5), (2, 4, "zb-v", 25.5)],
)
def test_with_equal_costs_a_named_schedule_is_best(chunks, limit, name, makespan):
    found = search(4, 8, equal_costs(4, chunks), [limit] * 4)
    assert (found.schedule.name, found.simulation.makespan, found.gap) == (name, makespan, 0)
    assert str(found) == f"schedule {name}; at most 0.0% above the fastest possible"


def test_what_it_was_compared_with():
    found = search(4, 8, equal_costs(4), [3] * 4)
    assert [(known.name, known.makespan, max(known.peak), known.fits) for known in found.compared] == [
        ("zb-h1", 27, 4, False),
        ("zb-h2", 27, 7, False),
        ("gpipe", 33, 8, False),
        ("1f1b", 33, 4, False),
    ]
    # No named schedule fits; what is found keeps 3 microbatches, and is faster than 1f1b with 4.
    assert found.schedule.name == "searched"
    assert max(found.simulation.peak) == 3
    assert found.simulation.makespan < 33
    check(found.schedule)


def test_latency_is_worth_a_search():
    costs = equal_costs(4, latency=0.5)
    found = search(4, 16, costs, [5] * 4)
    assert found.simulation.makespan < min(all_named(4, 16, costs, [5] * 4))
    assert " faster than zb-h1; at most " in str(found)


def test_half_the_memory_in_a_v():
    """Published orders of `v-half` take 27.5."""
    found = search(4, 8, equal_costs(4, 2), [3] * 4)
    assert (found.simulation.makespan, max(found.simulation.peak), found.gap) == (26.5, 3, 0)


def test_chunks_far_from_each_other_keep_as_many_as_their_ways_need():
    """A stage from which a round trip is longer keeps more, for which one limit for all of an island was 83.5."""
    found = search(4, 16, equal_costs(4, 2, latency=2), [8] * 4, stage_island=(0, 1, 2, 3, 3, 2, 1, 0))
    assert found.simulation.makespan <= 72
    assert max(found.simulation.peak) <= 8


def test_an_order_of_few_microbatches_is_made_longer():
    problem = Problem(20, tuple(range(3)), equal_costs(3), (3.0,) * 3)
    short = schedule("zb-h1", 3, 8)
    orders = list(stretched(short.simulate().tasks, problem, 8))
    longest = [Schedule("own", 20, problem.stage_island, tuple(map(tuple, rows))) for rows in orders]
    for made in longest:
        assert sorted(task for row in made.rows for task in row) == sorted(
            task for row in schedule("zb-h1", 3, 20).rows for task in row
        )
    # What begins and ends as zb-h1 does, and has no pause between, takes as long as zb-h1 of all microbatches.
    assert min(made.simulate().makespan for made in longest) == schedule("zb-h1", 3, 20).simulate().makespan


def test_one_microbatch_at_a_time_is_enough_memory():
    found = search(3, 5, equal_costs(3), [1] * 3)
    assert found.simulation.peak == [1, 1, 1]
    assert found.gap == 0


def test_nothing_fits():
    costs = Costs((1, 1), (1, 1), (1, 1), (0, 0), (3, 7))
    with pytest.raises(PlanError) as caught:
        search(2, 4, costs, [4, 6.5])
    assert told(caught.value) == (
        "no schedule fits: island 1 can keep 6.5 and a microbatch takes 7; "
        "the least that fits is 3, 7 on the islands; take more and smaller microbatches"
    )
    assert search(2, 4, costs, [3, 7]).simulation.peak == [3, 7]


@pytest.mark.parametrize(
    ("islands", "limits", "sentence"),
    [
        (0, None, "the number of islands is too small; it must be at least 1"),
        (3, [1] * 3, "there are 4 updates for 3 islands; give one for each island"),
        (3, None, "4 stages cannot be shared by 3 islands; take a number of stages that the number of islands divides"),
        (8, None, "4 stages cannot be shared by 8 islands; take a number of stages that the number of islands divides"),
        (4, [1], "there are 1 limits for 4 islands; give one for each island"),
    ],
)
def test_what_cannot_be_searched(islands, limits, sentence):
    costs = equal_costs(4)
    if "stages" in sentence:
        costs = replace(costs, update=(0.0,) * islands)
    with pytest.raises(PlanError) as caught:
        search(islands, 4, costs, limits)
    assert told(caught.value) == sentence


def test_a_map_that_is_decided_is_kept():
    for name in ("interleaved-zb(2)", "zb-v"):
        homes = schedule(name, 3, 6).stage_island
        found = search(3, 6, equal_costs(3, 2), stage_island=homes)
        assert found.schedule.stage_island == homes
        assert name in [known.name for known in found.compared]
    found = search(2, 4, equal_costs(2), stage_island=(1, 0))
    assert (found.schedule.stage_island, found.compared) == ((1, 0), ())


def test_a_backward_that_cannot_be_split_stays_whole():
    found = search(3, 6, equal_costs(3, latency=0.3), whole={1, 2})
    assert found.schedule.split_stages <= {0}
    check(found.schedule)


amounts = st.floats(0.2, 2)


@pytest.mark.parametrize("islands", [1, 2])
def test_weight_tasks_that_take_no_time_are_not_left_out(islands):
    """Schedules without them are as fast then, and the program has those tasks."""
    found = search(islands, 4, replace(equal_costs(islands), weight=(0.0,) * islands))
    assert found.schedule.split_stages == set(range(islands))


@st.composite
def questions(draw):
    islands, chunks = draw(st.integers(1, 4)), draw(st.sampled_from([1, 1, 2, 3]))
    microbatches = draw(st.integers(1, 10))
    stages = islands * chunks

    def several(count, values=amounts):
        return tuple(draw(st.lists(values, min_size=count, max_size=count)))

    links = {pair: LinkCost(*several(2)) for pair in itertools.permutations(range(islands), 2)}
    sizes = several(max(0, stages - 1)), several(max(0, stages - 1))
    costs = Costs(several(stages), several(stages), several(stages), several(islands), several(stages), links, *sizes)
    least = [sum(costs.activations[island::islands]) for island in range(islands)]
    limit = draw(st.sampled_from([1, 1.5, 2, 3, math.inf]))
    limits = [limit * (max(least) if chunks > 1 else own) * 1.01 for own in least]
    whole = draw(st.sampled_from([(), range(stages), range(0, stages, 2)]))
    return islands, microbatches, costs, limits, frozenset(whole)


@given(questions())
@settings(max_examples=8, deadline=None)
def test_never_slower_than_a_named_schedule_that_fits(question):
    islands, microbatches, costs, limits, whole = question
    try:
        found = search(islands, microbatches, costs, limits, whole=whole)
    except PlanError as fault:
        assert "no schedule fits" in fault.what  # noqa: PT017 (of a map that goes back, an island may take more)
        return
    check(found.schedule)
    assert found.simulation == simulate(found.schedule, costs)
    named = list(all_named(islands, microbatches, costs, limits, whole))
    assert found.simulation.makespan <= min(named, default=math.inf) * (1 + 1e-9)
    assert found.lower_bound <= found.simulation.makespan * (1 + 1e-9)
    assert all(kept <= limit * (1 + 1e-9) for kept, limit in zip(found.simulation.peak, limits, strict=True))
    assert found.schedule.split_stages.isdisjoint(whole)


def orders_of_one_island(island, microbatches):
    """Every order of an island's tasks in which forward tasks go by microbatch."""

    def continued(row):
        if len(row) == 3 * microbatches:
            yield row
        for microbatch in range(microbatches):
            kind = "FBW?"[sum(task.microbatch == microbatch for task in row)]
            earlier = sum(task.kind == "F" for task in row)
            if kind in "BW" or (kind == "F" and earlier == microbatch):
                yield from continued([*row, Task(kind, island, microbatch)])

    return list(continued([]))


@pytest.mark.parametrize("limit", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("seed", [0, 1])
def test_with_two_islands_and_three_microbatches_nothing_is_faster(limit, seed):
    draw = Random(seed)
    several = [tuple(draw.uniform(0.3, 2) for _ in range(2)) for _ in range(4)]
    costs = Costs(*several, (1.0, 1.0), {(0, 1): LinkCost(0.5 * seed), (1, 0): LinkCost(0.2)})
    timer = Timer(Problem(3, (0, 1), costs, (limit, limit)))
    rows = [[row for row in orders_of_one_island(island, 3) if max(kept(row)) <= limit] for island in range(2)]
    timings = (timer.timing(timer.codes(list(pair))) for pair in itertools.product(*rows))
    fastest = min(timing.score[0] for timing in timings if timing is not None)
    found = search(2, 3, costs, [limit, limit])
    assert found.simulation.makespan == pytest.approx(fastest)
    assert found.lower_bound <= fastest * (1 + 1e-9)


def kept(row):
    """How many activations are kept after each task."""
    return itertools.accumulate({"F": 1, "B": 0, "W": -1}[task.kind] for task in row)


def test_the_same_question_has_the_same_answer():
    costs = equal_costs(3, 2, latency=0.4)
    first, second = (search(3, 9, costs, [2.5] * 3) for _ in range(2))
    assert first == second


@given(questions())
@settings(max_examples=60, deadline=None)
def test_every_way_to_an_order_keeps_the_limits_and_the_bound(question):
    islands, microbatches, costs, limits, whole = question
    chunks = len(costs.forward) // islands
    homes = tuple(range(islands)) * chunks
    problem = Problem(microbatches, homes, costs, tuple(limits), whole)
    orders = [greedy(problem, Taste(2.0, grouped=chunks > 1)), greedy(problem, Taste(math.inf, patience=1.0))]
    orders += [refilled(problem, pattern.rows(problem), 0.0) for pattern in patterns_for(problem, 4)]
    timer, moves = Timer(problem), Moves(problem)
    for order in filter(None, orders):
        codes = timer.codes(order)
        assert timer.tasks(codes) == order
        better = improved(timer, moves, codes, 0.0, 40 * sum(map(len, order)))
        for rows, timing in ((order, timer.timing(codes)), (timer.tasks(better), timer.timing(better))):
            made = Schedule("own", microbatches, homes, tuple(map(tuple, rows)))
            check(made)
            simulation = simulate(made, costs)
            assert simulation.makespan == pytest.approx(timing.score[0])
            assert simulation.makespan >= _bound(problem) * (1 - 1e-9)
            assert all(kept <= limit * (1 + 1e-9) for kept, limit in zip(simulation.peak, limits, strict=True))
        assert timer.timing(better).score <= timer.timing(codes).score


def test_an_order_that_waits_for_itself_has_no_timing():
    problem = Problem(1, (0, 1), equal_costs(2), (1.0, 1.0))
    timer = Timer(problem)
    codes = timer.codes([list(row) for row in schedule("1f1b", 2, 1).rows])
    assert timer.timing(codes) is not None
    assert timer.timing([codes[0][::-1], codes[1]]) is None
