"""Ray places the processes of islands, starts them, and ends them. Nothing of a step goes through it.

Ray's driver is a process of its own, and so this one has neither Ray's threads nor its messages. And whatever ends this
process, that one is there to tidy up.
"""

import os
import pickle
import re
import secrets
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from atoll.compiler.errors import TopologyError, UsageError
from atoll.runtime.processes.assignment import Assignment, Seat

# How many seconds the driver has to tidy up before it is ended.
_TIDYING = 30.0

# How many seconds Ray may take to answer; it may have to start first.
_ANSWERING = 120.0

# How many seconds it may take to reach a Ray that runs.
_REACHING = 10.0

_ADDRESS = re.compile(r"ray|auto|[^\s:/]+:\d+")


class OnRay:
    """address: "ray" for a Ray of this cluster's own, on this machine; "auto" or "HOST:PORT" for one that runs already.

    The driver begins at once, so that it gets ready while this process does something else.
    """

    def __init__(self, address: str) -> None:
        if address.startswith("ray://"):
            remedy = 'run this on a machine of the cluster, with cluster="auto"'
            raise UsageError("ray:// is Ray's client, through which islands cannot be reached", remedy=remedy)
        if not _ADDRESS.fullmatch(address):
            remedy = 'write "ray", "auto", "HOST:PORT" or "up", or leave it out'
            raise UsageError(f"cluster is {address!r}, which says nowhere where islands are", remedy=remedy)
        if sys.modules.get("ray", True) is None or find_spec("ray") is None:
            remedy = "install it with `pip install 'atoll[ray]'`"
            raise UsageError("islands in processes of their own need Ray, which is not installed", remedy=remedy)
        if ":" in address:
            _check_answers(address)
        self._address = address
        self._asking = threading.Lock()
        self._driver = subprocess.Popen(
            [sys.executable, "-m", "atoll.runtime.processes.ray_driver", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(address),
            start_new_session=True,  # Ctrl-C is for this process
        )
        self._own_host: str | None = None

    @property
    def own_host(self) -> str:
        if self._own_host is None:
            self._own_host = str(self._answer())
        return self._own_host

    @property
    def is_own(self) -> bool:
        return self._address == "ray"

    def start(self, assignments: Sequence[Assignment]) -> None:
        if missing := self._ask(("missing", tuple(assignments))) or self._ask(("reserve", tuple(assignments))):
            raise TopologyError(str(missing), remedy="write a smaller topology, or take a Ray that has them")
        self._ask(("start", tuple(assignments)))

    def trouble(self) -> str:
        return str(self._ask(("trouble", None)))

    def end(self, seat: Seat) -> None:
        with suppress(TopologyError, OSError):  # the driver is gone, and so is the process
            self._ask(("end", seat))

    def close(self) -> None:
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        with suppress(OSError):
            self._driver.stdin.close()  # which it takes for the end
        try:
            self._driver.wait(_TIDYING)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()
        self._driver.stdout.close()

    def _ask(self, question: tuple[str, Any]) -> Any:  # noqa: ANN401 (the answer)
        assert self._driver.stdin is not None
        with self._asking:
            try:
                pickle.dump(question, self._driver.stdin)
                self._driver.stdin.flush()
            except (OSError, ValueError):
                raise TopologyError("Ray's driver has ended", remedy="make a new cluster") from None
            return self._answer()

    def _answer(self) -> Any:  # noqa: ANN401 (as above)
        """TopologyError if Ray could not do what it was asked for."""
        assert self._driver.stdout is not None
        try:
            if select.select([self._driver.stdout], [], [], _ANSWERING)[0]:
                fault, answer = pickle.load(self._driver.stdout)
            else:
                fault, answer = f"it has not answered for {_ANSWERING:g} seconds", None
        except EOFError:
            fault, answer = "its driver has ended", None
        if fault:
            remedy = "see whether `ray start --head` works here"
            if not self.is_own:
                remedy = 'see whether one runs, with `ray status`, or write cluster="ray", for which atoll starts one'
            raise TopologyError(f"Ray at {self._address!r}: {fault}", remedy=remedy)
        return answer


def _check_answers(address: str) -> None:
    """TopologyError if nobody listens there, which Ray itself would say only after minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _REACHING).close()
    except (OSError, OverflowError):
        remedy = 'see whether it runs, with `ray status`, or write cluster="ray"'
        raise TopologyError(f"no Ray answers at {address}", remedy=remedy) from None


def environment(address: str) -> dict[str, str]:
    """What the driver finds set: the same packages; and for an own Ray a token, which all must know who ask it."""
    own = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "RAY_DEDUP_LOGS": "0"}
    if address == "ray" and "RAY_AUTH_MODE" not in os.environ:
        # Ray runs what it is asked for. Without this it would keep a token in a file of the user's.
        own |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    # Ray lets its processes wait for all others of the machine, and so islands would for whatever runs beside them.
    return {"RAY_worker_niceness": "0"} | os.environ | own
