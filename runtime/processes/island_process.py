"""A process of an island: a host, with wires to the controller and to the hosts of other islands."""

import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
from atoll.compiler.errors import AtollError
from atoll.runtime.devices import Devices
from atoll.runtime.failure import Failure
from atoll.runtime.host import Host
from atoll.runtime.inbox import Inbox
from atoll.runtime.messages import Close, GoesWithout, HostFailed, Load, Offer, Parted, ToController, Told
from atoll.runtime.processes.arrivals import Arrivals
from atoll.runtime.processes.assignment import Address, Assignment, Seat
from atoll.runtime.processes.greetings import Alive, Farewell, Here, LoadFar, Others, Unable
from atoll.runtime.processes.life import answer
from atoll.runtime.processes.line import Line
from atoll.runtime.processes.own_mesh import own_mesh
from atoll.runtime.processes.packing import pack
from atoll.runtime.processes.parcels import Parcels
from atoll.runtime.processes.partners import join_partners
from atoll.runtime.processes.settings import apply
from atoll.runtime.processes.tiles import Tiled, held
from atoll.runtime.processes.wire import Door, Wire, connect

# How often, in seconds, the interpreter goes from one thread to another that wants it: 50 times as often as it would by
# itself, as threads here wait for each other's messages.
_SWITCH = 1e-4


def serve(assignment: Assignment) -> None:
    """Be an island's host, until the controller lets go or is gone."""
    sys.setswitchinterval(_SWITCH)
    alive, over = connect(assignment.controller, assignment.secret), threading.Event()
    urgent: Inbox[GoesWithout] = Inbox()
    alive.send(pack(Alive(assignment.seat)))
    threading.Thread(target=_live, args=(alive, urgent.put, over), name="atoll is alive", daemon=True).start()
    wire = connect(assignment.controller, assignment.secret)
    try:
        join_partners(assignment, wire)
        IslandProcess(assignment, wire, urgent, over)
    except Exception as error:
        known = error if isinstance(error, AtollError) else AtollError(f"{type(error).__name__}: {error}")
        wire.send(pack(Unable(Failure.of(known))))
        wire.receive()  # until the controller lets go
        return
    over.wait()
    if assignment.processes > 1:
        os._exit(0)  # or it would wait for its partners, and some may be gone


def _live(wire: Wire, take: Callable[[GoesWithout], None], over: threading.Event) -> None:
    answer(wire, take)
    if not over.is_set():
        os._exit(1)  # at once: threads may be inside XLA, whose end nobody can wait for


class IslandProcess:
    """urgent: what the controller says that cannot wait. over: is set when the controller lets go."""

    def __init__(self, assignment: Assignment, wire: Wire, urgent: Inbox[GoesWithout], over: threading.Event) -> None:
        self._over = over
        self._assignment = assignment
        self._mesh = own_mesh(assignment)
        self._doors: dict[Seat, Address] = {}
        self._counts: Counter[int] = Counter()  # by host, how many processes it has
        self._lines: dict[Seat, Line] = {}  # to other processes
        self._arrivals = Arrivals(assignment.island, self._mesh)
        number, index = assignment.seat
        self._parcels = Parcels(index, assignment.processes)
        # Others reach it where the controller does.
        self._door = Door(wire.own_host, assignment.secret, self._let_in)
        self._controller = Line(wire, self._take, _nothing, "the controller")
        self._host = Host({assignment.island: self._mesh}, Devices(), self._tell, self._say, number)
        if assignment.processes > 1:
            threading.Thread(target=self._obey, args=(urgent,), name="atoll obeys at once", daemon=True).start()
        self._controller.say(Here(assignment.seat, self._door.address, os.getpid(), socket.gethostname()))

    def _take(self, message: Any) -> None:  # noqa: ANN401 (a message)
        """What the controller says."""
        match message:
            case Farewell():
                self._over.set()
            case Others(doors):
                self._doors.update(doors)
                self._counts.update(number for number, _ in doors)
            case LoadFar(load, settings):
                apply(settings)
                self._bring(replace(load, meshes={self._assignment.island: self._mesh}))
            case _:
                self._bring(message)

    def _obey(self, urgent: Inbox[GoesWithout]) -> None:
        while (message := urgent.get()) is not None:
            self._host.receive(message)

    def _tell(self, message: ToController) -> None:
        """Say something to the controller; of a value, what this process has."""
        if isinstance(message, (GoesWithout, HostFailed, Parted)):
            self._controller.say_at_once(message)
            return
        if isinstance(message, Told) and isinstance(message.answer, jax.Array):
            message = replace(message, answer=held(message.answer))
        self._controller.say(message)

    def _bring(self, message: Any) -> None:  # noqa: ANN401 (a message)
        try:
            match message:
                case Load():
                    self._parcels.note(message)
                case Close(program):
                    self._parcels.forget(program)
                case Offer():
                    self._hand_on(message)
            placed = self._arrivals.placed(message)
            if placed is not None:
                self._host.receive(placed)
        except Exception as error:
            self._host.fail(error)
            raise

    # Other hosts.

    def _let_in(self, wire: Wire) -> None:
        Line(wire, self._bring, _nothing, "another island")

    def _say(self, number: int, offer: Offer) -> None:
        """Say something to another host."""
        for index, parcel in self._parcels.parcels(offer, self._counts[number]):
            self._say_to((number, index), parcel)

    def _hand_on(self, offer: Offer) -> None:
        """Give others of this island what they need as well."""
        if isinstance(offer.value, Tiled):
            for index in dict.fromkeys(index for tile in offer.value.tiles for index in tile.onward):
                tiles = tuple(replace(one, onward=()) for one in offer.value.tiles if index in one.onward)
                self._say_to((self._host.number, index), replace(offer, value=replace(offer.value, tiles=tiles)))

    def _say_to(self, seat: Seat, offer: Offer) -> None:
        """To a process. One that cannot be reached is lost, or will be: the controller will tell."""
        if seat not in self._lines:
            try:
                wire = connect(self._doors[seat], self._assignment.secret)
            except OSError:
                return
            self._lines[seat] = Line(wire, _nothing, _nothing, "host {}, process {}".format(*seat))
        self._lines[seat].say(offer)


def _nothing(*_: object) -> None:
    pass
