"""Of many tests alike some run, which the day chooses; whoever names a test gets it."""

from types import SimpleNamespace

import chosen
import pytest
from chosen import left_out, names_tests, seeds

pytestmark = pytest.mark.own

NUMBERS = range(7)


class Fake:
    """As much of a test as is asked for here."""

    def __init__(self, function, number, **marks):
        self.nodeid = f"{function}[{number}]"
        self.marks = {name: getattr(pytest.mark, name)(*args).mark for name, args in marks.items()}
        self.callspec = None

    def get_closest_marker(self, name):
        return self.marks.get(name)


FINDER = "tests/end_to_end/test_sequences.py::test_same_answer_as_jit"


def made():
    return [
        *(Fake("many", number, one_in=(3,)) for number in NUMBERS),
        *(Fake("many", number, one_in=(3,), xla=()) for number in range(4)),
        *(Fake("all", number) for number in range(4)),
    ]


def kept(tests, day):
    out = left_out(tests, day)
    return [test for test in tests if test not in out]


def test_as_many_as_the_mark_says_and_of_those_that_xla_compiles_as_well():
    found = kept(made(), "a")
    assert [test.nodeid.partition("[")[0] for test in found] == [*["many"] * 5, *["all"] * 4]
    assert sum("xla" in test.marks for test in found) == 2


def test_the_day_chooses_and_in_time_all_are_chosen():
    chosen = [{test.nodeid for test in kept(made(), str(day))} for day in range(40)]
    assert chosen == [{test.nodeid for test in kept(made(), str(day))} for day in range(40)]
    assert set().union(*chosen) == {test.nodeid for test in made()}


def test_what_finds_a_known_fault_always_runs():
    always = "batch_statistics-halves"
    tests = [Fake(FINDER, name, one_in=(9,)) for name in (*NUMBERS, always)]
    for day in range(20):
        assert f"{FINDER}[{always}]" in {test.nodeid for test in kept(tests, str(day))}


@pytest.mark.parametrize(
    ("arguments", "keyword", "is_named"),
    [
        ([], "", False),
        (["tests/end_to_end", "docs"], "", False),
        (["tests/end_to_end/test_layers.py::test_schedules"], "", True),
        (["docs"], "schedule", True),
    ],
)
def test_whoever_asks_for_certain_tests_gets_them(arguments, keyword, is_named):
    assert names_tests(SimpleNamespace(args=arguments, option=SimpleNamespace(keyword=keyword))) == is_named


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"--full": True, "--first-seed": 3}, range(3, 103)),
        ({"--full": False, "--first-seed": 3}, range(3, 10)),
    ],
)
def test_seeds_that_are_asked_for(options, expected):
    assert seeds(SimpleNamespace(getoption=options.get), 7, 100) == expected


def test_the_day_chooses_a_half_of_the_seeds_and_every_seed_has_its_day(monkeypatch):
    config = SimpleNamespace(getoption={"--full": False, "--first-seed": 0}.get)
    found = set()
    for day in map(str, range(20)):
        monkeypatch.setattr(chosen, "day", lambda day=day: day)
        found.add(seeds(config, 7, 100))
    assert found == {range(4), range(3, 7)}
