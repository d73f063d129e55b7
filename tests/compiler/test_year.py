"""Failures: their text, closed forms, and a year of them against these."""

from dataclasses import replace
from math import sqrt
from random import Random

import pytest
from atoll.compiler.errors import UsageError
from atoll.compiler.scaling.failures import YEAR, Failures
from atoll.compiler.scaling.goodput import best_interval, best_steps, expected_goodput, young
from atoll.compiler.scaling.year import Habits, going_on, mean_of, stopping
from told import told

pytestmark = pytest.mark.own

PARTS = ("goodput", "saving", "again", "restarting", "short")


def habits(**changes):
    usual = {"step": 10.0, "steps": 180, "save": 30.0, "restart": 600.0, "spare": 600.0, "between": 10_800.0}
    return Habits(**(usual | changes))


def years(run, what, count=8):
    return mean_of([run(what, Random(seed)) for seed in range(count)])


def test_the_text_is_read_and_printed():
    given = Failures.parse("device = 5 y, restart=10 min, save=0.5min")
    assert (given.device, given.restart, given.save, given.island) == (5 * YEAR, 600, 30, None)
    assert str(given) == "restart=10 min, save=30 s, device=5 y"
    assert Failures.parse(str(given)) == given
    # Rates add up: 8 devices with 4 h each, and 2 islands with 1 h each.
    assert Failures.parse("device=4 h, island=1 h, restart=0 s, save=0 s").between(8, 2) == pytest.approx(900)


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("device=5 y, save=30 s", 1, "restart is missing; write it, such as restart=10 min"),
        ("restart=1 s, save=1 s", 1, "nothing fails; say how often: device=5 y, or island=30 d"),
        ("device=0 s, restart=1 s, save=1 s", 1, "device is 0; write a time that is longer than 0"),
        ("devices=5 y", 1, "nothing is called 'devices'; did you mean 'device'?"),
        ("device=5 years", 10, "unknown unit 'years'; known are ms, s, min, h, d, y"),
        ("device=5 y, device=5 y", 13, "device is there twice; write each time once"),
        ("device=five", 8, "unexpected 'five'; expected a number"),
    ],
)
def test_what_is_no_text_of_failures(text, column, what):
    with pytest.raises(UsageError) as caught:
        Failures.parse(text)
    assert f"failures text, line 1, column {column}: {what}" in caught.value.sentence


def test_the_best_interval_is_the_best_and_near_youngs():
    for save, between in ((1.0, 1e6), (30.0, 10_800.0), (600.0, 3_600.0)):
        best = best_interval(save, between)
        most = expected_goodput(best, save, 100.0, between)
        assert all(expected_goodput(best * factor, save, 100.0, between) < most for factor in (0.9, 1.1))
        # Daly's estimate of second order: within 2% where saving takes a sixth of the time between failures.
        ratio = sqrt(save / (2 * between))
        daly = young(save, between) * (1 + ratio / 3 + ratio**2 / 9) - save
        assert best == pytest.approx(daly, rel=0.02)
    assert best_interval(1.0, 1e6) == pytest.approx(young(1.0, 1e6), rel=1e-3)
    assert best_steps(10.0, 30.0, 600.0, 10_800.0) in (78, 79)
    assert best_steps(1e5, 30.0, 600.0, 10_800.0) == 1


def test_no_failures_leave_all_but_the_saving():
    for run in (stopping, going_on):
        one = run(habits(between=1e15, steps=27), Random(0))
        assert one.goodput == pytest.approx(0.9, rel=1e-4)
        assert one.failures == 0


@pytest.mark.parametrize("changes", [{}, {"steps": 20}, {"between": 1_800.0}, {"save": 0.0, "restart": 0.0}])
def test_years_of_failures_come_to_the_closed_form(changes):
    one = habits(**changes)
    found = years(stopping, one)
    expected = expected_goodput(one.work, one.save, one.restart, one.between)
    assert found.goodput == pytest.approx(expected, rel=0.01)
    assert sum(getattr(found, part) for part in PARTS) == pytest.approx(1)
    # Of the time in which nothing restarts, a failure comes as often as it should; and so it does in restarts.
    assert found.failures == pytest.approx(YEAR / one.between, rel=0.02)


def test_replicas_that_go_on_are_as_available_as_repair_makes_them():
    """With steps and pauses of no length each replica is there for `between` and gone for `spare`, by itself."""
    one = habits(replicas=8, step=1e-3, steps=10**7, save=0.0, between=3_600.0, spare=7_200.0)
    found = years(going_on, one)
    own = one.between * one.replicas
    assert found.goodput == pytest.approx(own / (own + one.spare), rel=0.01)
    assert sum(getattr(found, part) for part in PARTS) == pytest.approx(1)


def test_going_on_loses_half_a_step_and_a_pause_with_each_failure():
    one = habits(replicas=16, step=60.0, save=45.0, steps=10**6, spare=0.0)
    found = years(going_on, one)
    each = (found.again + found.restarting) * YEAR / found.failures
    assert each == pytest.approx(30 + 45, rel=0.03)


def test_one_replica_that_is_lost_takes_all_to_the_last_checkpoint():
    one = habits(replicas=1)
    stopped, went_on = years(stopping, one), years(going_on, one)
    assert went_on.goodput == pytest.approx(stopped.goodput, rel=0.01)
    two = years(going_on, replace(one, replicas=2))
    assert two.goodput > stopped.goodput
    assert sum(getattr(two, part) for part in PARTS) == pytest.approx(1)


def test_failures_that_leave_nothing():
    for run in (stopping, going_on):
        found = run(habits(between=60.0, restart=36_000.0), Random(0))
        assert found.goodput < 1e-3
        assert sum(getattr(found, part) for part in PARTS) == pytest.approx(1)
    with pytest.raises(UsageError) as caught:
        Failures.parse("device=1 h, restart=1 h, save=1 s").check(120, 2)
    assert told(caught.value) == (
        "of 120 devices on 2 islands one fails every 30 s; nothing gets on so: give longer times, or fewer copies"
    )


def test_a_year_is_the_same_with_the_same_seed():
    assert stopping(habits(), Random(3)) == stopping(habits(), Random(3)) != stopping(habits(), Random(4))
