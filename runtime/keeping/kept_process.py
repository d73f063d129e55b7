"""A process of an island that serves one controller after another, as a keeper says."""

import gc
import os
import socket
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import jax
from atoll.compiler.errors import AtollError
from atoll.runtime.devices import Devices
from atoll.runtime.failure import Failure
from atoll.runtime.keeping.talk import Cleared, Contents, Describe, Deserted, Leave, ProgramContents, Serve
from atoll.runtime.kept_executables import KeptExecutables
from atoll.runtime.processes.assignment import Assignment
from atoll.runtime.processes.greetings import Alive, Farewell, Here, Unable
from atoll.runtime.processes.island_process import SWITCH, IslandProcess, attend
from atoll.runtime.processes.life import answer
from atoll.runtime.processes.line import Line
from atoll.runtime.processes.own_mesh import own_mesh
from atoll.runtime.processes.packing import pack
from atoll.runtime.processes.partners import join_partners
from atoll.runtime.processes.wire import Wire, connect

# How many seconds each of these may take, once a controller is gone: what is under way to end, threads, and arrays. It
# is next to nothing, unless something hangs, or the machine has other things to do.
_CLEARING = 10.0

# How many seconds until it looks again whether all arrays are gone.
_PAUSE = 0.05


def stay(assignment: Assignment) -> None:
    """Serve one controller after another, until the keeper is gone or has no need of this process any more."""
    sys.setswitchinterval(SWITCH)
    alive = connect(assignment.controller, assignment.secret)
    alive.send(pack(Alive(assignment.seat)))
    threading.Thread(target=_live, args=(alive, assignment.patience), name="atoll is alive", daemon=True).start()
    wire = connect(assignment.controller, assignment.secret)
    try:
        join_partners(assignment, wire)
        mesh = own_mesh(assignment)
    except Exception as error:
        known = error if isinstance(error, AtollError) else AtollError(f"{type(error).__name__}: {error}")
        wire.send(pack(Unable(Failure.of(known))))
        wire.receive()  # until the keeper lets go
        return
    process = KeptProcess(assignment, mesh)
    process.line = Line(wire, process.take, _end, "the keeper")
    process.line.say(Here(assignment.seat, ("", 0), os.getpid(), socket.gethostname()))
    threading.Event().wait()  # one of the threads ends the process


def _live(wire: Wire, patience: float | None) -> None:
    answer(wire, lambda _: None, patience)
    _end()


def _end() -> None:
    # At once: threads may be inside XLA, whose end nobody can wait for, and partners of an island may be gone.
    os._exit(0)


class KeptProcess:
    """Has the island's devices, and what was compiled for them. line: to the keeper."""

    line: Line

    def __init__(self, assignment: Assignment, mesh: jax.sharding.Mesh) -> None:
        self._seat = assignment.seat
        self._mesh = mesh
        self._kept = KeptExecutables()
        self._over = threading.Event()
        self._telling = threading.Lock()  # so that what was true before it was free is not told after that
        self._serving: IslandProcess | None = None

    def take(self, message: Any) -> None:  # noqa: ANN401 (a message)
        """What the keeper says."""
        match message:
            case Serve(assignment):
                self._over = threading.Event()
                threading.Thread(target=self._serve, args=(assignment, self._over), name="atoll serves").start()
            case Leave():
                self._over.set()
            case Describe(request):
                with self._telling:
                    self.line.say(self._described(request))
            case Farewell():
                _end()

    def _serve(self, assignment: Assignment, over: threading.Event) -> None:
        """Be the process of a controller, and forget it when it is gone."""
        before = set(threading.enumerate())
        with _looking_in(assignment.path):
            is_clean = self._is_served(assignment, over)
        self._serving = None
        if not (is_clean and _have_ended(set(threading.enumerate()) - before) and _arrays_are_gone()):
            # What is under way cannot be broken off, and what a function of the user's has done is not known; nor
            # would its module be read again, which may be another one by then. The keeper starts another process.
            _end()
        with self._telling:
            self._kept.end()
            self.line.say(Cleared(self._seat))

    def _is_served(self, assignment: Assignment, over: threading.Event) -> bool:
        """Serve, and say whether the process is as it was before."""

        def gone(is_silent: bool) -> None:
            if is_silent:
                self.line.say(Deserted(self._seat))
            over.set()

        try:
            serving = attend(assignment, lambda _: self._mesh, Devices(kept=self._kept), over, gone)
        except OSError:  # the controller is gone already
            return True
        if serving is None:
            return True
        self._serving = serving
        over.wait()
        return serving.end(_CLEARING) and not serving.has_called

    def _described(self, request: int) -> Contents:
        serving = self._serving
        programs, owned = ({}, {}) if serving is None else (serving.programs.copy(), serving.owned())
        told = [
            ProgramContents(number, one.compilations, one.steps, _bytes_of(owned.get(number, ())))
            for number, one in programs.items()
            if one.is_run
        ]
        told += [
            ProgramContents(number, None, 0, _bytes_of(values))
            for number, values in owned.items()
            if number not in programs
        ]
        return Contents(self._seat, request, tuple(told), len(self._kept), _bytes_of(_live_arrays()), _resident())


def _have_ended(threads: Collection[threading.Thread]) -> bool:
    """Whether these end in time; what a thread works on cannot be let go of before."""
    until = time.monotonic() + _CLEARING
    for one in threads:
        one.join(max(0.0, until - time.monotonic()))
    return not any(one.is_alive() for one in threads)


def _arrays_are_gone() -> bool:
    """Whether nothing is on the devices any more, or will not be in time."""
    until = time.monotonic() + _CLEARING
    while gc.collect() or _live_arrays():
        if time.monotonic() > until:
            return False
        time.sleep(_PAUSE)
    return True


def _live_arrays() -> Sequence[jax.Array]:
    found: Sequence[jax.Array] = jax.live_arrays()  # type: ignore[no-untyped-call] # jax's
    return found


@contextmanager
def _looking_in(folders: Sequence[str]) -> Iterator[None]:
    """Meanwhile, modules are looked for in these folders as well."""
    before = sys.path[:]
    sys.path += [one for one in folders if one not in before]
    try:
        yield
    finally:
        sys.path[:] = before


def _bytes_of(values: Sequence[Any]) -> int:
    """What those that are arrays take on devices of this process."""
    return sum(
        prod(one.sharding.shard_shape(one.shape)) * one.dtype.itemsize * len(one.sharding.addressable_devices)
        for one in values
        if isinstance(one, jax.Array) and not one.is_deleted()
    )


def _resident() -> int:
    """The memory of this process, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
