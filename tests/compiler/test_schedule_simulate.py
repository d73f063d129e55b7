"""The simulator: unequal costs, links, what it keeps, and its lower bound."""

import itertools
from time import process_time

import pytest
from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.costs import Costs, LinkCost, uniform
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, schedule
from atoll.compiler.schedules.lower_bound import lower_bound
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.simulate import simulate
from atoll.compiler.schedules.task import Task
from atoll.compiler.schedules.walk import check, needs
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

pytestmark = pytest.mark.own


def times_of(made, costs):
    return {timed.task: (timed.start, timed.end) for timed in simulate(made, costs).tasks}


def costs_of(forward, backward, weight, **others):
    zeros = {"update": (0,) * len(forward), "activations": (1,) * len(forward)}
    return Costs(tuple(forward), tuple(backward), tuple(weight), **{**zeros, **others})


def test_unequal_stages():
    made = schedule("1f1b", 2, 2)
    costs = costs_of([2, 3], [4, 5], [1, 6], update=(10, 1))
    # island 0: F0 0-2, F1 2-4, B0 16-21, B1 30-35; island 1: F0 2-5, B0 5-16, F1 16-19, B1 19-30
    assert times_of(made, costs)[Task("B", 0, 1)] == (30, 35)
    simulation = simulate(made, costs)
    assert (simulation.makespan, simulation.span, simulation.updates) == (45, 45, ((35, 45), (30, 31)))
    assert simulation.bubble == pytest.approx(1 - (14 + 10 + 28 + 1) / 90)


def test_a_whole_backward_takes_both_parts_and_frees_at_its_end():
    made = schedule("zb-h1", 3, 6)
    whole = made.whole_backward({0, 1, 2})
    assert [task for task in whole.rows[0] if task.kind == "W"] == []
    assert whole.simulate().makespan == schedule("1f1b", 3, 6).simulate().makespan
    assert max(whole.simulate().peak) == 3
    assert whole.simulate(backward=1.5, weight=0.5) == whole.simulate(backward=0.25, weight=1.75)


def test_forward_only():
    simulation = schedule("1f1b", 4, 8).forward_only().simulate(backward=100, weight=100)
    assert (simulation.makespan, simulation.peak) == (11, [1, 1, 1, 1])
    assert simulation.lower_bound == 11
    assert schedule("gpipe", 4, 8).forward_only().rows == schedule("forward-only", 4, 8).rows


def test_the_latency_of_a_link_is_not_occupied():
    made = schedule("forward-only", 2, 3)
    costs = costs_of([1, 1], [0, 0], [0, 0], links={(0, 1): LinkCost(latency=5)})
    assert [times_of(made, costs)[Task("F", 1, m)][0] for m in range(3)] == [6, 7, 8]


def test_a_link_sends_one_value_after_the_other():
    made = schedule("forward-only", 2, 3)
    links = {(0, 1): LinkCost(latency=5, bandwidth=10), (1, 0): LinkCost(latency=1000)}
    costs = costs_of([1, 1], [0, 0], [0, 0], links=links, forward_bytes=(30,), backward_bytes=(7,))
    # Sent from 1, 4 and 7 to 4, 7 and 10; each arrives 5 later.
    assert [times_of(made, costs)[Task("F", 1, m)][0] for m in range(3)] == [9, 12, 15]
    assert simulate(made, costs).lower_bound <= simulate(made, costs).makespan == 16


def test_each_direction_has_its_own_bytes():
    made = schedule("gpipe", 2, 1)
    links = {(0, 1): LinkCost(bandwidth=1), (1, 0): LinkCost(bandwidth=2)}
    costs = costs_of([1, 1], [1, 1], [0, 0], links=links, forward_bytes=(3,), backward_bytes=(10,))
    assert times_of(made, costs) == {
        Task("F", 0, 0): (0, 1),
        Task("F", 1, 0): (4, 5),
        Task("B", 1, 0): (5, 6),
        Task("B", 0, 0): (11, 12),
    }


def test_stages_of_one_island_send_nothing():
    made = schedule("zb-v", 1, 2)
    assert made.simulate(transfer=100).makespan == 6


def test_transfers_of_equal_islands():
    # In gpipe only the first and the last microbatch wait for transfers, of which there are three each way.
    assert schedule("gpipe", 4, 4).simulate(transfer=0.25).makespan == 12 + 9 + 6 * 0.25
    # In 1f1b a forward task also waits for the backward task before it, which waits for transfers.
    assert schedule("1f1b", 4, 4).simulate(transfer=0.25).makespan == 12 + 9 + 10 * 0.25


def test_front_door_costs_are_for_an_islands_share():
    for chunks in (1, 2, 3, 4, 5, 6, 7):
        simulation = schedule("interleaved-1f1b", 1, 3, chunks=chunks).simulate(1, 2, 3, update=4)
        assert simulation.makespan == 3 * 6 + 4


def test_peaks_are_in_the_callers_unit():
    made = schedule("gpipe", 2, 3)
    assert simulate(made, costs_of([1, 1], [1, 1], [1, 1], activations=(10, 7))).peak == [30, 21]


