"""What `ATOLL_LOG` asks for."""

import logging
import subprocess
import sys

import pytest
from atoll.compiler.logs import follow_environment, to_standard_error

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
    assert follow_environment({"ATOLL_LOG": "INFO"})
    first, second = said(capsys).splitlines()
    assert first.endswith(" INFO atoll.compiler.lowered: pass cse")
    assert second.endswith(" ERROR atoll.compiler.lowered: lost")


def test_without_it_nothing_changes(capsys):
    before = logging.getLogger("atoll").handlers[:]
    assert not follow_environment({})
    assert not follow_environment({"ATOLL_LOG": ""})
    assert logging.getLogger("atoll").handlers == before


def test_what_is_no_level_is_said_and_stops_nothing(capsys):
    assert follow_environment({"ATOLL_LOG": "verbose"})
    assert "ATOLL_LOG=verbose is no level; write one of debug, info, warning, error" in capsys.readouterr().err
    assert len(said(capsys).splitlines()) == 1


def test_whoever_asks_last_is_told_once(capsys):
    to_standard_error("info")
    to_standard_error("debug")
    assert said(capsys) == "tracing\npass cse\nlost\n"


def test_it_holds_in_python_and_for_commands():
    program = (
        "import atoll, logging; logging.getLogger('atoll.x').info('seen'); print('jax' in __import__('sys').modules)"
    )
    environment = {"ATOLL_LOG": "info", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "False\n"
    assert done.stderr.endswith("INFO atoll.x: seen\n")
