"""`atoll.Cluster`: islands that several programs share."""

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

from atoll.compiler.errors import UsageError
from atoll.compiler.topology.devices import meshes_of
from atoll.compiler.topology.topology import Topology, as_topology
from atoll.compiler.tracebacks import caller
from atoll.runtime.devices import Devices
from atoll.runtime.hosted_islands import HostedIslands


class Cluster:
    """The islands of a topology, with their devices. Programs that are compiled for it share them:

    - each island carries out the steps of all programs in the order in which they were called;
    - what one program returns is an argument of another without leaving its islands;
    - the memory that the topology allows a device is for all of them together: a step that would not fit waits until
      arrays are let go of, or steps of other programs are over.
    """

    def __init__(self, topology: Topology | str) -> None:
        islands = as_topology(topology)
        meshes = meshes_of(islands)
        self.topology = replace(islands, meshes=tuple(meshes.values()))
        limits = {island.name: island.memory for island in islands.islands if island.memory is not None}
        self._shared = HostedIslands(meshes, Devices(), limits)
        self._closed = False

    @property
    def shared(self) -> HostedIslands:
        """What the programs run on."""
        self.check_open()
        return self._shared

    def check_open(self) -> None:
        """UsageError if it was closed."""
        if self._closed:
            raise UsageError("this cluster was closed", caller(), "make another one")

    @property
    def stalls(self) -> int:
        """How often a step has waited for memory."""
        return self._shared.stalls

    def close(self) -> None:
        """Close the programs that run on it, once their steps are over. Results stay readable."""
        self._closed = True
        self._shared.close()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def islands_of(topology: "Topology | str | Cluster", islands: Sequence[str] | None) -> tuple[Topology, Cluster | None]:
    """The islands that a program is compiled for, and the cluster that has them, if it is one that programs share."""
    if isinstance(topology, Cluster):
        topology.check_open()
        found, cluster = topology.topology, topology
    else:
        found, cluster = as_topology(topology), None
    return found if islands is None else found.only(islands), cluster
