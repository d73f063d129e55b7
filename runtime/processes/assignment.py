"""What a process of an island is for. For the sake of Ray's driver this imports nothing that takes long to load."""

from dataclasses import dataclass

Address = tuple[str, int]  # of a machine and a port


@dataclass(frozen=True)
class Assignment:
    """number: of its host. axes: of the island's mesh. platform: of its devices, as jax calls it.

    controller: where to say that it is there. secret: what all processes of a cluster know.
    """

    number: int
    island: str
    axes: tuple[tuple[str, int], ...]
    platform: str
    controller: Address
    secret: bytes

    @property
    def size(self) -> int:
        """How many devices it needs."""
        size = 1
        for _, length in self.axes:
            size *= length
        return size
