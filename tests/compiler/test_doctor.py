"""`atoll doctor`: what facts mean, how others are asked for them, and what is printed."""

import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from atoll.compiler.commands import doctor
from atoll.compiler.commands.cli import run_here
from atoll.compiler.doctor.asking import DEVICES, Answer, answer, ask, last_line
from atoll.compiler.doctor.facts import Facts, _can_write, relevant
from atoll.compiler.doctor.findings import KNOWN, TESTED, findings
from atoll.compiler.doctor.requirements import Requirement, installed, numbers, read

pytestmark = pytest.mark.own

ROOT = Path(__file__).resolve().parents[2]

WELL = Facts(
    atoll="0.1.0",
    python="3.11.7",
    system="Linux",
    cores=2,
    memory=2**34,
    requirements=(
        Requirement("jax", "0.10.2", "", "0.10.2"),
        Requirement("lark", "1.3", "", "1.3.1"),
        Requirement("ray", "2.60", "ray", None),
    ),
    environment={"JAX_PLATFORMS": "cpu"},
    devices=Answer([["cpu", "cpu", 8]], "", 1.0),
    trial=Answer(True, "", 2.0),
    not_writable=(),
)


def told(**changed):
    return [(one.fails, str(one)) for one in findings(replace(WELL, **changed))]


def failed(trouble):
    return Answer(None, trouble, 1.0)


# What facts mean.


def test_where_all_is_well_nothing_is_found():
    assert told() == []


@pytest.mark.parametrize(
    ("changed", "fails", "sentence"),
    [
        ({"atoll": None}, True, "atoll was not installed, so its versions are not known; pip install it"),
        (
            {"requirements": (Requirement("scipy", "1.14"),)},
            True,
            "scipy is not installed; pip install 'scipy>=1.14'",
        ),
        (
            {"requirements": (Requirement("jax", "0.10.2", "", "0.9.8"),)},
            True,
            "jax 0.9.8 is older than 0.10.2, which atoll needs; pip install --upgrade 'jax>=0.10.2'",
        ),
        (
            {"requirements": (Requirement("ray", "2.60", "ray", "2.9"),)},
            True,
            "ray 2.9 is older than 2.60, which atoll[ray] needs; pip install --upgrade 'atoll[ray]'",
        ),
        (
            {"requirements": (Requirement("jax", "0.10.2", "", "0.13.1"),)},
            False,
            "nothing was tried with jax 0.13.1 and Python 3.11; tested are jax 0.10.2 with Python 3.11, ",
        ),
        (
            {"devices": failed("it has not answered within 60 s"), "environment": {}},
            True,
            "jax gives no devices: it has not answered within 60 s; set JAX_PLATFORMS=cpu, or ",
        ),
        (
            {"devices": failed("it has not answered within 60 s"), "environment": {"JAX_PLATFORMS": "cpu"}},
            True,
            "jax gives no devices: it has not answered within 60 s; wait until the machine is less busy, or give ",
        ),
        (
            {"devices": failed("Unknown backend potato."), "environment": {"JAX_PLATFORMS": "potato,cpu"}},
            True,
            "jax gives no devices: Unknown backend potato; correct JAX_PLATFORMS, which is potato,cpu, or leave it out",
        ),
        (
            {"devices": failed("Unknown flag in XLA_FLAGS: --x"), "environment": {"XLA_FLAGS": "--x"}},
            True,
            "jax gives no devices: Unknown flag in XLA_FLAGS: --x; correct XLA_FLAGS, which is --x",
        ),
        (
            {"trial": failed("ValueError: no")},
            True,
            "a program on two islands of one CPU device each fails: ValueError: no; see docs/errors.md, or ",
        ),
        ({"trial": Answer(False, "", 1.0)}, True, "a program on islands computes other values than jax.jit; report"),
        (
            {"environment": {}, "requirements": (Requirement("libtpu", "0.0.51", "tpu", "0.0.52"),)},
            False,
            "libtpu is installed where there is no TPU, so jax looks for one in every process; set JAX_PLATFORMS=cpu ",
        ),
        ({"environment": {"ATOLL_DUMPDIR": "x"}}, False, "ATOLL_DUMPDIR is set, which atoll does not know; it has "),
        ({"environment": {"ATOLL_LOG": "loud"}}, False, "ATOLL_LOG is loud, which is no level; write one of debug"),
        (
            {"environment": {"ATOLL_DUMP_DIR": "/tmp"}},
            False,
            "every compilation writes its IR after every pass to /tmp; unset ATOLL_DUMP_DIR if that is not meant",
        ),
        (
            {"environment": {"JAX_PLATFORMS": "tpu"}},
            False,
            "JAX_PLATFORMS is tpu, so there are no CPU devices; write tpu,cpu for islands of them",
        ),
        (
            {"environment": {"ATOLL_CACHE_DIR": "/proc/x"}, "not_writable": ("ATOLL_CACHE_DIR",)},
            False,
            "ATOLL_CACHE_DIR is /proc/x, which cannot be written to; name a folder of yours, or nothing is kept",
        ),
    ],
)
def test_what_would_fail_or_is_worth_knowing_is_one_sentence(changed, fails, sentence):
    [(found, text)] = told(**changed)
    assert found is fails
    assert text.startswith(sentence)


def test_what_would_fail_comes_first():
    found = told(environment={"ATOLL_LOG": "loud"}, trial=failed("no"))
    assert [fails for fails, _ in found] == [True, False]


def test_the_versions_that_are_tested_are_those_of_the_documents():
    table = re.findall(r"^\| (3\.\d+) \| ([\d.]+) \|", (ROOT / "docs" / "testing.md").read_text(), re.MULTILINE)
    assert dict(table) == TESTED


