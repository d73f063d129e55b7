"""What `--times` counts."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import standing_python
from times import Times, spent, table

pytestmark = pytest.mark.own

BUSY = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def test_sums_of_each_folder_the_largest_first():
    names = (
        "tests/passes/test_a.py::test_b[a/b]",
        "tests/passes/test_c.py::test_d",
        "docs/a.md::line:1",
        "README.md::l",
    )
    lines = [json.dumps([name, number, 2 * number]) for number, name in enumerate(names)]
    assert [line.split() for line in table(lines)] == [
        ["tests", "processor", "s", "wall", "s"],
        ["all", "4", "6.0", "12.0"],
        ["README.md", "1", "3.0", "6.0"],
        ["docs", "1", "2.0", "4.0"],
        ["tests/passes", "2", "1.0", "2.0"],
    ]


def test_a_test_is_a_line(tmp_path):
    (tmp_path / "times").write_text("of before\n")
    times = Times(tmp_path / "times", is_first=True)
    hook = times.pytest_runtest_protocol(SimpleNamespace(nodeid="a::b"))
    next(hook)
    with pytest.raises(StopIteration) as ended:
        hook.send(True)
    assert ended.value.value is True
    [line] = (tmp_path / "times").read_text().splitlines()
    assert json.loads(line)[0] == "a::b"


def test_what_is_started_counts():
    before = spent()
    subprocess.run([sys.executable, "-c", BUSY], check=True)
    assert spent() - before >= 0.3
    before = spent()
    for command in (BUSY, ""):  # the first is seen when the second asks
        subprocess.run(["python", "-c", command], env=standing_python.settings(), check=True)
    assert spent() - before >= 0.3
