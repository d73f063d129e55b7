"""Schedules whose stages run in segments."""

import pytest
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, schedule
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.segments import in_segments
from atoll.compiler.schedules.walk import check

pytestmark = pytest.mark.own


def test_the_rows():
    found = in_segments(schedule("1f1b", islands=2, microbatches=2), 2)
    assert str(found).splitlines() == [
        "schedule 1f1b: 2 islands, 2 microbatches, stages on 0 0 1 1",
        "island 0: F0@0 F0@1 F1@0 F1@1 B0@1 B0@0 B1@1 B1@0",
        "island 1: F0@2 F0@3 B0@3 B0@2 F1@2 F1@3 B1@3 B1@2",
    ]


def test_one_segment_is_the_schedule_itself():
    known = schedule("zb-h1", islands=2, microbatches=4)
    assert in_segments(known, 1) is known


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", SCHEDULE_KINDS)
def test_every_kind_takes_as_long_and_keeps_no_more(name, count):
    known = schedule(name, islands=3, microbatches=7)
    found = in_segments(known, count)
    check(found)
    assert Schedule.parse(str(found)) == found
    assert found.stages == known.stages * count
    assert len(found.split_stages) == len(known.split_stages) * count
    assert found.forward_only().rows == in_segments(known.forward_only(), count).rows
    for costs in ({}, {"forward": 3, "backward": 2, "weight": 4, "update": 5}):
        one, other = known.simulate(**costs), found.simulate(**costs)
        assert other.makespan == pytest.approx(one.makespan)
        assert all(more <= less + 1e-9 for more, less in zip(other.peak, one.peak, strict=True))
