"""Exchanges between replicas: which form, what crosses together, and that a ring adds up everything once."""

import itertools

import numpy
import pytest
from atoll.compiler.module.tasks import GATHER, OWN_SHARE
from atoll.compiler.replicas.exchange import (
    DIRECT,
    RING,
    SCATTER,
    TREE,
    Summand,
    added_in_ring,
    bytes_sent,
    children_in_tree,
    levels,
    messages,
    parent_in_tree,
    seconds,
    seconds_at_once,
    shared_in_ring,
    slice_bounds,
    units_of,
)
from atoll.compiler.replicas.segment_count import Sum, segments_worthwhile, waited
from atoll.compiler.replicas.speed import Speed, slowest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.own

# 10 kB are worth a message: that takes ten times the latency.
SPEED = Speed(bandwidth=1e6, latency=1e-3)


def floats(*shape, **more):
    return Summand(shape, "float32", 4, **more)


def test_two_replicas_always_exchange_directly():
    for size in (0, 1, 10**3, 10**6, 10**12):
        assert seconds(DIRECT, size, 2, SPEED) <= min(seconds(form, size, 2, SPEED) for form in (RING, TREE))


@pytest.mark.parametrize("replicas", [3, 4, 8])
def test_little_data_goes_directly_and_much_goes_round(replicas):
    small, large = (units_of([floats(size)], replicas, SPEED)[0] for size in (100, 10**6))
    assert (small.form, large.form) == (DIRECT, RING)
    best = min(seconds(form, large.bytes, replicas, SPEED) for form in (DIRECT, RING))
    assert seconds(large.form, large.bytes, replicas, SPEED) == best
    # What bandwidth alone would take is 2 (R - 1) / R of the data.
    assert bytes_sent(RING, 4 * 10**6, replicas) == pytest.approx(4 * 10**6 * 2 * (replicas - 1) / replicas, abs=1)


@pytest.mark.parametrize("replicas", [3, 4, 8])
def test_what_has_to_be_added_to_on_its_way_is_late(replicas):
    size = 10**6
    for form in (DIRECT, SCATTER, GATHER):
        assert seconds_at_once(form, size, replicas, SPEED) == seconds(form, size, replicas, SPEED)
    for form, steps in ((RING, 2 * (replicas - 1)), (TREE, 2 * levels(replicas))):
        at_once = seconds_at_once(form, size, replicas, SPEED)
        assert steps * at_once == pytest.approx(seconds(form, size, replicas, SPEED))


def test_small_sums_are_packed_until_they_are_worth_a_message():
    sums = [floats(10), floats(3000), floats(1000), floats(1500), floats(2, 5), floats()]
    units = units_of(sums, 2, SPEED)
    assert [one.members for one in units] == [(0, 2, 3), (1,), (4, 5)]
    assert [one.bytes for one in units] == [10040, 12000, 44]


def test_packs_of_a_ring_are_worth_a_message_a_slice():
    units = units_of([floats(2500)] * 8, 4, SPEED)
    assert [len(one.members) for one in units] == [4, 4]
    assert {one.form for one in units} == {RING}


def test_what_differs_in_kind_or_dtype_is_not_packed_together():
    sums = [floats(2), floats(2, kind="max"), Summand((2,), "int32", 4), floats(2), floats(2, kind="max")]
    assert [one.members for one in units_of(sums, 2, SPEED)] == [(0, 3), (1, 4), (2,)]


@pytest.mark.parametrize(
    ("shape", "parts", "expected"),
    [
        ((4096, 512), (16, 1), (RING, 1, 1)),
        # What each device has is cut, also where all dimensions are divided.
        ((4096, 512), (2, 1), (RING, 0, 2)),
        ((3, 4096, 512), (1, 256, 8), (RING, 2, 8)),
        # Three elements of a device cannot be four slices, and no more can two columns.
        ((3072, 1536), (1024, 512), (DIRECT, None, 1)),
        ((10**6, 2), (500_000, 1), (DIRECT, None, 1)),
    ],
)
def test_what_devices_divide_is_sliced_within_their_parts(shape, parts, expected):
    (unit,) = units_of([floats(*shape, parts=parts)], 4, SPEED)
    assert (unit.form, unit.dimension, unit.parts) == expected


