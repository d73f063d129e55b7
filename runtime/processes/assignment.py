"""What a process of an island is for. For the sake of Ray's driver this imports nothing that takes long to load."""

from dataclasses import dataclass
from math import prod

Address = tuple[str, int]  # of a machine and a port
Seat = tuple[int, int]  # of a process: the number of its island's host, and its own among the processes of the island


@dataclass(frozen=True)
class Assignment:
    """axes: of the island's mesh. platform: of its devices, as jax calls it. processes: how many share the island.

    threads: how many threads XLA computes with, at the least, where a process has the CPU devices of all islands.
    controller: where to say that it is there. secret: what all processes of a cluster know.
    stays: whether it waits there for one controller after another, as a keeper says.
    patience: after how many seconds without a question whether it is alive it lets go of the controller; None if it
        waits for as long as the connection is there.
    path: where functions of the user's are looked for as well, for as long as it serves.
    """

    seat: Seat
    island: str
    axes: tuple[tuple[str, int], ...]
    platform: str
    processes: int
    threads: int
    controller: Address
    secret: bytes
    stays: bool = False
    patience: float | None = None
    path: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many devices it needs."""
        return prod(length for _, length in self.axes) // self.processes
