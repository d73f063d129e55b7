"""Waits until all processes of a cluster have come, and have met those of their islands."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from atoll.compiler.errors import TopologyError
from atoll.runtime.inbox import Inbox
from atoll.runtime.processes.assignment import Seat
from atoll.runtime.processes.greetings import Alive, Here, Meeting, Seeking, Unable
from atoll.runtime.processes.packing import pack, unpack
from atoll.runtime.processes.wire import Wire

# How many seconds a process may take until it has its devices.
_STARTING = 120.0


@dataclass(frozen=True)
class Arrived:
    """A process that has come: what it has said, and its wires; the second one is for signs of life."""

    here: Here
    wires: tuple[Wire, Wire]


class Muster:
    """names: of the islands, by the number of the host. trouble: tells why a process did not begin, if that is known.

    A process comes with two wires, of which either may be the first.
    """

    def __init__(self, names: Mapping[int, str], seats: Collection[Seat], trouble: Callable[[], str]) -> None:
        self._names = names
        self._seats = seats
        self._trouble = trouble
        self._knocks: Inbox[tuple[Any, Wire]] = Inbox()
        self._wires: list[Wire] = []
        self._alive: dict[Seat, Wire] = {}
        self._here: dict[Seat, tuple[Here, Wire]] = {}
        self._places: dict[int, Meeting] = {}
        self._seeking: defaultdict[int, list[Wire]] = defaultdict(list)

    def welcome(self, wire: Wire) -> None:
        """Take what a process says; on a thread of its own."""
        self._wires.append(wire)
        greeting = None
        while not isinstance(greeting, (Alive, Here, Unable)) and (parts := wire.receive()) is not None:
            greeting = unpack(parts)
            self._knocks.put((greeting, wire))

    def wait(self) -> dict[Seat, Arrived]:
        """The processes, once they are all there; TopologyError if one cannot come."""
        while len(self._here.keys() & self._alive.keys()) < len(self._seats):
            greeting, wire = self._next()
            match greeting:
                case Alive(seat):
                    self._alive[seat] = wire
                case Here(seat):
                    self._here[seat] = greeting, wire
                case Unable(why):
                    raise TopologyError(why.what, remedy=why.remedy)
                case Meeting(number):
                    self._places[number] = greeting
                case Seeking(number):
                    self._seeking[number].append(wire)
            self._show_the_way()
        return {seat: Arrived(here, (wire, self._alive[seat])) for seat, (here, wire) in self._here.items()}

    def close(self) -> None:
        """Let go of all that have come."""
        for wire in self._wires:
            wire.close()

    def _show_the_way(self) -> None:
        for number, place in self._places.items():
            for wire in self._seeking.pop(number, ()):
                with suppress(OSError):  # it has ended, which the launcher tells
                    wire.send(pack(place))

    def _next(self) -> tuple[Any, Wire]:
        for _ in range(int(_STARTING)):
            if (knock := self._knocks.get(1.0)) is not None:
                return knock
            if trouble := self._trouble():
                what = f"a process of an island cannot start: {trouble}"
                raise TopologyError(what, remedy="run atoll doctor on its machine, which says what would fail there")
        missing = {self._names[seat[0]]: None for seat in self._seats if seat not in self._here}
        what = f"no process has come up for island {', '.join(missing)} in {_STARTING:g} seconds"
        raise TopologyError(what, remedy="see whether its machine is there and can reach this one")
