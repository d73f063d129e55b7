"""What `ATOLL_LOG` asks for."""

import logging
import subprocess
import sys

import pytest
from atoll.compiler.logs import follow_environment, told

pytestmark = pytest.mark.own


@pytest.fixture(autouse=True)
def as_it_was():
    logger = logging.getLogger("atoll")
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def said(capsys):
    log = logging.getLogger("atoll.compiler.lowered")
    log.debug("tracing")
    log.info("pass %s", "cse")
    log.error("lost")
    return capsys.readouterr().err


def test_a_level_is_told_with_time_and_place(capsys):
    follow_environment({"ATOLL_LOG": "INFO"})
    first, second = said(capsys).splitlines()
    assert first.endswith(" INFO atoll.compiler.lowered: pass cse")
    assert second.endswith(" ERROR atoll.compiler.lowered: lost")


def test_without_it_nothing_changes(capsys):
    before = logging.getLogger("atoll").handlers[:]
    follow_environment({})
    follow_environment({"ATOLL_LOG": ""})
    assert logging.getLogger("atoll").handlers == before


def test_what_is_no_level_is_said_and_stops_nothing(capsys):
    follow_environment({"ATOLL_LOG": "verbose"})
    assert (
        "ATOLL_LOG is verbose, which is no level; write one of debug, info, warning, error" in capsys.readouterr().err
    )
    assert len(said(capsys).splitlines()) == 1


@pytest.mark.parametrize(
    ("is_verbose", "level", "expected"),
    [
        (False, "", "lost\n"),
        (True, "", "pass cse\nlost\n"),
        (True, "error", "pass cse\nlost\n"),
    ],
)
def test_commands_say_what_is_asked_for_and_leave_no_trace(is_verbose, level, expected, capsys):
    logger = logging.getLogger("atoll")
    before = logger.handlers[:], logger.level
    with told(is_verbose, {"ATOLL_LOG": level}):
        assert said(capsys) == expected
    assert (logger.handlers, logger.level) == before


def test_a_command_adds_to_what_the_environment_asks_for(capsys):
    follow_environment({"ATOLL_LOG": "debug"})
    with told(True, {"ATOLL_LOG": "debug"}):
        assert [line.rpartition(": ")[2] for line in said(capsys).splitlines()] == ["tracing", "pass cse", "lost"]


def test_it_holds_in_python_and_for_commands():
    program = (
        "import atoll, logging; logging.getLogger('atoll.x').info('seen'); print('jax' in __import__('sys').modules)"
    )
    environment = {"ATOLL_LOG": "info", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "False\n"
    assert done.stderr.endswith("INFO atoll.x: seen\n")
