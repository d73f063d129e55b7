"""Islands that share cores: what is at work at the same time takes longer, and nothing else changes."""

import pytest
from atoll.compiler.schedules.costs import Costs, LinkCost
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS
from atoll.compiler.schedules.simulate import simulate
from atoll.compiler.schedules.step_task import StepTask
from atoll.compiler.schedules.whole_step import step_times
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.own


def costs(islands, chunks=1, at_once=None, latency=0.0, bandwidth=10.0):
    stages = islands * chunks
    each = tuple(1.0 + stage % 3 for stage in range(stages))
    pairs = [(one, other) for one in range(islands) for other in range(islands) if one != other]
    links = dict.fromkeys(pairs, LinkCost(latency, bandwidth))
    sizes = (4.0,) * (stages - 1)
    return Costs(each, each, each, (1.0,) * islands, each, links, sizes, sizes, at_once)


@pytest.mark.parametrize("name", ["gpipe", "1f1b", "zb-h1", "interleaved-1f1b", "dualpipe-v", "zb-v"])
def test_with_a_core_for_each_nothing_changes(name):
    kind = SCHEDULE_KINDS[name]
    schedule = kind.build(3, 6)
    alone, shared = (simulate(schedule, costs(3, kind.chunks, at_once, 0.25)) for at_once in (None, 3.0))
    assert shared.makespan == pytest.approx(alone.makespan)
    assert shared.span == pytest.approx(alone.span)
    assert shared.bubble == pytest.approx(alone.bubble)
    assert [tuple(one) for one in shared.tasks] == [
        (task, island, pytest.approx(start), pytest.approx(end)) for task, island, start, end in alone.tasks
    ]


def test_one_core_is_never_idle():
    """However the schedule, all work is done one after the other: pauses of one island are others' time."""
    for name in ("gpipe", "1f1b"):
        found = simulate(SCHEDULE_KINDS[name].build(4, 8), costs(4, at_once=1.0, bandwidth=float("inf")))
        work = 8 * 3 * sum((1.0, 2.0, 3.0, 1.0)) + 4 * 1.0
        assert found.makespan == pytest.approx(work)
        assert found.lower_bound == pytest.approx(work)


def test_tasks_side_by_side_by_hand():
    """Of two tasks of 4 and 2 on a core and a half the second ends at 8/3, when a quarter of the time was lost; the
    rest of the first goes on by itself. What others send does not take part."""
    tasks = [StepTask("a", 0, 4.0), StepTask("b", 1, 2.0), StepTask("x", 2, 5.0)]
    found = step_times(tasks, {}, workers=2, at_once=1.5)
    assert found.ends == pytest.approx((8 / 3 + 2, 8 / 3, 5.0))


def test_a_value_is_waited_for():
    tasks = [StepTask("a", 0, 1.0, None, (), ((1, 10.0),)), StepTask("b", 1, 1.0, None, (0,)), StepTask("c", 0, 4.0)]
    found = step_times(tasks, {(0, 1): LinkCost(0.5, 10.0)}, workers=2, at_once=1.0)
    assert found.starts == pytest.approx((0.0, 2.5, 1.0))
    assert found.ends == pytest.approx((1.0, 4.5, 6.0))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4), st.integers(1, 6), st.floats(0.2, 4.0), st.sampled_from(["gpipe", "1f1b", "zb-h1"]))
def test_between_what_the_cores_do_and_one_island_after_the_other(islands, microbatches, at_once, name):
    schedule = SCHEDULE_KINDS[name].build(islands, microbatches)
    alone, shared = (simulate(schedule, costs(islands, at_once=one, latency=0.1)) for one in (None, at_once))
    work = sum(end - start for *_, start, end in alone.tasks) + sum(end - begin for begin, end in alone.updates)
    assert shared.makespan >= max(alone.makespan, work / at_once) * (1 - 1e-9)
    assert shared.makespan <= alone.makespan * max(1.0, islands / at_once) * (1 + 1e-9)