@pytest.mark.parametrize("replicas", [2, 3, 4, 8])
def test_shares_cross_directly(replicas):
    """Each replica sends every other a share; for a sum of which all get all they would send twice as much."""
    size = 24 * 10**5
    for kind, form in (("add", SCATTER), ("max", SCATTER), (GATHER, GATHER)):
        (unit,) = units_of([floats(size // 4, kind=kind, share=0)], replicas, SPEED)
        assert (unit.form, unit.dimension, unit.bytes) == (form, None, size)
        assert messages(form, replicas) == replicas - 1
        assert bytes_sent(form, size, replicas) == (replicas - 1) * size // replicas
        assert seconds(form, size, replicas, SPEED) == pytest.approx(1e-3 + (replicas - 1) * size / replicas / 1e6)
    best = min(seconds(form, size, replicas, SPEED) for form in (DIRECT, RING, TREE))
    assert seconds(SCATTER, size, replicas, SPEED) + seconds(GATHER, size, replicas, SPEED) <= best + 1e-3


def test_shares_are_packed_until_each_is_worth_a_message():
    shared = [floats(2000, share=0), floats(2, 1500, share=1), floats(2500, share=0), floats(2, share=0)]
    assert [one.members for one in units_of(shared, 2, SPEED)] == [(0, 1), (2, 3)]
    assert [one.members for one in units_of(shared, 4, SPEED)] == [(0, 1, 2, 3)]
    assert [one.members for one in units_of([floats(5000, share=0), *shared], 2, SPEED)] == [(0,), (1, 2), (3, 4)]


def test_what_each_replica_gets_all_of_is_not_packed_with_shares():
    sums = [floats(2), floats(2, share=0), floats(2, kind=GATHER, share=0), floats(2), floats(4, 2, share=1)]
    assert [(one.form, one.members) for one in units_of(sums, 2, SPEED)] == [
        (DIRECT, (0, 3)),
        (SCATTER, (1, 4)),
        (GATHER, (2,)),
    ]


def test_divided_shares_cross_alone():
    divided = floats(8, 2, parts=(1, 2), share=0)
    assert [one.members for one in units_of([divided, floats(2, share=0), divided], 2, SPEED)] == [(0,), (1,), (2,)]


def test_what_does_not_cross_is_cut_together():
    shapes = [floats(10**6, share=0, kind=OWN_SHARE), Summand((4,), "int32", 4, OWN_SHARE, (2,), 0)]
    (unit,) = units_of(shapes, 4, SPEED)
    assert (unit.form, unit.members) == (OWN_SHARE, (0, 1))
    assert messages(OWN_SHARE, 4) == bytes_sent(OWN_SHARE, unit.bytes, 4) == seconds(OWN_SHARE, 9, 4, SPEED) == 0


SUMS = [
    Summand(shape, dtype, 4, kind)
    for shape in ((), (0, 3), (7,), (300, 2), (2, 9000))
    for dtype, kind in (("float32", "add"), ("float32", "max"), ("int32", "add"))
]
SUMS += [
    Summand(shape, "float32", 4, kind, share=0)
    for shape in ((0, 3), (2520,), (2520, 20))
    for kind in ("add", "max", GATHER, OWN_SHARE)
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(SUMS), max_size=20), st.integers(2, 9))
def test_every_sum_is_in_one_unit(sums, replicas):
    units = units_of(sums, replicas, SPEED)
    assert sorted(itertools.chain(*(one.members for one in units))) == list(range(len(sums)))
    for one in units:
        assert one.bytes == sum(sums[member].size for member in one.members)
        if one.form != OWN_SHARE:
            assert len({(sums[member].dtype, sums[member].kind) for member in one.members}) == 1
        assert {sums[member].form or one.form for member in one.members} == {one.form}
        if one.form == RING and not one.is_packed:
            assert sums[one.members[0]].shape[one.dimension] >= replicas


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(1, 9))
def test_slices_are_nearly_equal(length, count):
    bounds = slice_bounds(length, count)
    assert [start for start, _ in bounds[1:]] == [stop for _, stop in bounds[:-1]]
    assert (len(bounds), bounds[0][0], bounds[-1][1]) == (count, 0, length)
    assert max(stop - start for start, stop in bounds) - min(stop - start for start, stop in bounds) <= 1


def test_a_tree_is_for_what_cannot_be_sliced_and_for_sizes_between_the_others():
    def form(one, replicas):
        return units_of([one], replicas, SPEED)[0].form

    uncut = floats(4096, 512, parts=(4096, 512))
    assert [form(uncut, replicas) for replicas in (2, 4, 7, 8, 16)] == [DIRECT, DIRECT, DIRECT, TREE, TREE]
    sizes = range(1, 10**5, 77)
    assert {form(floats(size), replicas) for replicas in range(2, 13) for size in sizes} == {DIRECT, RING}
    assert [form(floats(size), 16) for size in (200, 500, 2000)] == [DIRECT, TREE, RING]


@pytest.mark.parametrize("replicas", [2, 3, 5, 8, 13, 16])
def test_a_tree_adds_everything_once_and_reaches_all(replicas):
    def sum_at(replica):
        return "(" + "".join([str(replica), *map(sum_at, children_in_tree(replica, replicas))]) + ")"

    assert all(replica in children_in_tree(parent_in_tree(replica), replicas) for replica in range(1, replicas))
    assert sum(len(children_in_tree(replica, replicas)) for replica in range(replicas)) == replicas - 1
    assert parent_in_tree(0) is None
    assert replicas != 8 or sum_at(0) == "(0(1)(2(3))(4(5)(6(7))))"
    most = max(len(children_in_tree(one, replicas)) + (one > 0) for one in range(replicas))
    assert most == messages(TREE, replicas) == levels(replicas)


@pytest.mark.parametrize("replicas", [2, 3, 4, 7])
def test_a_ring_adds_everything_once_and_all_get_it(replicas):
    held = numpy.arange(replicas * replicas).reshape(replicas, replicas)  # by replica and slice
    expected = held.sum(0)
    for step in range(replicas - 1):
        before = held.copy()
        for replica in range(replicas):
            sent, _ = added_in_ring((replica - 1) % replicas, step, replicas)
            _, got = added_in_ring(replica, step, replicas)
            assert sent == got
            held[replica, got] += before[(replica - 1) % replicas, got]
    assert [held[replica, replica] for replica in range(replicas)] == expected.tolist()
    for step in range(replicas - 1):
        before = held.copy()
        for replica in range(replicas):
            sent, _ = shared_in_ring((replica - 1) % replicas, step, replicas)
            _, got = shared_in_ring(replica, step, replicas)
            assert sent == got
            held[replica, got] = before[(replica - 1) % replicas, got]
    assert (held == expected).all()


def test_the_slowest_link_counts():
    assert slowest([(1e9, 1e-6), (1e6, 1e-3)]) == Speed(1e6, 1e-3)
    assert SPEED.chunk == pytest.approx(10**4)


def stack(layers, *shape, **more):
    return Sum(floats(layers, *shape, **more), layers)


@pytest.mark.parametrize(
    ("sums", "stages", "replicas", "expected"),
    [
        # 10 kB are worth a message: as many segments as there are messages, and at most 32.
        ([Sum(floats(2500))] * 4, 1, 2, 4),
        ([Sum(floats(2500))] * 4, 2, 2, 2),
        ([stack(64, 2500)], 1, 2, 32),
        ([Sum(floats(16, 16))] * 8, 1, 2, 1),
        # In a ring each slice is a message, and only the first one of a segment leaves before the last task has run: a
        # quarter of what three send, and too little of what eight do.
        ([stack(64, 25000)], 1, 3, 13),
        ([stack(64, 25000)], 1, 8, 1),
        # A stack goes round as long as it has a layer for each replica, unless devices have more of something else.
        ([stack(118, 4096, 64, parts=(1, 4096, 64))], 1, 64, 1),
        # What cannot go round crosses directly, and then all of it leaves at once.
        ([stack(8, 4096, 64, parts=(1, 4096, 64))], 1, 4, 8),
        # Nothing of a share is late.
        ([stack(64, 2500, share=0)], 1, 4, 16),
    ],
)
def test_how_many_segments_are_worthwhile(sums, stages, replicas, expected):
    assert segments_worthwhile(sums, stages, replicas, SPEED, 0.0) == expected


@pytest.mark.parametrize(("computing", "expected"), [(0.1, 32), (30.0, 32), (300.0, 1)])
def test_segments_are_not_worthwhile_for_little_of_a_step(computing, expected):
    sums = [stack(64, 2500)]  # 640 kB, at 1 MB/s
    assert segments_worthwhile(sums, 1, 2, SPEED, computing) == expected


def test_with_the_segments_chosen_an_island_waits_least():
    """With two segments of it a stack cannot go round any more, and has to take a tree."""
    sums = [stack(118, 4096, 64, parts=(1, 4096, 64))]
    waits = [waited(sums, 1, count, 64, SPEED) for count in range(1, 33)]
    assert min(waits) == waits[0]
    assert min(waits[1:]) > 5 * waits[0]
