"""Where processes come from, and how one waits for them."""

from collections.abc import Sequence
from typing import Protocol

from atoll.runtime.processes.assignment import Assignment, Seat
from atoll.runtime.processes.life import PAUSE
from atoll.runtime.processes.muster import Arrived, Muster
from atoll.runtime.processes.wanted import Seats
from atoll.runtime.processes.wire import Door


class Launcher(Protocol):
    """Where processes come from."""

    @property
    def own_host(self) -> str:
        """By which the processes reach this one."""

    @property
    def is_own(self) -> bool:
        """Whether the processes are there for this one alone, on its machine: then it may be stopped for any time."""

    def start(self, assignments: Sequence[Assignment]) -> None:
        """Have a process begin to serve each of them."""

    def trouble(self) -> str:
        """Why a process did not begin, if that is known."""

    def end(self, seat: Seat) -> None:
        """End a process, whatever it is doing."""

    def close(self) -> None:
        """End all that are left, and give up what was made for them."""


def gathered(
    launcher: Launcher, seats: Seats, some: Sequence[Seat], secret: bytes, watchdog: float, *, stay: bool = False
) -> dict[Seat, Arrived]:
    """Start some of the processes, and wait until each has its devices.

    watchdog: how many seconds either side may say nothing. stay: whether they are for one controller after another.
    """
    # Whoever asks has given them up by the time that they let go of it.
    patience = None if launcher.is_own else watchdog + PAUSE
    muster = Muster(dict(enumerate(seats.names)), some, launcher.trouble)
    door = Door(launcher.own_host, secret, muster.welcome)
    try:
        launcher.start([seats.assignment(seat, door.address, secret, patience, stays=stay) for seat in some])
        return muster.wait()
    except BaseException:
        muster.close()
        raise
    finally:
        door.close()
