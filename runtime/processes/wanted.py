"""What islands are to have processes, and what each of these is for."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from atoll.runtime.processes.assignment import Address, Assignment, Seat


@dataclass(frozen=True)
class Wanted:
    """An island that is to have processes. axes: of its mesh. platform: of its devices, as jax calls it."""

    name: str
    axes: tuple[tuple[str, int], ...]
    platform: str
    processes: int = 1


class Seats:
    """The processes of islands.

    devices: how many CPU devices the controller's process would have; each of the others computes with as many threads.
    """

    def __init__(self, islands: Sequence[Wanted], devices: int = 0) -> None:
        self.islands = tuple(islands)
        here = sum(prod(size for _, size in one.axes) for one in islands if one.platform == "cpu")
        self._threads = max(here, devices)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the islands."""
        return tuple(one.name for one in self.islands)

    @property
    def all(self) -> list[Seat]:
        return [seat for number in range(len(self.islands)) for seat in self.of(number)]

    def of(self, number: int) -> list[Seat]:
        """Those of an island."""
        return [(number, index) for index in range(self.islands[number].processes)]

    def assignment(
        self, seat: Seat, controller: Address, secret: bytes, patience: float | None, *, stays: bool = False
    ) -> Assignment:
        """For a process that comes to this address."""
        one = self.islands[seat[0]]
        return Assignment(
            seat, one.name, one.axes, one.platform, one.processes, self._threads, controller, secret, stays, patience
        )
