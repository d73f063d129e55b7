"""The process of an island: a host, with wires to the controller and to the hosts of other islands."""

import os
import socket
import sys
import threading
from dataclasses import replace
from typing import Any

from atoll.compiler.errors import AtollError
from atoll.runtime.devices import Devices
from atoll.runtime.failure import Failure
from atoll.runtime.host import Host
from atoll.runtime.processes.arrivals import Arrivals
from atoll.runtime.processes.assignment import Address, Assignment
from atoll.runtime.processes.greetings import Alive, Farewell, Here, LoadFar, Others, Unable
from atoll.runtime.processes.life import answer
from atoll.runtime.processes.line import Line
from atoll.runtime.processes.own_mesh import own_mesh
from atoll.runtime.processes.packing import pack
from atoll.runtime.processes.settings import apply
from atoll.runtime.processes.wire import Door, Wire, connect

# How often, in seconds, the interpreter goes from one thread to another that wants it: 50 times as often as it would by
# itself, as threads here wait for each other's messages.
_SWITCH = 1e-4


def serve(assignment: Assignment) -> None:
    """Be an island's host, until the controller lets go or is gone."""
    sys.setswitchinterval(_SWITCH)
    alive, over = connect(assignment.controller, assignment.secret), threading.Event()
    alive.send(pack(Alive(assignment.number)))
    threading.Thread(target=_live, args=(alive, over), name="atoll is alive", daemon=True).start()
    wire = connect(assignment.controller, assignment.secret)
    try:
        IslandProcess(assignment, wire, over)
    except Exception as error:
        known = error if isinstance(error, AtollError) else AtollError(f"{type(error).__name__}: {error}")
        wire.send(pack(Unable(assignment.number, Failure.of(known))))
        wire.receive()  # until the controller lets go
        return
    over.wait()


def _live(wire: Wire, over: threading.Event) -> None:
    answer(wire)
    if not over.is_set():
        os._exit(1)  # at once: threads may be inside XLA, whose end nobody can wait for


class IslandProcess:
    """over: is set when the controller lets go."""

    def __init__(self, assignment: Assignment, wire: Wire, over: threading.Event) -> None:
        self._over = over
        self._assignment = assignment
        self._mesh = own_mesh(assignment)
        self._doors: dict[int, Address] = {}
        self._lines: dict[int, Line] = {}  # to the hosts of other islands
        self._arrivals = Arrivals(assignment.island, self._mesh)
        # Others reach it where the controller does.
        self._door = Door(wire.own_host, assignment.secret, self._let_in)
        self._controller = Line(wire, self._take, _nothing, "the controller")
        self._host = Host(
            {assignment.island: self._mesh}, Devices(), self._controller.say, self._say, assignment.number
        )
        self._controller.say(Here(assignment.number, self._door.address, os.getpid(), socket.gethostname()))

    def _take(self, message: Any) -> None:  # noqa: ANN401 (a message)
        """What the controller says."""
        match message:
            case Farewell():
                self._over.set()
            case Others(doors):
                self._doors.update(doors)
            case LoadFar(load, settings):
                apply(settings)
                self._bring(replace(load, meshes={self._assignment.island: self._mesh}))
            case _:
                self._bring(message)

    def _bring(self, message: Any) -> None:  # noqa: ANN401 (a message)
        try:
            placed = self._arrivals.placed(message)
            if placed is not None:
                self._host.receive(placed)
        except Exception as error:
            self._host.fail(error)
            raise

    # Other hosts.

    def _let_in(self, wire: Wire) -> None:
        Line(wire, self._bring, _nothing, "another island")

    def _say(self, number: int, offer: Any) -> None:  # noqa: ANN401 (an Offer)
        """Say something to another host. One that cannot be reached is lost, or will be: the controller will tell."""
        if number not in self._lines:
            try:
                wire = connect(self._doors[number], self._assignment.secret)
            except OSError:
                return
            self._lines[number] = Line(wire, _nothing, _nothing, f"host {number}")
        self._lines[number].say(offer)


def _nothing(*_: object) -> None:
    pass
