"""Orders of tasks that follow the dataflow, and what stands still in orders that do not."""

import pytest
from atoll.passes.schedule.order.dataflow_order import (
    TaskNode,
    dataflow_order,
    sweep_by_sweep,
    time_of,
    waiting_for_ever,
)
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.own


@st.composite
def graphs(draw):
    nodes = []
    for number in range(draw(st.integers(1, 8))):
        needs = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        ways = tuple(draw(st.floats(0, 3)) for _ in needs)
        nodes.append(TaskNode(draw(st.integers(0, 3)), tuple(sorted(needs)), ways, draw(st.floats(0, 3))))
    return nodes


@given(graphs(), st.integers(1, 5), st.integers(1, 6), st.booleans())
def test_every_task_is_there_once_on_its_island_and_all_come_to_their_end(nodes, microbatches, most, in_sweeps):
    order = sweep_by_sweep(nodes, microbatches) if in_sweeps else dataflow_order(nodes, microbatches, most)
    rows = [(island, *task) for island, row in order.items() for task in row]
    wanted = [(node.island, number, one) for number, node in enumerate(nodes) for one in range(microbatches)]
    assert sorted(rows) == sorted(wanted)
    assert waiting_for_ever(nodes, order) == {}


def test_what_was_begun_is_brought_to_its_end():
    there_and_back = [TaskNode(0, ()), TaskNode(1, (0,)), TaskNode(0, (1,))]
    assert dataflow_order(there_and_back, 3)[0] == [(0, 0), (0, 1), (2, 0), (2, 1), (0, 2), (2, 2)]


def test_a_microbatch_begins_when_another_one_has_ended():
    there_and_back = [TaskNode(0, ()), TaskNode(1, (0,)), TaskNode(0, (1,))]
    order = dataflow_order(there_and_back, 3, open_at_once=1)
    assert order[0] == [(0, 0), (2, 0), (0, 1), (2, 1), (0, 2), (2, 2)]
    assert time_of(there_and_back, order) == 9
    assert time_of(there_and_back, dataflow_order(there_and_back, 3)) == 7


def test_while_a_value_is_under_way_the_next_microbatch_runs():
    there_and_back = [TaskNode(0, (), seconds=1), TaskNode(1, (0,), (5,), 1), TaskNode(0, (1,), (5,), 1)]
    order = dataflow_order(there_and_back, 3)
    assert order == sweep_by_sweep(there_and_back, 3)
    assert time_of(there_and_back, order) == 1 + 5 + 1 + 5 + 3


def pipelines(count, islands):
    """As many as `count` behind each other, as of a discriminator and its generator, each there and back."""
    nodes = []
    for _ in range(count):
        first = len(nodes)
        for island in range(islands):
            nodes.append(TaskNode(island, (len(nodes) - 1,) if nodes else ()))
        for island in reversed(range(islands)):
            nodes.append(TaskNode(island, tuple({first + island, len(nodes) - 1}), seconds=2.0))
    return nodes


@pytest.mark.parametrize("count", [1, 2, 3])
def test_pipelines_behind_each_other_fill_and_empty_once_as_1f1b_does(count):
    nodes = pipelines(count, islands=4)
    order = dataflow_order(nodes, 16, open_at_once=4)
    ramp = 3 * (1 + 2)
    assert time_of(nodes, order) == 16 * 3 * count + ramp
    assert time_of(nodes, sweep_by_sweep(nodes, 16)) == 16 * 3 * count + count * ramp


def test_islands_that_wait_for_each_other_are_named_with_their_tasks():
    nodes = [TaskNode(0, ()), TaskNode(1, (0,)), TaskNode(0, (1,))]
    order = {0: [(2, 0), (0, 0)], 1: [(1, 0)]}
    assert waiting_for_ever(nodes, order) == {0: (2, 0), 1: (1, 0)}
