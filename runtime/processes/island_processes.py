"""Islands in processes of their own: starts them, knows them, and ends them."""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy
from atoll.runtime.failure import Failure
from atoll.runtime.ground import HostEnd, Placing, check_island
from atoll.runtime.messages import HostFailed, ToController
from atoll.runtime.processes.far_host import FarHost
from atoll.runtime.processes.far_process import FarProcess
from atoll.runtime.processes.greetings import Others
from atoll.runtime.processes.launcher import Launcher, gathered
from atoll.runtime.processes.wanted import Seats, Wanted
from atoll.runtime.program import Program


class IslandProcesses:
    """As a `Ground`.

    watchdog: how many seconds a process may say nothing before it counts as lost.
    devices: how many CPU devices this process would have; each of the others computes with as many threads.
    """

    is_near = False

    def __init__(self, islands: Sequence[Wanted], launcher: Launcher, watchdog: float, devices: int = 0) -> None:
        self._seats = Seats(islands, devices)
        self._launcher = launcher
        self._watchdog = watchdog
        self._hosts: list[FarHost] = []
        self._closed = threading.Lock()

    @property
    def names(self) -> Sequence[str]:
        return self._seats.names

    @property
    def pids(self) -> dict[str, tuple[int, ...]]:
        """By island, the numbers that its machines have for its processes."""
        return {
            name: tuple(process.here.pid for process in host.processes)
            for name, host in zip(self.names, self._hosts, strict=True)
        }

    def connect(self, tell: Callable[[ToController], None]) -> Mapping[str, HostEnd]:
        self._tell = tell
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return dict(zip(self.names, self._hosts, strict=True))

    def meshes_for(self, program: Program) -> Mapping[str, jax.sharding.Mesh]:
        axes = {one.name: one.axes for one in self._seats.islands}
        for island in program.islands:
            check_island(island, axes.get(island.name), self.names)
        return {}

    def placing(self, _: Program) -> Placing:
        return _numbers

    def close(self) -> None:
        """From any thread, and more than once. Whoever asks for something that was there is told that it is gone."""
        if self._closed.acquire(blocking=False):
            for number, name in enumerate(self.names):
                why = f"island {name} has ended with its cluster, and all that was on it"
                self._tell(HostFailed(number, Failure(why, remedy="read arrays before you close it")))
            for host in self._hosts:
                for process in host.processes:
                    process.close()
            self._launcher.close()

    def _start(self) -> None:
        """Start all processes, and wait until each has its devices."""
        secret = secrets.token_bytes(32)
        arrived = gathered(self._launcher, self._seats, self._seats.all, secret, self._watchdog)
        for number, one in enumerate(self._seats.islands):
            host = FarHost(number, one.name, one.processes, self._tell, self._launcher.end)
            host.processes = [
                FarProcess(found.here, found.wires, self._watchdog, partial(host.take, index), host.lose)
                for index in range(one.processes)
                for found in [arrived[number, index]]
            ]
            self._hosts.append(host)
        doors = Others({seat: one.here.door for seat, one in arrived.items()}, self._seats.names)
        for host in self._hosts:
            host.say(doors)


def _numbers(value: Any, *_: object) -> "numpy.ndarray[Any, Any]":  # noqa: ANN401 (a jax.Array or a numpy array)
    """What a process places on its own devices."""
    return numpy.asarray(value)