def test_activations_live_until_the_weight_task_ends():
    made = Schedule.parse("schedule a: 1 island, 2 microbatches; island 0: F0 B0 F1 B1 W0 W1")
    assert made.simulate().peak == [2]
    assert made.whole_backward({0}).simulate().peak == [1]


def test_blocks_begin_and_end_together():
    made = Schedule.parse("schedule a: 2 islands, 2 microbatches; island 0: F0 F1 B0 B1; island 1: F0 F1+B0 B1")
    times = times_of(made, uniform(made))
    assert times[Task("B", 1, 0)] == (3, 5)  # in the picture one after the other
    assert times[Task("B", 0, 0)][0] == 5
    assert times[Task("B", 1, 1)][0] == 5
    assert made.simulate().peak == [2, 2]


def test_costs_that_do_not_fit():
    made = schedule("1f1b", 2, 2)
    with pytest.raises(PlanError, match="there are costs for 3 stages, and schedule 1f1b has 2"):
        simulate(made, costs_of([1] * 3, [1] * 3, [1] * 3))
    with pytest.raises(PlanError, match="there are costs for 1 islands, and schedule 1f1b has 2"):
        simulate(made, costs_of([1] * 2, [1] * 2, [1] * 2, update=(1,)))
    with pytest.raises(PlanError, match="backward has 1 costs, and forward 2"):
        costs_of([1] * 2, [1], [1] * 2)


@pytest.mark.parametrize(
    ("costs", "sentence"),
    [
        ({"forward": -1}, "forward has the cost -1 at 0; costs are 0 or more"),
        ({"weight": float("nan")}, "weight has the cost nan at 0; costs are 0 or more"),
        ({"update": float("inf")}, "update has the cost inf at 0; costs are 0 or more"),
        ({"transfer": -2}, "the link 0 -> 1 has latency 0.0 and bandwidth -0.5; a latency is 0 or more, and a bandwi"),
    ],
)
def test_costs_that_are_no_costs(costs, sentence):
    with pytest.raises(PlanError) as caught:
        schedule("1f1b", 2, 2).simulate(**costs)
    assert told(caught.value).startswith(sentence)


def test_work_may_cost_nothing():
    simulation = schedule("zb-v", 2, 4).simulate(0, 0, 0)
    assert (simulation.makespan, simulation.bubble, simulation.peak) == (0, 0, [2, 2])


def test_a_schedule_that_cannot_be_followed_is_not_simulated():
    rows = ((Task("B", 0, 0), Task("F", 0, 0)),)
    with pytest.raises(PlanError, match="schedule a, island 0, column 1: the island waits for ever"):
        Schedule("a", 1, (0,), rows).simulate()


costs_of_any = st.floats(0.01, 10)


@st.composite
def cases(draw):
    """A schedule with any costs and links."""
    name = draw(st.sampled_from([*SCHEDULE_KINDS, "interleaved-1f1b(3)"]))
    made = schedule(name, draw(st.integers(1, 4)), draw(st.integers(8, 10)))
    if draw(st.booleans()):
        made = made.whole_backward(draw(st.sets(st.integers(0, made.stages - 1))))
    each = st.lists(costs_of_any, min_size=made.stages, max_size=made.stages).map(tuple)
    pairs = itertools.permutations(range(made.islands), 2)
    links = {pair: LinkCost(draw(st.floats(0, 3)), draw(st.floats(0.1, 10))) for pair in pairs}
    update = tuple(draw(st.lists(costs_of_any, min_size=made.islands, max_size=made.islands)))
    sizes = draw(each)[1:], draw(each)[1:]
    return made, Costs(draw(each), draw(each), draw(each), update, draw(each), links, *sizes)


@given(cases())
@settings(max_examples=150, deadline=None)
def test_what_is_true_of_every_simulation(case):
    made, costs = case
    simulation = simulate(made, costs)
    times = {timed.task: (timed.start, timed.end) for timed in simulation.tasks}
    # No island does two things at a time, and its tasks keep their order.
    for row in made.rows:
        for task, following in itertools.pairwise(row):
            assert times[task][1] <= times[following][0] + 1e-9
    # No task begins before all that it needs has ended, except within its block.
    block_of = {task: block for row in made.blocks for block in row for task in block}
    for task, (start, _) in times.items():
        for need in needs(task, made.stages):
            assert need in block_of[task] or times[need][1] <= start + 1e-9
    assert simulation.makespan >= simulation.lower_bound - 1e-9
    assert simulation.makespan >= simulation.span - 1e-9
    assert -1e-9 <= simulation.bubble < 1


@pytest.mark.parametrize("name", ["1f1b", "zb-h1", "zb-h2", "zb-v", "interleaved-1f1b(2)"])
def test_the_bound_is_met_where_it_is_known_to_be(name):
    made = schedule(name, 4, 16)
    assert lower_bound(made, uniform(made)) == simulate(made, uniform(made)).makespan


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", SCHEDULE_KINDS)
def test_16_islands_by_512_microbatches(name):
    begin = process_time()
    made = schedule(name, 16, 512)
    check(made)
    # benchmarks/schedule_16x512.py measures; this would only notice that a cost has begun to grow faster than tasks.
    assert process_time() - begin < 10
    assert made.simulate().makespan >= 512
