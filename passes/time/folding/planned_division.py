"""Divides the batch as the planner would, where the plan leaves open into how many microbatches."""

import json
from collections.abc import Collection
from dataclasses import replace

from atoll.compiler.cost.devices import capacity_of
from atoll.compiler.cost.task_costs import seconds_of
from atoll.compiler.cost.work import WorkCounter
from atoll.compiler.mlir.attributes import text_of
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.effects import host_calls_in
from atoll.compiler.mlir.functions import arguments_of, body_of, functions_in
from atoll.compiler.mlir.ir_text import to_bytecode
from atoll.compiler.module.graph import bytes_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import TOPOLOGY
from atoll.compiler.module.notes import OneMicrobatch, PlannedDivision
from atoll.compiler.module.noting import add_note
from atoll.compiler.module.planned import topology_of, written_plan_of
from atoll.compiler.plan.resolved_plan import ResolvedPlan, filled_in, islands_of_replica, resolved
from atoll.compiler.planner.choice import BatchDivision, NoChoiceError
from atoll.compiler.planner.measuring import batch_size, devices_of_batch
from atoll.compiler.text.quantities import seconds_text
from atoll.compiler.topology.topology import Topology

# A step with less work is left as it is: each further task costs the host something too, on CPUs about 0.1 ms, which
# only measured rates of devices tell.
_SHORT = 1e-3


def with_planned_division(module: ir.Module, plan: ResolvedPlan) -> ResolvedPlan:
    """The plan with the numbers of microbatches and replicas by which a step is predicted to be shortest.

    It stays as it is where there is nothing to gain: without a batch, and with one stage that has room for it.
    """
    batch = batch_size(module) if functions_in(module) else None
    if batch is None or text_of(module.operation, TOPOLOGY) is None:
        return plan
    topology, location, asked = topology_of(module), module.operation.location, written_plan_of(module)
    if plan.placement is not None:
        add_note(module, location, OneMicrobatch("nothing is predicted of a placement before it is made"))
        return plan
    replicas = _replicas(module, topology, plan)
    if len(replicas) == 1 and _is_alone(plan, topology) and _has_room(module, topology):
        return plan
    if (seconds := _seconds_of_all_work(module, topology)) < _SHORT:
        add_note(module, location, OneMicrobatch(f"all work of a step is predicted to take {seconds_text(seconds)}"))
        return plan
    try:
        devices = devices_of_batch(module, topology)
        chosen = BatchDivision(to_bytecode(module), batch, topology, asked, devices).chosen(replicas)
    except NoChoiceError as none:
        add_note(module, location, OneMicrobatch(str(none)))
        return plan
    step, undivided = (round(seconds * 1e9) for seconds in (chosen.seconds, chosen.undivided or 0.0))
    beside = [f"update={chosen.update}"] if chosen.update != asked.update else []
    beside += [f"offload={json.dumps(chosen.offload)}"] if chosen.offload != asked.offload else []
    numbers = chosen.microbatches, chosen.replicas, step, undivided
    add_note(module, location, PlannedDivision(*numbers, ", ".join(beside)))
    settled = {name: getattr(chosen, name) for name in ("microbatches", "replicas", "update", "offload")}
    return resolved(replace(asked, **settled), len(topology.islands))


def _replicas(module: ir.Module, topology: Topology, plan: ResolvedPlan) -> Collection[int]:
    """The numbers of replicas to choose from.

    Each has all parameters. So they are only chosen where it is known that devices have the memory for that, and where
    nothing happens in each of them that is to happen once.
    """
    written = written_plan_of(module)
    is_given = "replicas" not in filled_in(written, plan)
    if is_given or host_calls_in(module.operation) or any(capacity_of(one) is None for one in topology.islands):
        return (plan.replicas,)
    count = len(topology.islands)
    stages = 1 if "stages" in filled_in(written, plan) else plan.stage_count or 1
    return [one for one in range(1, count + 1) if one == 1 or islands_of_replica(count, one) >= stages]


def _is_alone(plan: ResolvedPlan, topology: Topology) -> bool:
    """Whether one island of each replica does all the work, so that nothing waits for it."""
    return plan.stage_count == 1 or islands_of_replica(len(topology.islands), plan.replicas) == 1


def _seconds_of_all_work(module: ir.Module, topology: Topology) -> float:
    """What a step takes on the first island by itself, if its devices divide all of that."""
    island = topology.islands[0]
    work = WorkCounter(island).block(body_of(entry_function(module)), is_stored=True)
    return seconds_of(work, island, topology) / island.size


def _has_room(module: ir.Module, topology: Topology) -> bool:
    """Whether a device surely has the memory for all values that a step makes."""
    limits = [limit for limit in map(capacity_of, topology.islands) if limit is not None]
    return not limits or _bytes_of_all_values(module) <= min(limits)


def _bytes_of_all_values(module: ir.Module) -> int:
    total = sum(bytes_of(argument.type) for argument in arguments_of(entry_function(module)))

    def count(operation: ir.Operation) -> ir.WalkResult:
        nonlocal total
        total += sum(bytes_of(result.type) for result in operation.results)
        return ir.WalkResult.ADVANCE

    module.operation.walk(count)
    return total
