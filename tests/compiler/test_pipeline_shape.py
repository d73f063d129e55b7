"""What a plan says of the pipeline before any order is decided."""

import pytest
from atoll.compiler.errors import PlanError
from atoll.compiler.plan.pipeline_shape import PipelineShape
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import resolved
from atoll.compiler.schedules.kinds import schedule

pytestmark = pytest.mark.own

MINE = schedule("1f1b", islands=2, microbatches=3)


def shape(islands, **fields):
    return PipelineShape(resolved(Plan(**fields), islands), islands)


@pytest.mark.parametrize(
    ("islands", "fields", "stages"),
    [
        (4, {}, 4),
        (4, {"stages": 2}, 2),
        (4, {"stages": "a | b | c"}, 3),
        (4, {"placement": {"a": "island0"}}, 4),
        (4, {"schedule": "zb-v"}, 8),
        (2, {"schedule": "interleaved-1f1b(3)"}, 6),
        (2, {"schedule": MINE}, 2),
    ],
)
def test_stages(islands, fields, stages):
    assert shape(islands, **fields).stages == stages


@pytest.mark.parametrize(
    ("islands", "fields", "homes"),
    [
        (3, {"stages": 7}, (0, 1, 2, 0, 1, 2, 0)),
        (2, {"stages": 4}, (0, 1, 0, 1)),
        (2, {"schedule": "zb-v"}, (0, 1, 1, 0)),
        (4, {"schedule": "zb-v", "stages": 4}, (0, 1, 2, 3)),  # not two an island: with one microbatch they go round
        (4, {"stages": 2}, (0, 1)),
        (2, {"placement": {"a": "island0"}, "schedule": "auto"}, (0, 1)),
    ],
)
def test_the_island_of_each_stage(islands, fields, homes):
    assert shape(islands, **fields).stage_island == homes


def test_microbatches_of_a_schedule_of_the_users():
    assert shape(2, schedule=MINE).microbatches == 3
    assert shape(2).microbatches == 1
    assert shape(2, microbatches=5).microbatches == 5


def test_auto_takes_chunks_if_islands_have_several_stages():
    assert shape(2, stages=2, microbatches=4).schedule().name == "1f1b"
    assert shape(2, stages=6, microbatches=4).schedule().name == "interleaved-1f1b(3)"


@pytest.mark.parametrize(
    ("islands", "fields", "sentence"),
    [
        (2, {"stages": 4, "schedule": "1f1b"}, "schedule 1f1b has 1 stages an island, and the plan has 4 on 2 islands"),
        (4, {"stages": 4, "schedule": "zb-v"}, "schedule zb-v has 2 stages an island, and the plan has 4 on 4 islands"),
        (3, {"stages": 3, "schedule": "interleaved-1f1b(2)"}, "cut into 6 stages, or take another schedule"),
        (
            2,
            {"stages": 5},
            "5 stages go unevenly round 2 islands, and there is no schedule for that; cut into 4 or 6 stages",
        ),
        (1, {"schedule": MINE}, "schedule 1f1b is for 2 islands, and here are 1"),
    ],
)
def test_schedules_that_do_not_fit(islands, fields, sentence):
    with pytest.raises(PlanError) as caught:
        shape(islands, **fields).schedule()
    assert sentence in str(caught.value)


def test_segments_are_counted_as_stages():
    with pytest.raises(PlanError) as caught:
        shape(2, stages=2000, microbatches=2, segments=1000).schedule()
    told = "schedule interleaved-1f1b(1000) in segments would run 2 microbatches on 2000000 stages; take fewer: "
    assert told in str(caught.value)


def test_islands_that_a_schedule_does_not_need_stay_empty():
    assert shape(3, schedule=MINE).schedule() is MINE


def test_a_schedule_for_more_islands_than_there_are_is_refused_before_anything_is_placed():
    with pytest.raises(PlanError, match="schedule 1f1b is for 2 islands, and here are 1"):
        shape(1, schedule=MINE).stage_island  # noqa: B018 (the property raises)
