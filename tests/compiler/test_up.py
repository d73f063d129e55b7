"""`atoll up`, `status` and `down` as far as they need no processes."""

import pytest
from atoll.compiler.commands.cli import run_here
from atoll.compiler.commands.status import lines
from atoll.runtime.keeping.talk import Contents, Guest, Process, ProgramContents, Status

pytestmark = pytest.mark.own


@pytest.fixture(autouse=True)
def nothing_is_up(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOLL_UP", str(tmp_path / "up"))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("up", "error: no topology is given; name the islands: "),
        ("up --topology 2xcpu", "error: topology text, line 1, "),
        ("up --topology 1xcpu[1] --watchdog 0", "error: --watchdog is 0; give seconds above 0\n"),
        ("up --topology 1xcpu[1] --cluster up", 'error: --cluster is "up", which is what this starts; write "ray", '),
        ("status", 'error: no cluster is up here; start one with `atoll up --topology "..."`\n'),
        ("down", 'error: no cluster is up here; start one with `atoll up --topology "..."`\n'),
    ],
)
def test_what_cannot_be_is_told(command, told, capsys):
    assert run_here(_words(command)) == 1
    assert capsys.readouterr().err.startswith(told)


def _words(command):
    return [word.replace("1xcpu", "1 x cpu") for word in command.split()]


def test_what_is_up_is_listed():
    has = Contents((0, 0), 1, (ProgramContents(0, 3, 7, 1024), ProgramContents(1, None, 0, 512)), 5, 2048, 1 << 28)
    processes = [Process("a", 11, "here", "serves", has), Process("b", 12, "there", "has ended", None)]
    guest = Guest(9, "here", "train.py", 0.0)
    found = list(lines(Status(7, 0.0, "2 x cpu[1]", "ray", guest, processes, "no memory")))
    assert found[0].startswith("2 x cpu[1], up since 19")
    assert found[0].endswith(" on a Ray of its own, kept by process 7")
    assert found[1].startswith("used by process 9 (train.py) on here since 19")
    assert found[2:] == [
        "what is missing could not be started: no memory",
        "",
        "island a: process 11 on here serves",
        "  2.0 KiB in arrays, 256.0 MiB of memory",
        "  5 compiled fragments",
        "  program 0: 3 fragments compiled for it, 7 steps, 1.0 KiB in its arrays",
        "  program 1, which was closed: 512 B in its arrays",
        "",
        "island b: process 12 on there has ended",
    ]
