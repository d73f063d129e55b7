"""What is wrong with a schedule that cannot be followed, and where."""

import pytest
from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.kinds import schedule
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.task import Task
from atoll.compiler.schedules.walk import check
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

pytestmark = pytest.mark.own

ONCE = "write each task once"
ALL = "each task of a stage is there for every microbatch"


def text_of(*rows, microbatches=2, stages=""):
    lines = [f"island {island}: {row}" for island, row in enumerate(rows)]
    return f"schedule own: {len(rows)} islands, {microbatches} microbatches{stages}\n" + "\n".join(lines)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ("F0 F1 B0 F1 B1", "F0 B0 F1 B1"),
            f"island 0, column 4: F1 is there twice; {ONCE}\n  island 0: F0 F1 B0 F1 B1\n                     ^",
        ),
        (
            ("F0 F1 B0 B1", "F0 B0 W0 F1 B1"),
            f"island 1: W1 is missing; {ALL}\n  island 1: F0 B0 W0 F1 B1\n                           ^",
        ),
        (
            ("F0 F1 B0 B1", "F0 F1 B1"),
            f"island 1: B0 is missing; {ALL}\n  island 1: F0 F1 B1\n                     ^",
        ),
        (("", "F0 F1"), f"island 0: F0 is missing; {ALL}\n  island 0: \n            ^"),
        (
            ("F0 F1 B0 B1", "F0 B0@0 F1 B1"),
            "island 1, column 2: B0@0 is on the wrong island; stage 0 is on island 0\n"
            "  island 1: F0 B0@0 F1 B1\n               ^",
        ),
        (
            ("F0 F1 B0 B1 F2", "F0 B0 F1 B1"),
            "island 0, column 5: F2 is of microbatch 2; the microbatches are 0 to 1\n"
            "  island 0: F0 F1 B0 B1 F2\n                        ^",
        ),
        (
            ("F0@7 F1 B0 B1", "F0 B0 F1 B1"),
            "island 0, column 1: F0@7 is of stage 7; the stages are 0 to 1\n  island 0: F0@7 F1 B0 B1\n            ^",
        ),
        (
            ("F0 F1 B0 B1", "F0 W0 B0 F1 B1 W1"),
            "island 0, column 3: the islands wait for ever; run earlier what they wait for\n"
            "  island 0, column 3: B0 waits for B0 of island 1\n"
            "  island 1, column 2: W0 waits for B0 of island 1",
        ),
        (
            ("F0 F1 B0 B1", "F0 B0 B1 F1"),
            "island 0, column 4: the islands wait for ever; run earlier what they wait for\n"
            "  island 0, column 4: B1 waits for B1 of island 1\n"
            "  island 1, column 3: B1 waits for F1 of island 1",
        ),
        (
            ("F0 B0 F1+B1", "F0+B0 F1 B1"),
            "island 0, column 3: the islands wait for ever; run earlier what they wait for\n"
            "  island 0, column 3: F1+B1 waits for B1 of island 1\n"
            "  island 1, column 3: F1 waits for F1 of island 0",
        ),
    ],
)
def test_the_place_in_the_table(rows, message):
    with pytest.raises(PlanError) as caught:
        Schedule.parse(text_of(*rows))
    assert caught.value.message == f"schedule own, {message}"


def test_of_a_long_row_the_neighbourhood_is_shown():
    made = schedule("gpipe", 2, 40)
    row = (*made.rows[1][:30], made.rows[1][29], *made.rows[1][31:])
    with pytest.raises(PlanError) as caught:
        check(Schedule("own", 40, (0, 1), (made.rows[0], row)))
    assert caught.value.where == "schedule own, island 1, column 31"
    line, caret = caught.value.excerpt.splitlines()
    assert line.startswith("  island 1: ... F22 ")
    assert line.endswith(" ...")
    assert line[caret.index("^") :].startswith("F29 F31")


def test_a_task_of_no_kind():
    with pytest.raises(PlanError, match=r"column 1: 'X' is of no known kind; the kinds are F, B, W"):
        check(Schedule("own", 1, (0,), ((Task("X", 0, 0),),)))


def test_a_task_may_need_a_later_one_of_another_island():
    check(Schedule.parse(text_of("F0 F1 B1 B0", "F0 F1 B1 B0")))


def test_of_many_islands_that_wait_some_are_named():
    made = schedule("1f1b", 30, 30)
    rows = ((Task("B", 0, 0), *(task for task in made.rows[0] if task != Task("B", 0, 0))), *made.rows[1:])
    with pytest.raises(PlanError) as caught:
        check(Schedule("own", 30, made.stage_island, rows))
    assert caught.value.excerpt.splitlines()[-1] == "  and 10 more"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("a b", 1, (0,), ((),)), "'a b' is no name for a schedule; write one word, such as my-own"),
        ((3, 1, (0,), ((),)), "'3' is no name for a schedule; write one word, such as my-own"),
        (("own", 1, (), ()), "schedule own: there are no islands; write a row for each island"),
        (("own", 0, (0,), ((),)), "the number of microbatches is too small; it must be at least 1"),
        (
            ("own", 1, (0, 1, 0), ((), ())),
            "schedule own: island 0 has 2 of the 3 stages; give each of the 2 islands as many",
        ),
        (
            ("own", 1, (0, 5), ((), ())),
            "schedule own: island 1 has 0 of the 2 stages; give each of the 2 islands as many",
        ),
        (
            ("own", 1, (0,), ((), ())),
            "schedule own: island 0 has 1 of the 1 stages; give each of the 2 islands as many",
        ),
    ],
)
def test_a_wrong_number_of_islands_or_chunks(fields, message):
    with pytest.raises(PlanError) as caught:
        Schedule(*fields)
    assert told(caught.value) == message


names = st.sampled_from(["gpipe", "1f1b", "interleaved-1f1b(2)", "zb-h1", "zb-h2", "zb-v", "v-min", "dualpipe-v"])


@given(name=names, islands=st.integers(2, 4), microbatches=st.integers(8, 10), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_task_that_is_taken_out_or_doubled_is_found(name, islands, microbatches, data):
    made = schedule(name, islands, microbatches)
    island = data.draw(st.integers(0, islands - 1))
    at = data.draw(st.integers(0, len(made.rows[island]) - 1))
    row = made.rows[island]
    for wrong, what in (((*row[:at], *row[at + 1 :]), "is missing"), ((*row[: at + 1], *row[at:]), "is there twice")):
        rows = (*made.rows[:island], wrong, *made.rows[island + 1 :])
        with pytest.raises(
            PlanError, match=f"schedule {made.name.replace('(', '.').replace(')', '.')}, island .*{what}"
        ):
            check(Schedule(made.name, made.microbatches, made.stage_island, rows, made.joined))


@given(name=names, islands=st.integers(1, 4), microbatches=st.integers(8, 9), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_row_in_any_order_is_followed_or_refused(name, islands, microbatches, data):
    made = schedule(name, islands, microbatches)
    island = data.draw(st.integers(0, islands - 1))
    row = tuple(data.draw(st.permutations(made.rows[island])))
    shuffled = Schedule(
        made.name, microbatches, made.stage_island, (*made.rows[:island], row, *made.rows[island + 1 :])
    )
    try:
        check(shuffled)
    except PlanError as fault:
        assert "for ever" in fault.what  # noqa: PT017 (both outcomes are right)
    else:
        simulation = shuffled.simulate()
        assert simulation.makespan >= simulation.lower_bound