def test_the_variables_are_those_that_the_code_and_the_documents_have():
    text = "".join(path.read_text() for folder in ("compiler", "runtime") for path in (ROOT / folder).rglob("*.py"))
    assert set(re.findall(r'= "(ATOLL_[A-Z_]+)"', text)) == KNOWN
    table = (ROOT / "docs" / "messages.md").read_text().partition("## Variables")[2]
    assert set(re.findall(r"^\| `(ATOLL_[A-Z_]+)`", table, re.MULTILINE)) == KNOWN


# What is installed.


def test_requirements_are_read_as_metadata_writes_them():
    lines = ["jax>=0.10.2", "lark", 'ray>=2.60; extra == "ray"', "atoll[ray]; extra == 'test'", "ruff; extra=='test'"]
    assert read(lines, {"jax": "0.11", "ruff": "1"}) == [
        Requirement("jax", "0.10.2", "", "0.11"),
        Requirement("lark", "", "", None),
        Requirement("ray", "2.60", "ray", None),
    ]


def test_versions_are_compared_as_numbers():
    assert numbers("0.9") < numbers("0.10.2") < numbers("0.12.0.dev20261101") < numbers("1")
    assert numbers("unknown") == ()


def test_what_is_installed_here_is_found():
    version, found = installed()
    assert version is not None
    assert {one.name for one in found if not one.extra} >= {"jax", "jaxlib", "lark", "numpy"}
    assert all(one.version and not one.is_old for one in found if not one.extra)
    assert "test" not in {one.extra for one in found}


def test_only_variables_that_matter_are_told():
    assert relevant({"HOME": "/root", "XLA_FLAGS": "x", "ATOLL_NEW": "1"}) == {"ATOLL_NEW": "1", "XLA_FLAGS": "x"}


def test_a_folder_that_is_yet_to_be_made_can_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    assert _can_write(str(tmp_path / "a" / "b"))
    assert not _can_write(str(tmp_path / "file"))
    assert not _can_write(str(tmp_path / "file" / "b"))


# How others are asked.


@pytest.mark.parametrize(
    ("ended", "value", "trouble"),
    [
        ((0, "hello\n[1]\n", ""), [1], ""),
        ((0, "", ""), None, "it printed something else than it should"),
        ((0, "hello", ""), None, "it printed something else than it should"),
        ((1, "", "Traceback:\n  File\nValueError: no\n  more\n"), None, "ValueError: no"),
        ((3, "", ""), None, "it ended with 3"),
        ((-signal.SIGABRT, "", "F0 Unknown flag\n"), None, "a native library ended it (SIGABRT): F0 Unknown flag"),
        ((-signal.SIGSEGV, "", ""), None, "a native library ended it (SIGSEGV)"),
    ],
)
def test_the_end_of_a_program_is_an_answer(ended, value, trouble):
    assert answer(*ended, 1.0) == Answer(value, trouble, 1.0)


def test_a_program_that_hangs_is_given_up():
    found = ask("import time; time.sleep(60)", 0.2)
    assert (found.value, found.trouble) == (None, "it has not answered within 0.2 s")


def test_the_last_line_of_an_error_is_its_sentence():
    assert last_line("a\nError: b\n  x @ y\n    ^\n\n") == "Error: b"
    assert last_line("") == ""
    assert last_line("F1129 21:06:01.468249    4005 flags.cc:234] Unknown flag: --x\n") == "Unknown flag: --x"


def test_jax_is_asked_for_its_devices():
    assert ["cpu", "cpu"] in [found[:2] for found in ask(DEVICES, 120).value]


# What is printed.


@pytest.fixture
def facts(monkeypatch):
    def give(facts):
        monkeypatch.setattr(doctor, "gather", lambda patience: facts)

    return give


def test_it_prints_what_is_here(facts, capsys):
    facts(WELL)
    assert run_here(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "atoll 0.1.0",
        "Python 3.11.7 on Linux, 2 cores, 16.0 GiB",
        "",
        "needed            jax 0.10.2, lark 1.3.1",
        "atoll[ray]        no ray",
        "devices           8 x cpu (cpu)",
        "trial             a function on two islands computes what jax.jit computes",
        "environment       JAX_PLATFORMS=cpu",
        "",
        "nothing would fail",
    ]


def test_what_would_fail_is_listed_and_decides_the_status(facts, capsys):
    facts(replace(WELL, devices=failed("no"), trial=failed("there are no devices"), environment={"ATOLL_LOG": "loud"}))
    assert run_here(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[5:] == [
        "devices           none",
        "trial             failed",
        "environment       ATOLL_LOG=loud",
        "",
        "would fail:",
        "  jax gives no devices: no; set JAX_PLATFORMS=cpu, or repair or remove the plugin of jax's that is at fault",
        "worth knowing:",
        "  ATOLL_LOG is loud, which is no level; write one of debug, info, warning, error",
    ]


def test_for_programs_it_prints_json(facts, capsys):
    facts(replace(WELL, trial=Answer(False, "", 1.0)))
    assert run_here(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["versions"] == {"python": "3.11.7", "atoll": "0.1.0", "jax": "0.10.2", "lark": "1.3.1", "ray": None}
    assert found["devices"]["value"] == [["cpu", "cpu", 8]]
    assert [(one["fails"], one["remedy"]) for one in found["findings"]] == [(True, "report it with this output")]


def test_a_time_that_is_none_is_refused(capsys):
    assert run_here(["doctor", "--timeout", "0"]) == 1
    assert capsys.readouterr().err.startswith("error: --timeout is 0; give seconds above 0\n")
