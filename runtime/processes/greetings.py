"""What the controller and the process of an island say to each other, beside what is for its host."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.runtime.failure import Failure
from atoll.runtime.messages import Load
from atoll.runtime.processes.assignment import Address, Seat


@dataclass(frozen=True)
class Alive:
    """The wire is for questions whether the process is alive."""

    seat: Seat


@dataclass(frozen=True)
class Meeting:
    """Where the processes of an island meet; its first process says so, and the others are told."""

    number: int
    place: Address


@dataclass(frozen=True)
class Seeking:
    """A process has to know where those of its island meet."""

    number: int


@dataclass(frozen=True)
class Here:
    """A process has its devices. door: where others reach it."""

    seat: Seat
    door: Address
    pid: int
    machine: str


@dataclass(frozen=True)
class Unable:
    """A process cannot do what it is for."""

    why: Failure


@dataclass(frozen=True)
class Others:
    """Where to reach the processes of the cluster. islands: the names of all."""

    doors: Mapping[Seat, Address]
    islands: tuple[str, ...]


@dataclass(frozen=True)
class Farewell:
    """The process is not needed any more. Without this, that nothing more comes means that the controller is gone."""


@dataclass(frozen=True)
class LoadFar:
    """A program, and the settings of jax's that it is to be compiled with."""

    load: Load
    settings: Mapping[str, Any]
