"""Where processes come from, and how one waits for them."""

from collections.abc import Sequence
from typing import Protocol

from atoll.runtime.processes.assignment import Assignment, Seat
from atoll.runtime.processes.muster import Arrived, Muster
from atoll.runtime.processes.wanted import Seats
from atoll.runtime.processes.wire import Door


class Launcher(Protocol):
    """Where processes come from."""

    @property
    def own_host(self) -> str:
        """By which the processes reach this one."""

    def start(self, assignments: Sequence[Assignment]) -> None:
        """Have a process begin to serve each of them."""

    def trouble(self) -> str:
        """Why a process did not begin, if that is known."""

    def end(self, seat: Seat) -> None:
        """End a process, whatever it is doing."""

    def close(self) -> None:
        """End all that are left, and give up what was made for them."""


def gathered(
    launcher: Launcher, seats: Seats, some: Sequence[Seat], secret: bytes, *, stay: bool = False
) -> dict[Seat, Arrived]:
    """Start some of the processes, and wait until each has its devices.

    stay: whether they are for one controller after another.
    """
    muster = Muster(dict(enumerate(seats.names)), some, launcher.trouble)
    door = Door(launcher.own_host, secret, muster.welcome)
    try:
        launcher.start([seats.assignment(seat, door.address, secret, stays=stay) for seat in some])
        return muster.wait()
    except BaseException:
        muster.close()
        raise
    finally:
        door.close()
