"""`atoll.Cluster`: islands that several programs share."""

import weakref
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

from atoll.compiler import activity, display
from atoll.compiler.errors import TopologyError, UsageError
from atoll.compiler.mlir.bindings import cpu_devices_to_come
from atoll.compiler.text.language import of_wrong_type
from atoll.compiler.topology.devices import meshes_of
from atoll.compiler.topology.platforms import platform_of
from atoll.compiler.topology.topology import Topology, as_topology
from atoll.compiler.tracebacks import caller
from atoll.runtime.ground import OwnDevices
from atoll.runtime.hosted_islands import HostedIslands
from atoll.runtime.keeping.on_up import OnUp
from atoll.runtime.processes.island_processes import IslandProcesses
from atoll.runtime.processes.on_ray import OnRay
from atoll.runtime.processes.wanted import Wanted
from atoll.runtime.waiting import is_cut_short


class Cluster:
    """The islands of a topology, with their devices. Programs that are compiled for it share them:

    - each island carries out the steps of all programs in the order in which they were called;
    - what one program returns is an argument of another without leaving its islands;
    - the memory that the topology allows a device is for all of them together: a step that would not fit waits until
      arrays are let go of, or steps of other programs are over.

    cluster: where the islands are. None: in this process. "ray": each in a process of its own on this machine, or
        in as many as the topology says, which Ray starts. "auto" or "HOST:PORT": the same on a Ray cluster that is
        running. "up": in processes that `atoll up` has started on this machine for one program after another.
    watchdog: how many seconds such a process may say nothing before it counts as lost.
    """

    def __init__(self, topology: Topology | str, cluster: str | None = None, *, watchdog: float = 30.0) -> None:
        islands = as_topology(topology)
        if not isinstance(watchdog, (int, float)) or not 0 < watchdog < float("inf"):
            raise UsageError(f"watchdog is {watchdog!r}", caller(), "write a number of seconds above 0")
        limits = {island.name: island.memory for island in islands.islands if island.memory is not None}
        if cluster is None:
            meshes = meshes_of(islands)
            self.topology = replace(islands, meshes=tuple(meshes.values()))
            self._shared = HostedIslands(OwnDevices(meshes), limits)
        else:
            self.topology = islands
            with display.shown():
                count = sum(island.processes for island in islands.islands)
                activity.announce(f"starting {count} processes")
                self._shared = HostedIslands(_processes(islands, cluster, watchdog), limits)
        self._shared.owner = weakref.ref(self)
        self._closed = False
        # What is not closed is given up when the process ends, before anything that it needs is gone.
        self._forget = weakref.finalize(self, self._shared.ground.close)

    @property
    def is_near(self) -> bool:
        """Whether its islands are in this process."""
        return self._shared.ground.is_near

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
        """Close the programs that run on it, once their steps are over. Results in this process stay readable."""
        self._end()

    def _end(self, *, hurry: bool = False) -> None:
        self._closed = True
        try:
            self._shared.close(hurry=hurry)
        finally:
            self._forget()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(hurry=is_cut_short(kind))


def _processes(topology: Topology, cluster: object, watchdog: float) -> IslandProcesses:
    """What starts the processes of its islands."""
    if not isinstance(cluster, str):
        remedy = 'write "ray", "auto", "HOST:PORT" or "up", or leave it out'
        raise UsageError(f"cluster is {of_wrong_type(cluster)}", caller(), remedy)
    if topology.meshes is not None:
        remedy = "write the topology as text, or leave `cluster` out"
        raise TopologyError(
            "the topology is made of devices of this process, which no other can have", caller(), remedy
        )
    islands = wanted(topology)
    launcher = OnUp(islands) if cluster == "up" else OnRay(cluster)
    return IslandProcesses(islands, launcher, watchdog, cpu_devices_to_come())


def wanted(topology: Topology) -> tuple[Wanted, ...]:
    """The islands of a topology, as processes are asked for."""
    return tuple(
        Wanted(
            island.name, tuple((axis.name, axis.size) for axis in island.axes), platform_of(island), island.processes
        )
        for island in topology.islands
    )


def check_alone(topology: object, cluster: str | None) -> None:
    """UsageError if it is said twice where islands are."""
    if isinstance(topology, Cluster) and cluster is not None:
        what = f"the topology is a cluster, which has its islands, and cluster={cluster!r} stands beside it"
        raise UsageError(what, caller(), "leave one of them out")


def islands_of(topology: "Topology | str | Cluster", islands: Sequence[str] | None) -> tuple[Topology, Cluster | None]:
    """The islands that a program is compiled for, and the cluster that has them, if it is one that programs share."""
    if isinstance(topology, Cluster):
        topology.check_open()
        found, cluster = topology.topology, topology
    else:
        found, cluster = as_topology(topology), None
    return found if islands is None else found.only(islands), cluster
