"""Islands that have a process each: starts them, knows them, and ends them."""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy
from atoll.compiler.errors import TopologyError
from atoll.runtime.failure import Failure
from atoll.runtime.ground import Axes, HostEnd, Placing, check_island
from atoll.runtime.inbox import Inbox
from atoll.runtime.messages import HostFailed, ToController
from atoll.runtime.processes.assignment import Assignment
from atoll.runtime.processes.far_host import FarHost
from atoll.runtime.processes.greetings import Alive, Here, Others, Unable
from atoll.runtime.processes.packing import unpack
from atoll.runtime.processes.wire import Door, Wire
from atoll.runtime.program import Program

# How many seconds a process may take until it has its devices.
_STARTING = 120.0


class Launcher(Protocol):
    """Where processes come from."""

    @property
    def own_host(self) -> str:
        """By which the processes reach this one."""

    def start(self, assignments: Sequence[Assignment]) -> None:
        """Have a process begin to serve each of them."""

    def trouble(self) -> str:
        """Why a process did not begin, if that is known."""

    def end(self, number: int) -> None:
        """End a process, whatever it is doing."""

    def close(self) -> None:
        """End all that are left, and give up what was made for them."""


class IslandProcesses:
    """As a `Ground`.

    islands: of each, the axes of its mesh and the platform of its devices.
    watchdog: how many seconds a process may say nothing before it counts as lost.
    """

    is_near = False

    def __init__(self, islands: Mapping[str, tuple[Axes, str]], launcher: Launcher, watchdog: float) -> None:
        self._islands = islands
        self._launcher = launcher
        self._watchdog = watchdog
        self._secret = secrets.token_bytes(32)
        self._hosts: dict[int, FarHost] = {}
        self._knocked: list[Wire] = []  # those of processes that are no host yet
        self._closed = threading.Lock()

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._islands)

    @property
    def pids(self) -> dict[str, int]:
        """By island, the number that its machine has for its process."""
        return {name: self._hosts[number].here.pid for number, name in enumerate(self._islands)}

    def connect(self, tell: Callable[[ToController], None]) -> Mapping[str, HostEnd]:
        self._tell = tell
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        doors = {number: host.here.door for number, host in self._hosts.items()}
        for host in self._hosts.values():
            host.say(Others(doors))
        return {name: self._hosts[number] for number, name in enumerate(self._islands)}

    def meshes_for(self, program: Program) -> Mapping[str, jax.sharding.Mesh]:
        for island in program.islands:
            axes, _ = self._islands.get(island.name, (None, ""))
            check_island(island, axes, self.names)
        return {}

    def placing(self, _: Program) -> Placing:
        return _numbers

    def close(self) -> None:
        """From any thread, and more than once. Whoever asks for something that was there is told that it is gone."""
        if self._closed.acquire(blocking=False):
            for number, name in enumerate(self._islands):
                why = f"island {name} has ended with its cluster, and all that was on it"
                self._tell(HostFailed(number, Failure(why, remedy="read arrays before you close it")))
            for host in self._hosts.values():
                host.close()
            for wire in self._knocked:
                wire.close()
            self._launcher.close()

    def _start(self) -> None:
        """Start all processes, and wait until each has its devices."""
        knocks: Inbox[tuple[Any, Wire]] = Inbox()
        door = Door(self._launcher.own_host, self._secret, lambda wire: _greet(wire, knocks))
        try:
            self._launcher.start(
                [
                    Assignment(number, name, axes, platform, door.address, self._secret)
                    for number, (name, (axes, platform)) in enumerate(self._islands.items())
                ]
            )
            alive: dict[int, Wire] = {}
            here: dict[int, tuple[Here, Wire]] = {}
            while len(self._hosts) < len(self._islands):
                greeting, wire = self._next(knocks)
                self._knocked.append(wire)
                match greeting:
                    case Alive(number):
                        alive[number] = wire
                    case Unable(_, why):
                        raise TopologyError(why.what, remedy=why.remedy)
                    case Here(number):
                        here[number] = greeting, wire
                # Its two wires may come in either order.
                for number in alive.keys() & here.keys() - self._hosts.keys():
                    told, line = here[number]
                    wires = line, alive[number]
                    self._hosts[number] = FarHost(told, wires, self._watchdog, self._tell, self._lose)
                    self._knocked = [one for one in self._knocked if one not in wires]
        finally:
            door.close()

    def _next(self, knocks: Inbox[tuple[Any, Wire]]) -> tuple[Any, Wire]:
        for _ in range(int(_STARTING)):
            if (knock := knocks.get(1.0)) is not None:
                return knock
            if trouble := self._launcher.trouble():
                raise TopologyError(f"a process of an island cannot start: {trouble}")
        missing = ", ".join(name for number, name in enumerate(self._islands) if number not in self._hosts)
        raise TopologyError(f"no process has come up for island {missing} in {_STARTING:g} seconds")

    def _lose(self, number: int, what: str) -> None:
        """A process can do nothing more."""
        here, name = self._hosts[number].here, list(self._islands)[number]
        self._launcher.end(number)  # if it was only stopped, it must not come back
        why = f"island {name} was lost: its process {here.pid} on {here.machine} {what}"
        remedy = "make a new cluster and start from what was saved"
        self._tell(HostFailed(number, Failure(why, remedy=remedy, is_loss=True)))


def _greet(wire: Wire, knocks: Inbox[tuple[Any, Wire]]) -> None:
    if (parts := wire.receive()) is not None:
        knocks.put((unpack(parts), wire))


def _numbers(value: Any, *_: object) -> "numpy.ndarray[Any, Any]":  # noqa: ANN401 (a jax.Array or a numpy array)
    """What a process places on its own devices."""
    return numpy.asarray(value)
