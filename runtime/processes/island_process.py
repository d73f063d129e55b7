"""A process of an island: a host, with wires to the controller and to the hosts of other islands."""

import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import jax
from atoll.compiler.errors import AtollError
from atoll.runtime.devices import Devices
from atoll.runtime.failure import Failure
from atoll.runtime.fed import Fed
from atoll.runtime.host import Host
from atoll.runtime.inbox import Inbox
from atoll.runtime.messages import (
    Apply,
    Close,
    GoesWithout,
    HostFailed,
    Load,
    Loaded,
    Lose,
    Offer,
    Parted,
    Start,
    StepEnded,
    ToController,
    ToHost,
    Told,
)
from atoll.runtime.processes.applying import Applying
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
from atoll.runtime.processes.small_values import Small, SmallArrival, SmallSends
from atoll.runtime.processes.tiles import Tiled, held
from atoll.runtime.processes.wire import Door, Wire, connect

# How often, in seconds, the interpreter goes from one thread to another that wants it: 50 times as often as it would by
# itself, as threads here wait for each other's messages.
SWITCH = 1e-4


def serve(assignment: Assignment) -> None:
    """Be an island's host, until the controller lets go or is gone."""
    sys.setswitchinterval(SWITCH)
    over = threading.Event()

    def gone(_: bool) -> None:
        if not over.is_set():
            os._exit(1)  # at once: threads may be inside XLA, whose end nobody can wait for

    def mesh(wire: Wire) -> jax.sharding.Mesh:
        join_partners(assignment, wire)
        return own_mesh(assignment)

    if attend(assignment, mesh, Devices(), over, gone) is None:
        return
    over.wait()
    if assignment.processes > 1:
        os._exit(0)  # or it would wait for its partners, and some may be gone


def attend(
    assignment: Assignment,
    mesh: Callable[[Wire], jax.sharding.Mesh],
    devices: Devices,
    over: threading.Event,
    gone: Callable[[bool], None],
) -> "IslandProcess | None":
    """Come to a controller and be its process; None if that cannot be, which the controller was told.

    mesh: gives the island's devices; it may have to ask the controller. over: is set when the controller lets go.
    gone: is called on another thread when the controller is not there any more, whether it has let go or not; with
        whether the connection is still there, and it has only said nothing for too long.
    """
    wires = connect(assignment.controller, assignment.secret), connect(assignment.controller, assignment.secret)
    wire, alive = wires
    urgent: Inbox[GoesWithout | None] = Inbox()

    def live() -> None:
        gone(answer(alive, urgent.put, assignment.patience))

    alive.send(pack(Alive(assignment.seat)))
    threading.Thread(target=live, name="atoll is alive", daemon=True).start()
    try:
        return IslandProcess(assignment, mesh(wire), devices, wires, urgent, over)
    except Exception as error:
        known = error if isinstance(error, AtollError) else AtollError(f"{type(error).__name__}: {error}")
        wire.send(pack(Unable(Failure.of(known))))
        wire.receive()  # until the controller lets go
        return None


@dataclass
class Loading:
    """A program that a process has. is_run: whether its island runs some of it. compilations: how many fragments."""

    is_run: bool
    compilations: int = 0
    steps: int = 0


