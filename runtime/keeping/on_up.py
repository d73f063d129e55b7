"""The processes of a cluster that `atoll up` has started, for one controller: its keeper lends them."""

import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from atoll.compiler.errors import AtollError, TopologyError
from atoll.runtime.keeping import record as records
from atoll.runtime.keeping.talk import Ask, Come, Guest, Reply, Sorry, Welcome
from atoll.runtime.processes.assignment import Assignment, Seat
from atoll.runtime.processes.packing import pack, unpack
from atoll.runtime.processes.wanted import Wanted
from atoll.runtime.processes.wire import Wire

# How many seconds the keeper may take to have all processes ready: some may have to start again.
_READY = 150.0

# How many seconds it may take to answer, and to hang up.
_ANSWERING, _PARTING = 60.0, 5.0


class OnUp:
    """As a `Launcher`. The processes are there already; they are this controller's until `close`."""

    def __init__(self, islands: Sequence[Wanted], where: Path | None = None) -> None:
        record, self._wire = records.reached(where or records.path())
        self._asking = threading.Lock()
        try:
            _check_versions(record)
            welcome = self._say(Come(_guest(), tuple(islands)), _READY)
        except BaseException:
            self._wire.close()
            raise
        # On this machine they find the modules that this process finds.
        self._path = tuple(str(Path(one).resolve()) for one in sys.path) if welcome.finds else ()

    is_own = False  # others wait for them

    @property
    def own_host(self) -> str:
        return self._wire.own_host

    def start(self, assignments: Sequence[Assignment]) -> None:
        self._ask("start", tuple(replace(one, path=self._path) for one in assignments))

    def trouble(self) -> str:
        return str(self._ask("trouble"))

    def end(self, seat: Seat) -> None:
        with suppress(AtollError):  # the keeper is gone, and so is the process
            self._ask("end", seat)

    def close(self) -> None:
        """Hang up, and wait until the keeper has heard it: whoever asks next for the islands is not to be refused."""
        self._wire.end(_PARTING)

    def _ask(self, name: str, argument: object = None) -> Any:  # noqa: ANN401 (the answer)
        return self._say(Ask(name, argument), _ANSWERING).told

    def _say(self, message: object, patience: float) -> Any:  # noqa: ANN401 (Welcome or Reply)
        with self._asking:
            answer = exchange(self._wire, message, patience)
        assert isinstance(answer, (Welcome, Reply))
        return answer


def exchange(wire: Wire, message: object, patience: float) -> Any:  # noqa: ANN401 (the answer)
    """What the keeper answers; its error if it says that it is sorry."""
    try:
        wire.send(pack(message))
        parts = wire.receive(patience)
    except TimeoutError:
        raise TopologyError(f"the cluster that is up has not answered for {patience:g} seconds") from None
    except OSError:
        parts = None
    if wire.is_given_up:
        raise TopologyError("the cluster that is up did not answer an earlier question in time")
    if parts is None:
        raise TopologyError("the cluster that was up has ended", remedy='start one with `atoll up --topology "..."`')
    answer = unpack(parts)
    if isinstance(answer, Sorry):
        raise TopologyError(answer.why.what, remedy=answer.why.remedy)
    return answer


def _guest() -> Guest:
    program = Path(getattr(sys.modules.get("__main__"), "__file__", None) or sys.argv[0] or "python").name
    return Guest(os.getpid(), socket.gethostname(), program, time.time())


def _check_versions(record: records.UpRecord) -> None:
    """TopologyError if the two sides might not understand each other, or compile differently."""
    for name, own in records.versions().items():
        if (its := record.versions.get(name)) != own:
            what = f"the cluster that is up has {name} {its}, and this process {name} {own}"
            raise TopologyError(what, remedy="end it with `atoll down`, and start it from this environment")
