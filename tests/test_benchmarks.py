"""The one table of `make bench`. What the scripts measure is for quiet machines, and no test."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"

pytestmark = pytest.mark.own

# A script as those of the folder are.
SCRIPT = """
import sys
from rows import Row, tell
tell(Row("a step", "ms", 3.0, {"jax.jit": 2.0, "by hand": 6.0}))
tell(Row("a rate", "GB/s", 1.0, {"by hand": 2.0}, more_is_better=True))
tell(Row("alone", "s", 1.5))
tell(Row("long", "ms", 1234.5))
sys.exit(1)
"""


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("table")


def test_every_script_is_in_the_table(table):
    assert sorted(table.SCRIPTS) == sorted(
        file.stem for file in FOLDER.glob("*.py") if file.stem not in ("rows", "table")
    )


def test_ratios_say_how_many_times_as_long_it_takes_and_a_missed_limit_is_told(table, monkeypatch, tmp_path, capfd):
    (tmp_path / "rows.py").write_text((FOLDER / "rows.py").read_text())
    (tmp_path / "step.py").write_text(SCRIPT)
    monkeypatch.setattr(table, "HERE", tmp_path)
    monkeypatch.setattr("sys.argv", ["table.py", "--only", "step"])
    assert table.main() == 1
    header, *lines, last = capfd.readouterr().out.splitlines()
    assert header.split() == ["benchmark", "case", "atoll", "beside", "ratio"]
    assert [" ".join(line.split()) for line in lines] == [
        "step a step 3 ms jax.jit 2 ms 1.50",
        "step a step 3 ms by hand 6 ms 0.50",
        "step a rate 1 GB/s by hand 2 GB/s 2.00",
        "step alone 1.5 s",
        "step long 1234 ms",
    ]
    assert last == "step ended with status 1"


def test_a_script_without_what_it_needs_is_left_out_and_told(table, monkeypatch, capfd):
    monkeypatch.setattr(table, "NEEDS", {"chip_peaks": "no_such_package"})
    monkeypatch.setattr("sys.argv", ["table.py", "--only", "chip_peaks"])
    assert table.main() == 0
    *_, last = capfd.readouterr().out.splitlines()
    assert last == "chip_peaks was left out: it needs no_such_package, which is not installed"


def test_what_programs_read_has_the_machine_and_the_versions(table):
    row = importlib.import_module("rows").Row("a step", "ms", 3.0, {"jax.jit": 2.0})
    told = table.plain({"step": [row]}, [])
    assert told["rows"] == [
        {
            "benchmark": "step",
            "case": "a step",
            "unit": "ms",
            "value": 3.0,
            "beside": {"jax.jit": 2.0},
            "more_is_better": False,
        }
    ]
    assert told["machine"]["cores"] >= 1
    assert "jax" in told["versions"]
    assert told["failed"] == []
