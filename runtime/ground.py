"""What the islands of a cluster stand on: devices of this process, or processes of their own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
from atoll.compiler.errors import TopologyError
from atoll.runtime.devices import Devices
from atoll.runtime.host import Host
from atoll.runtime.messages import ToController, ToHost
from atoll.runtime.program import IslandProgram, Program
from atoll.runtime.transport import Transport
from atoll.runtime.turn import Turn

Axes = tuple[tuple[str, int], ...]  # the names and sizes of a mesh

# Brings a value to where a buffer of an island is held; without a number, anywhere on the island.
Placing = Callable[[Any, str, int | None], Any]


class HostEnd(Protocol):
    """The controller's end of the way to a host."""

    @property
    def number(self) -> int:
        """Of the host."""

    def receive(self, message: ToHost) -> None:
        """Take a message; from any thread, and from a destructor in the midst of anything."""

    def join(self, patience: float) -> None:
        """Wait until no program is loaded at the host any more."""


class Ground(Protocol):
    """is_near: whether the islands are in this process, so that values come and go by reference."""

    @property
    def is_near(self) -> bool: ...

    @property
    def names(self) -> Sequence[str]:
        """Of the islands."""

    def connect(self, tell: Callable[[ToController], None]) -> Mapping[str, HostEnd]:
        """For each island the end of the way to its host. tell: takes what hosts say; from any thread."""

    def meshes_for(self, program: Program) -> Mapping[str, jax.sharding.Mesh]:
        """The meshes of a program's islands that are in this process; TopologyError if an island is not as it needs."""

    def placing(self, program: Program) -> Placing:
        """What brings the arguments of a program to its islands, or as near to them as the caller can."""

    def close(self) -> None:
        """Give up what was made for the islands."""


# Makes the hosts of islands, and gives for each island the end of the way to its host. The last argument takes what
# they say.
Hosts = Callable[[Mapping[str, jax.sharding.Mesh], Devices, Callable[[ToController], None]], Mapping[str, HostEnd]]


def one_host(
    meshes: Mapping[str, jax.sharding.Mesh], devices: Devices, tell: Callable[[ToController], None]
) -> Mapping[str, HostEnd]:
    """In this process, one host has all islands."""
    return dict.fromkeys(meshes, Host(meshes, devices, tell))


class OwnDevices:
    """Devices of this process.

    meshes: of each island. hosts: makes their hosts; without it, one has all islands.
    """

    is_near = True

    def __init__(
        self,
        meshes: Mapping[str, jax.sharding.Mesh],
        devices: Devices = Devices(),  # noqa: B008 (frozen)
        hosts: Hosts | None = None,
    ) -> None:
        self.meshes = meshes
        self._devices = devices
        self._hosts = hosts or one_host
        self._turns = {name: Turn(mesh) for name, mesh in meshes.items()}

    @property
    def names(self) -> Sequence[str]:
        return tuple(self.meshes)

    def connect(self, tell: Callable[[ToController], None]) -> Mapping[str, HostEnd]:
        return self._hosts(self.meshes, self._devices, tell)

    def meshes_for(self, program: Program) -> Mapping[str, jax.sharding.Mesh]:
        found = {}
        for island in program.islands:
            mesh = self.meshes.get(island.name)
            check_island(island, None if mesh is None else tuple(mesh.shape.items()), self.names)
            assert mesh is not None
            found[island.name] = automatic(mesh)
        return found

    def placing(self, program: Program) -> Placing:
        transport = Transport(program, self.meshes_for(program), self._devices.mover)

        def place(value: Any, name: str, number: int | None) -> jax.Array:  # noqa: ANN401 (a jax.Array or a numpy array)
            if number is None:
                there: jax.Array = jax.device_put(value, self.meshes[name].devices.flat[0])
                return there
            with self._turns[name]:
                return transport.place(value, name, number)

        return place

    def close(self) -> None:
        """Nothing was made."""


def automatic(mesh: jax.sharding.Mesh) -> jax.sharding.Mesh:
    """A mesh in which Shardy decides, whatever its axes are for in the user's own code."""
    return jax.sharding.Mesh(
        mesh.devices, mesh.axis_names, axis_types=(jax.sharding.AxisType.Auto,) * len(mesh.axis_names)
    )


def check_island(island: IslandProgram, axes: Axes | None, there: Sequence[str]) -> None:
    """TopologyError if an island is not there, or is not what the program was made for. axes: those that it has."""
    if axes is None:
        remedy = f"give it devices; there are {', '.join(there) or 'none'}"
        raise TopologyError(f"the program runs on island {island.name!r}, which is not there", remedy=remedy)
    if axes != island.axes:
        found, wanted = (", ".join(f"{name}={size}" for name, size in each) for each in (axes, island.axes))
        remedy = "make the mesh so, or compile for this one"
        raise TopologyError(
            f"island {island.name} has the axes {found}, the program was made for {wanted}", remedy=remedy
        )
