"""`atoll calibrate`: what is measured, kept and printed. How fast devices are, no test says."""

from fractions import Fraction
from types import SimpleNamespace

import jax
import pytest
from atoll.compiler.commands import calibrate
from atoll.compiler.cost import measured_rates
from atoll.compiler.errors import UsageError
from atoll.compiler.topology.rates import Rates
from atoll.compiler.topology.topology import topology

pytestmark = pytest.mark.own

RATES = Rates("cpu", 7 * 10**9, 3 * 10**9, Fraction("1.25"))


def test_all_devices_work_side_by_side(monkeypatch):
    """One takes half a second alone; four together take two and a half times as long, and do four times as much."""
    sides = []

    def fastest(works):
        sides.append(len(works))
        return {1: 0.5, 4: 1.25}[len(works)]

    monkeypatch.setattr(measured_rates, "_fastest", fastest)
    found = measured_rates.rates_of_devices(jax.devices("cpu")[:4])
    assert sides == [1, 1, 4]
    assert found.operations == round(2 * 512**3 * 8 / 0.5 / 1e8) * 10**8
    assert found.memory == round(2 * 64 * 2**20 / 0.5 / 1e8) * 10**8
    assert found.at_once == Fraction("1.6")


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

    def run(text, again=False):
        assert calibrate.run(SimpleNamespace(topology=text, again=again)) == 0
        return capsys.readouterr().out

    told = "2 x cpu[1]\nrates cpu : 7 Gop/s, 3 GB/s, 1.25 at once\n"
    assert run("2 x cpu[1]") == run("2 x cpu[1]") == told
    assert topology(told).rates == (RATES,)
    assert asked == [2]
    assert run("2 x cpu[1]; rates cpu : 1 Gop/s, 1 GB/s", again=True) == told
    run("2 x cpu[2]")
    assert asked == [2, 2, 4]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"rates", b"link island0 <-> island1"])
def test_what_cannot_be_read_is_measured_again(content):
    assert calibrate.read_rates(content) is None
    assert calibrate.read_rates(str(RATES).encode()) == RATES


def test_only_cpus_are_measured():
    with pytest.raises(UsageError, match="only CPU devices are measured, and the topology has others"):
        calibrate.run(SimpleNamespace(topology="1 x v5e[2x2]", again=False))
