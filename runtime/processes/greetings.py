"""What the controller and the process of an island say to each other, beside what is for its host."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.runtime.failure import Failure
from atoll.runtime.messages import Load
from atoll.runtime.processes.assignment import Address


@dataclass(frozen=True)
class Alive:
    """The wire that follows is for questions whether the process is alive."""

    number: int


@dataclass(frozen=True)
class Here:
    """A process has its devices. door: where others reach it."""

    number: int
    door: Address
    pid: int
    machine: str


@dataclass(frozen=True)
class Unable:
    """A process cannot do what it is for."""

    number: int
    why: Failure


@dataclass(frozen=True)
class Others:
    """Where to reach the hosts of the cluster, by their numbers."""

    doors: Mapping[int, Address]


@dataclass(frozen=True)
class Farewell:
    """The process is not needed any more. Without this, that nothing more comes means that the controller is gone."""


@dataclass(frozen=True)
class LoadFar:
    """A program, and the settings of jax's that it is to be compiled with."""

    load: Load
    settings: Mapping[str, Any]
