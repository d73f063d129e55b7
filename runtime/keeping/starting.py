"""Starts a keeper, as `atoll up` does, and asks one that is there, as `atoll status` and `atoll down` do."""

import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from atoll.compiler.errors import TopologyError
from atoll.runtime.failure import Failure
from atoll.runtime.keeping import record as records
from atoll.runtime.keeping.keeper import Keeping
from atoll.runtime.keeping.on_up import exchange
from atoll.runtime.keeping.talk import Ended, Finish, Look, Status
from atoll.runtime.processes.on_ray import environment

# How many seconds the keeper may take to say what there is, which waits for processes that tidy up, and to end all.
_ANSWERING, _ENDING = 60.0, 60.0


def started(asked: Keeping) -> records.UpRecord:
    """The record of a keeper that has all processes ready; TopologyError if they cannot be had."""
    keeper = subprocess.Popen(
        [sys.executable, "-m", "atoll.runtime.keeping"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(asked.cluster),
        start_new_session=True,  # Ctrl-C, and the end of a terminal, are not for it
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    with keeper.stdout:
        try:
            pickle.dump(asked, keeper.stdin)
            keeper.stdin.flush()  # left open: to close it says that nobody waits
            told: Any = pickle.load(keeper.stdout)
        except (EOFError, OSError):
            keeper.kill()  # if it has only closed its side
            keeper.wait()
            what = "what keeps the processes has ended before they were ready"
            raise TopologyError(what, remedy="what it has printed above says why") from None
        finally:
            with suppress(OSError):  # what has ended does not hear it
                keeper.stdin.close()
    if isinstance(told, Failure):
        keeper.wait()
        raise TopologyError(told.what, remedy=told.remedy)
    assert isinstance(told, records.UpRecord)
    keeper.returncode = 0  # it stays, and Python need not warn of that
    return told


def status(where: Path) -> Status:
    """What is up; UsageError if nothing is."""
    _, wire = records.reached(where)
    try:
        told = exchange(wire, Look(), _ANSWERING)
    finally:
        wire.close()
    assert isinstance(told, Status)
    return told


def end(where: Path, *, force: bool) -> int:
    """Finish what is up, and say how many processes that were; UsageError if nothing is."""
    _, wire = records.reached(where)
    try:
        told = exchange(wire, Finish(force), _ENDING)
        wire.receive(_ENDING)  # until the keeper itself has ended
    finally:
        wire.close()
    assert isinstance(told, Ended)
    return told.count
