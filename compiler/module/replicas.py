"""Replicas: copies of the pipeline that share the parameters and divide the batch.

Islands count replica by replica. The IR speaks of the first one alone, and the others do the same on islands of their
own: the *twins* of its islands.
"""

from collections.abc import Sequence

from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.attributes import text_of
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.marks import PLAN
from atoll.compiler.plan.plan import Plan, noted_plan
from atoll.compiler.topology.island import Island
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import caller


def replicas_in(plan: Plan) -> int:
    """How many replicas a plan asks for; `auto` is one."""
    return plan.replicas if isinstance(plan.replicas, int) else 1


def replicas_of(module: ir.Module) -> int:
    """How many replicas the module's plan asks for."""
    text = text_of(module.operation, PLAN)
    return 1 if text is None else replicas_in(noted_plan(text))


def twins_of(topology: Topology, replicas: int) -> dict[str, tuple[str, ...]]:
    """For each island of the first replica its name and those of its twins, in the order of the replicas."""
    names = [island.name for island in topology.islands]
    count = len(names) // replicas
    return {name: tuple(names[number :: max(1, count)][:replicas]) for number, name in enumerate(names[:count])}


def check_replicas(plan: Plan, topology: Topology) -> None:
    """PlanError unless the islands can be divided into replicas that are alike."""
    replicas, count = replicas_in(plan), len(topology.islands)
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
