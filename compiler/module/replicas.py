"""Replicas: copies of the pipeline that share the parameters and divide the batch.

Islands count replica by replica. The IR speaks of the first one alone, and the others do the same on islands of their
own: the *twins* of its islands.
"""

from collections.abc import Sequence

from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.planned import plan_of
from atoll.compiler.topology.island import Island
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import caller


def replicas_of(module: ir.Module) -> int:
    """How many replicas the module's plan asks for."""
    return plan_of(module).replicas


def twins_of(topology: Topology, replicas: int) -> dict[str, tuple[str, ...]]:
    """For each island of the first replica its name and those of its twins, in the order of the replicas."""
    names = [island.name for island in topology.islands]
    count = len(names) // replicas
    return {name: tuple(names[number :: max(1, count)][:replicas]) for number, name in enumerate(names[:count])}


def check_replicas(replicas: int, topology: Topology) -> None:
    """PlanError unless the islands can be divided into replicas that are alike."""
    count = len(topology.islands)
    if count % replicas:
        what = f"the plan asks for {replicas} replicas, and {count} islands cannot be divided into so many"
        raise PlanError(what, caller(), f"choose replicas that divide {count}, or give each as many islands")
    islands = {island.name: island for island in topology.islands}
    for name, twins in twins_of(topology, replicas).items():
        _check_alike(islands[name], [islands[one] for one in twins[1:]])


def _check_alike(first: Island, twins: Sequence[Island]) -> None:
    for number, twin in enumerate(twins, 1):
        if (first.kind, first.axes) != (twin.kind, twin.axes):
            what = f"{twin.name} of replica {number} is {twin.device_text}, and {first.name} of replica 0 is "
            what += first.device_text
            raise PlanError(what, caller(), "islands count replica by replica: give every replica the same ones")
