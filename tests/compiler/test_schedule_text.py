"""The text of schedules: round trips, and faults that point."""

import pytest
from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, kind_named, schedule
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.task import Task
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.own

named = st.builds(
    lambda kind, islands, more: kind.build(islands, kind.least_microbatches(islands) + more),
    st.sampled_from([*SCHEDULE_KINDS.values(), kind_named("interleaved-1f1b(3)")]),
    st.integers(1, 5),
    st.integers(0, 9),
)
derived = named | named.map(Schedule.forward_only) | named.map(lambda made: made.whole_backward({0, made.stages - 1}))


@given(derived)
@settings(max_examples=80, deadline=None)
def test_a_schedule_survives_its_text(made):
    assert Schedule.parse(str(made)) == made
    assert Schedule.parse(str(made).replace("\n", "; ")) == made
    assert hash(Schedule.parse(str(made))) == hash(made)


def test_the_canonical_text():
    text = """
    # blank lines, comments and rows in any order
    schedule My.own_2:  2 island , 1 microbatches, stages on 1 0 ;
    island 1 : F0@0   B0 + W0@0
    ;;island 0: F0@1 B0@1
    """
    assert str(Schedule.parse(text)) == (
        "schedule My.own_2: 2 islands, 1 microbatch, stages on 1 0\nisland 0: F0 B0\nisland 1: F0 B0+W0"
    )


def test_joined_tasks():
    made = Schedule.parse("schedule a: 1 island, 2 microbatches; island 0: F0 F1+B0+W0 B1+W1")
    assert made.joined == {Task("B", 0, 0), Task("W", 0, 0), Task("W", 0, 1)}
    assert [len(block) for block in made.blocks[0]] == [1, 3, 2]
    assert str(made.forward_only()).endswith("island 0: F0 F1")
    assert str(made.whole_backward({0})).endswith("island 0: F0 F1+B0 B1")


def test_without_some_tasks_the_blocks_are_of_those_that_are_left():
    made = Schedule.parse("schedule mine: 1 island, 2 microbatches; island 0: F0 F1+B0+W0 B1 W1")
    assert str(made.without({"B0"})).endswith("island 0: F0 F1+W0 W1")
    assert str(made.without({"F0"})).endswith("island 0: B0+W0 B1 W1")
    assert made.without(()) is made
    assert made.whole_backward({7}) == made


def test_what_a_derived_schedule_says_of_itself():
    made = schedule("zb-v", 2, 4)
    assert made.has_backward
    assert made.split_stages == {0, 1, 2, 3}
    assert made.whole_backward({0, 3}).split_stages == {1, 2}
    assert not made.forward_only().has_backward


HEADER = "schedule a: 2 islands, 2 microbatches"


@pytest.mark.parametrize(
    ("text", "line", "column", "sentence"),
    [
        ("gpipe", 1, 1, "unexpected 'gpipe'; expected one of: 'schedule', a new line or ';'"),
        (f"{HEADER} island 0: F0", 1, 39, "unexpected 'island'; expected one of: ',', a new line or ';', the end of "),
        ("schedule a: 0 islands, 1 microbatch", 1, 13, "the number is too small; it must be at least 1"),
        ("schedule a: 2 islands", 1, 22, "unexpected end of the text; expected ','"),
        (f"{HEADER}\nisland 0: F0 X1", 2, 14, "unexpected 'X1'; expected one of: '+', a new line or ';', a task such "),
        (f"{HEADER}\nisland 0: F0", 1, 1, "island 1 has no row; write one row for each island"),
        (f"{HEADER}\nisland 0: F0\nisland 0: F1", 3, 8, "island 0 has two rows; write one row for each island"),
        (f"{HEADER}\nisland 2: F0", 2, 8, "there is no island 2; the islands are 0 to 1"),
        (f"{HEADER}\nisland 0: F{'9' * 40}", 2, 11, "the task has 41 characters; write at most 30"),
        (
            f"{HEADER}, stages on 0 1 1 0\nisland 0: F0\nisland 1: ",
            2,
            11,
            "F0 has no stage, and island 0 has the stages 0, 3; write it as in F0@0",
        ),
        (
            f"{HEADER}, stages on 0\nisland 0:\nisland 1: F0",
            3,
            11,
            "F0 has no stage, and island 1 has none; write it as",
        ),
        (f"{HEADER}, stages on 0\nisland 0:\nisland 1:", 1, 1, "island 0 has 1 of the 1 stages; give each of the 2 "),
    ],
)
def test_a_fault_in_a_text(text, line, column, sentence):
    with pytest.raises(PlanError) as caught:
        Schedule.parse(text)
    assert str(caught.value).startswith(f"schedule text, line {line}, column {column}: {sentence}")
    assert caught.value.excerpt
