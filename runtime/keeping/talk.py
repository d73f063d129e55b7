"""What the keeper says, and what is said to it: by processes, by controllers, and by commands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from atoll.runtime.failure import Failure
from atoll.runtime.processes.assignment import Assignment, Seat
from atoll.runtime.processes.wanted import Wanted

# The keeper and a process.


@dataclass(frozen=True)
class Serve:
    """Be the process of a controller."""

    assignment: Assignment


@dataclass(frozen=True)
class Leave:
    """The controller is gone, whether the process has noticed or not."""


@dataclass(frozen=True)
class Deserted:
    """The controller has said nothing to a process for longer than it may, though it has not hung up."""

    seat: Seat


@dataclass(frozen=True)
class Cleared:
    """A process has nothing any more of what it had for a controller."""

    seat: Seat


@dataclass(frozen=True)
class Describe:
    """Tell what the process has."""

    request: int


@dataclass(frozen=True)
class Contents:
    """What a process has.

    programs: those that have something there.
    kept: how many compiled fragments. arrays: bytes on its devices. memory: bytes of all that it has.
    """

    seat: Seat
    request: int
    programs: tuple["ProgramContents", ...]
    kept: int
    arrays: int
    memory: int


@dataclass(frozen=True)
class ProgramContents:
    """What a program has in a process.

    compilations: how many fragments were compiled for it; None if it was closed, and only its arrays are still there.
    steps: how many have ended. arrays: bytes on the process's devices.
    """

    number: int
    compilations: int | None
    steps: int
    arrays: int


# The keeper, and who comes to it.


@dataclass(frozen=True)
class Guest:
    """The process of a controller, or of a program that was one. since: in seconds since 1970."""

    pid: int
    machine: str
    program: str
    since: float

    def __str__(self) -> str:
        return f"process {self.pid} ({self.program}) on {self.machine}"


@dataclass(frozen=True)
class Come:
    """A controller asks for the islands."""

    guest: Guest
    islands: tuple[Wanted, ...]


@dataclass(frozen=True)
class Welcome:
    """They are the controller's, for as long as its connection lasts.

    finds: whether processes are to look for functions of the user's where the controller finds them.
    """

    finds: bool


@dataclass(frozen=True)
class Sorry:
    """What was asked for cannot be."""

    why: Failure


@dataclass(frozen=True)
class Ask:
    """A question of the controller's, as to a `Launcher`."""

    name: str
    argument: Any


@dataclass(frozen=True)
class Reply:
    """To that."""

    told: Any


@dataclass(frozen=True)
class Look:
    """A command asks what there is."""


@dataclass(frozen=True)
class Finish:
    """A command asks for the end. force: even if a controller is there."""

    force: bool


@dataclass(frozen=True)
class Ended:
    """All processes have ended; so many."""

    count: int


@dataclass(frozen=True)
class Process:
    """Of an island. state: "waits", "serves", "tidies up", "starts" or "has ended". has: what it says of itself, if it
    does.
    """

    island: str
    pid: int
    machine: str
    state: str
    has: Contents | None


@dataclass(frozen=True)
class Status:
    """What there is. trouble: why a process could not be started again."""

    pid: int
    since: float
    topology: str
    cluster: str
    guest: Guest | None
    processes: Sequence[Process]
    trouble: str
