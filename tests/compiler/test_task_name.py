"""What tasks are called."""

import pytest
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import EXCHANGE, TaskName, loop_in_names
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.own

numbers = st.integers(0, 10**9 - 1)
names = st.one_of(
    st.builds(
        TaskName,
        st.sampled_from("FBWIUR"),
        numbers,
        st.none() | numbers,
        st.none() | numbers,
        st.just(0) | numbers,
        st.just(""),
    ),
    st.builds(
        TaskName,
        st.just(EXCHANGE),
        numbers,
        st.none(),
        st.none(),
        st.just(0),
        st.from_regex(r"[a-z]+[0-9]*", fullmatch=True),
    ),
)


@given(names)
def test_a_name_reads_back(name):
    assert TaskName.parse(str(name)) == name


@given(names, names)
def test_two_tasks_have_two_names(one, other):
    assert (str(one) == str(other)) == (one == other)


@given(st.text("LFBWUIXR0123@.ad", max_size=9))
def test_a_task_has_one_name(text):
    try:
        name = TaskName.parse(text)
    except ValueError:
        return
    assert str(name) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("F0", TaskName("F", 0)),
        ("F3@0", TaskName("F", 0, 3)),
        ("W3@12", TaskName("W", 12, 3)),
        ("U0.1", TaskName("U", 0, turn=1)),
        ("F3@0.1", TaskName("F", 0, 3, turn=1)),
        ("L1.B3@0", TaskName("B", 0, 3, 1)),
        ("L0.I2", TaskName("I", 2, loop=0)),
        ("R3@12", TaskName("R", 12, 3)),
        ("X2.add0", TaskName("X", 2, part="add0")),
    ],
)
def test_what_a_name_says(text, name):
    assert TaskName.parse(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "F", "0", "f0", "G0", "FB0", "F00", "F1234567890", "F-1", "F\N{ARABIC-INDIC DIGIT ONE}"),
        *("F0@", "F@0", "F0@1@2", "F0.0", "F0.a", "F0 ", "L.F0", "L0F0", "L0.X0.add", "X0", "X0.1", "X0@1.add"),
    ],
)
def test_what_is_no_name(text):
    with pytest.raises(ValueError, match="no task has this name"):
        TaskName.parse(text)


def test_what_is_of_no_stage():
    assert TaskName.parse("F3@1").stage == TaskName.parse("L0.U1.1").stage == 1
    assert TaskName.parse("R3@1").stage is TaskName.parse("X1.add").stage is None


def test_a_task_of_all_microbatches():
    name = TaskName("F", 1, loop=0, turn=2)
    assert name.of(3) == TaskName.parse("L0.F3@1.2")
    assert name.of(3).rolled == name


def test_the_last_loop_has_no_number():
    assert [loop_in_names(number, 3) for number in range(3)] == [0, 1, None]


@given(st.builds(Task, st.sampled_from("FBW"), numbers, numbers))
def test_a_task_of_a_schedule_has_a_name(task):
    assert Task.of(task.name) == task


@pytest.mark.parametrize("text", ["F0", "U0@0", "L0.F0@0", "F0@0.1", "R0@0", "X0.add"])
def test_what_no_schedule_has(text):
    assert Task.of(TaskName.parse(text)) is None