class IslandProcess:
    """wires: to the controller; the second one is for signs of life. urgent: what the controller says that cannot wait.

    over: is set when the controller lets go.
    """

    def __init__(
        self,
        assignment: Assignment,
        mesh: jax.sharding.Mesh,
        devices: Devices,
        wires: tuple[Wire, Wire],
        urgent: Inbox[GoesWithout | None],
        over: threading.Event,
    ) -> None:
        self._over = over
        self._assignment = assignment
        self._mesh = mesh
        self._alive = wires[1]
        self._urgent = urgent
        self._hung_up = threading.Event()  # the controller will say nothing more
        self._others: tuple[str, ...] = ()  # other islands
        self._visitors: list[Wire] = []  # from other processes
        self.programs: dict[int, Loading] = {}
        self.has_called = False  # a function of the user's
        self._doors: dict[Seat, Address] = {}
        self._counts: Counter[int] = Counter()  # by host, how many processes it has
        self._lines: dict[Seat, Line] = {}  # to other processes
        self._arrivals = Arrivals(assignment.island, self._mesh)
        number, index = assignment.seat
        self._parcels = Parcels(index, assignment.processes)
        self._small = SmallSends(assignment.island)
        # Others reach it where the controller does.
        self._door = Door(wires[0].own_host, assignment.secret, self._let_in)
        self._applying = Applying(lambda told: self._controller.say(told))
        self._host = Host({assignment.island: mesh}, devices, self._tell, self._say, number)
        # A thread that waits for partners in a collective must go on reading: they may need what comes here first.
        self._take_up = self._host.bring if assignment.processes == 1 else self._host.receive
        self._controller = Line(wires[0], self._take, self._hung_up.set, "the controller")
        if assignment.processes > 1:
            threading.Thread(target=self._obey, name="atoll obeys at once", daemon=True).start()
        self._controller.say(Here(assignment.seat, self._door.address, os.getpid(), socket.gethostname()))

    def _take(self, message: Any) -> None:  # noqa: ANN401 (a message)
        """What the controller says."""
        match message:
            case Farewell():
                self._over.set()
            case Others(doors, islands):
                self._others = tuple(name for name in islands if name != self._assignment.island)
                self._doors.update(doors)
                self._counts.update(number for number, _ in doors)
            case LoadFar(load, settings):
                apply(settings)
                self._bring(replace(load, meshes={self._assignment.island: self._mesh}))
            case Apply():
                if (fetch := self._applying.expect(message)) is not None:
                    self._bring(fetch)
            case _:
                self._bring(message)

    def _obey(self) -> None:
        while (message := self._urgent.get()) is not None:
            self._host.receive(message)

    def owned(self) -> Mapping[int, Sequence[Any]]:
        """The values that are here, by the programs that they belong to."""
        return self._host.owned()

    def end(self, patience: float) -> bool:
        """Forget the controller and all that is here for it; whether that came to an end in so many seconds, each.

        What is under way cannot be broken off: XLA may be compiling, or a function of the user's may be called.
        """
        self._alive.close()
        self._controller.close()
        if not self._hung_up.wait(patience):
            return False
        self._host.receive(Lose(self._others, Failure("the controller is gone")))
        for program in self.programs:
            self._host.receive(Close(program))
        self._host.join(patience)
        self._door.close()
        for line in self._lines.values():
            line.close()
        for wire in self._visitors:
            wire.close()
        self._urgent.put(None)
        return self._host.is_idle

    def _tell(self, message: ToController) -> None:
        """Say something to the controller; of a value, what this process has."""
        if isinstance(message, (GoesWithout, HostFailed, Parted)):
            self._controller.say_at_once(message)
            return
        if isinstance(message, Told) and self._applying.take(message):
            return
        match message:
            case Told(answer=jax.Array()):
                message = replace(message, answer=held(message.answer))
            case Loaded(program, compilations=compilations):
                self.programs[program].compilations = compilations
            case StepEnded(program) if program in self.programs:
                self.programs[program].steps += 1
        self._controller.say(message)

    def _bring(self, message: Any) -> None:  # noqa: ANN401 (a message)
        try:
            if not isinstance(message, SmallArrival):  # as most are, of which only the host is told
                self._note(message)
            placed = self._arrivals.placed(message)
            if placed is not None:
                self._take_up(placed)
        except Exception as error:
            self._host.fail(error)
            raise

    def _note(self, message: ToHost | Offer) -> None:
        """Know what a message says to this process besides its host."""
        match message:
            case Load(program, islands=islands):
                self.programs[program] = Loading(is_run=bool(islands))
                self._parcels.note(message)
                self._small.note(message)
            case Close(program):
                self.programs.pop(program, None)
                self._parcels.forget(program)
                self._small.forget(program)
            case Start(orders=orders):
                feeds = (one.feeds.values() for one in orders.values())
                self.has_called |= any(isinstance(value, Fed) for value in chain.from_iterable(feeds))
            case Offer():
                self._hand_on(message)

    # Other hosts.

    def _let_in(self, wire: Wire) -> None:
        self._visitors.append(wire)
        Line(wire, self._bring, _nothing, "another island")

    def _say(self, number: int, offer: Offer) -> None:
        """Say something to another host."""
        if (small := self._small.small(offer)) is not None:
            self._say_to((number, 0), small)
            return
        for index, parcel in self._parcels.parcels(offer, self._counts[number]):
            self._say_to((number, index), parcel)

    def _hand_on(self, offer: Offer) -> None:
        """Give others of this island what they need as well."""
        if isinstance(offer.value, Tiled):
            for index in dict.fromkeys(index for tile in offer.value.tiles for index in tile.onward):
                tiles = tuple(replace(one, onward=()) for one in offer.value.tiles if index in one.onward)
                self._say_to((self._host.number, index), replace(offer, value=replace(offer.value, tiles=tiles)))

    def _say_to(self, seat: Seat, message: Offer | Small) -> None:
        """To a process. One that cannot be reached is lost, or will be: the controller will tell."""
        line = self._lines.get(seat) or self._connected(seat)
        if line is not None:
            (line.say_here if _is_at_hand(message) else line.say)(message)

    def _connected(self, seat: Seat) -> Line | None:
        try:
            wire = connect(self._doors[seat], self._assignment.secret)
        except OSError:
            return None
        return self._lines.setdefault(seat, Line(wire, _nothing, _nothing, "host {}, process {}".format(*seat)))


def _is_at_hand(message: Offer | Small) -> bool:
    """Whether to send it takes no waiting, and hardly longer than to have another thread do so."""
    if isinstance(message, Small):
        return message.is_at_hand
    return not isinstance(message.value, Tiled) or message.value.is_at_hand


def _nothing(*_: object) -> None:
    pass
