"""`atoll calibrate`: what is measured, kept and printed. How fast devices are, no test says."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import jax
import pytest
from atoll.compiler.commands import calibrate
from atoll.compiler.commands.task_time import seconds_of_a_task
from atoll.compiler.cost import measured_rates
from atoll.compiler.cost.measured_reorders import BackwardLayer, OrderMeasured, reordering_of
from atoll.compiler.errors import UsageError
from atoll.compiler.topology.rates import Rates
from atoll.compiler.topology.topology import topology

pytestmark = pytest.mark.own

RATES = Rates("cpu", 7 * 10**9, 3 * 10**9, at_once=Fraction("1.25"))


FEW, MANY, IMAGES = (
    one.work() for one in (measured_rates._FEW_ROWS, measured_rates._MANY_ROWS, measured_rates._CONVOLUTION)
)


def seconds_by(work, operations, memory, convolutions):
    return (work.operations - work.convolved) / operations + work.moved / memory + work.convolved / convolutions


def test_rates_are_those_by_which_layers_take_what_they_took():
    assert MANY.operations / MANY.moved > 30 * FEW.operations / FEW.moved
    assert IMAGES.convolved > 0.9 * IMAGES.operations
    rates = (4e10, 5e9, 7e9)
    took = [seconds_by(work, *rates) for work in (FEW, MANY, IMAGES)]
    assert measured_rates.rates_of((FEW, MANY, IMAGES), took) == pytest.approx(rates)


def took_by(rate, across, reach):
    """What one value in another order takes where each example makes 1000 bytes of 6000."""
    return lambda examples: OrderMeasured(
        1e3 * examples,
        6e3 * examples,
        1e3 * examples / rate + (6e3 * examples / across if 6e3 * examples > reach else 0.0),
    )


@pytest.mark.parametrize("reach", [70e3, 200e3, 350e3])
def test_where_values_become_too_large_is_found(reach):
    found = reordering_of(took_by(1e9, 2e9, reach))
    assert (found.rate, found.across) == pytest.approx((1e9, 2e9))
    assert found.reach == pytest.approx(reach, rel=0.25)


@pytest.mark.parametrize("reach", [1e3, 1e9])
def test_values_that_are_never_too_large_have_one_rate(reach):
    found = reordering_of(took_by(1e9, 2e9, reach))
    assert (found.across, found.reach) == (None, None)


def test_the_order_is_all_that_tells_the_two_ways_back_apart():
    one, other = (measured_rates._work_of(BackwardLayer(4, has_positions).traced()) for has_positions in (True, False))
    assert (one.operations, one.moved) == pytest.approx((other.operations, other.moved), rel=0.01)
    assert other.reordered == ()
    (order,) = one.reordered
    assert order.made == 4 * 4 * 32 * 512
    assert order.read > 2 * order.made


@pytest.mark.parametrize("took", [(1.0, 1.0, 1.0), (1e-3, 1.0, 1e-9), (1e-6, 1.0, 1.0), (1.0, 1e-6, 1.0)])
def test_what_noise_hides_leaves_rates_that_can_be(took):
    assert all(0 < rate < float("inf") for rate in measured_rates.rates_of((FEW, MANY, IMAGES), took))


def test_all_devices_work_side_by_side(monkeypatch):
    """Four together take two and a half times as long as one alone, and do four times as much. What else
    the machine did at first is forgotten."""
    sides = []
    alone = iter(slower * seconds_by(work, 4e10, 5e9, 7e9) for slower in (1.5, 1) for work in (FEW, MANY, IMAGES))
    whole = sum(seconds_by(work, 4e10, 5e9, 7e9) for work in (FEW, MANY, IMAGES))

    def fastest(works):
        sides.append(len(works))
        return next(alone) if len(works) == 1 else 2.5 * whole

    monkeypatch.setattr(measured_rates, "_fastest", fastest)
    monkeypatch.setattr(measured_rates, "_reordered", lambda examples, _: took_by(2e9, 3e9, 100e3)(examples))
    found = measured_rates.rates_of_devices(jax.devices("cpu")[:4])
    assert sides == [1, 1, 1, 4] * 2
    assert replace(found, reach=None, across=None) == Rates(
        "cpu", 4 * 10**10, 5 * 10**9, convolutions=7 * 10**9, reordering=2 * 10**9, at_once=Fraction("1.6")
    )
    assert found.across == 3 * 10**9


def test_each_work_is_done_once_at_a_time_on_every_side():
    done = [0, 0, 0]

    def counting(side):
        def work():
            done[side] += 1
            assert max(done) - min(done) <= 1  # nobody begins again before all have ended

        return work

    assert measured_rates._fastest([counting(side) for side in range(3)]) >= 0
    assert done == [measured_rates._REPEATS] * 3


def test_a_work_that_fails_ends_it():
    def fails():
        raise ValueError("out of memory")

    with pytest.raises(ValueError, match="out of memory"):
        measured_rates._fastest([lambda: None, fails])


def test_it_is_measured_once_for_each_machine(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ATOLL_CACHE_DIR", str(tmp_path))
    asked = []
    monkeypatch.setattr(calibrate, "rates_of_devices", lambda devices: asked.append(len(devices)) or RATES)
    monkeypatch.setattr(calibrate, "seconds_of_a_task", lambda islands: 123.4e-6)
    monkeypatch.setattr(calibrate.os, "getloadavg", lambda: (0.0, 0.0, 0.0))

    def run(text, again=False):
        assert calibrate.run(SimpleNamespace(topology=text, again=again)) == 0
        return capsys.readouterr().out

    told = "2 x cpu[1]\nrates cpu : 7 Gop/s, 3 GB/s, 123 us a task, 1.25 at once\n"
    assert run("2 x cpu[1]") == run("2 x cpu[1]") == told
    assert topology(told).rates == (replace(RATES, task=123_000),)
    assert asked == [2]
    assert run("2 x cpu[1]; rates cpu : 1 Gop/s, 1 GB/s", again=True) == told
    run("2 x cpu[2]")
    assert asked == [2, 2, 4]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"rates", b"link island0 <-> island1"])
def test_what_cannot_be_read_is_measured_again(content):
    assert calibrate.read_rates(content) is None
    assert calibrate.read_rates(str(RATES).encode()) == str(RATES)


def test_only_cpus_are_measured():
    with pytest.raises(UsageError, match="only CPU devices are measured, and the topology has others"):
        calibrate.run(SimpleNamespace(topology="1 x v5e[2x2]", again=False))


@pytest.mark.parametrize("text", ["2 x cpu[1]", "1 x cpu[data=2]"])
def test_a_task_takes_some_time(text):
    assert 0 < seconds_of_a_task(topology(text)) < 10


def test_who_measures_beside_something_else_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ATOLL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(calibrate, "measured_rates_of", lambda islands: RATES)
    monkeypatch.setattr(calibrate.os, "getloadavg", lambda: (640.25, 0.0, 0.0))
    calibrate.run(SimpleNamespace(topology="2 x cpu[1]", again=True))
    monkeypatch.setattr(calibrate.os, "getloadavg", lambda: (0.0, 640.0, 640.0))
    calibrate.run(SimpleNamespace(topology="2 x cpu[1]", again=False))
    *_, measured, _, kept = (told := capsys.readouterr().out).splitlines()
    assert measured == kept == f"{RATES}  # by a machine with other work (a load of 640.2), which may do more"
    assert topology(told[: len(told) // 2]).rates == (RATES,)
