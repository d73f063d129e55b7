"""What a module was compiled with: its plan and topology, and what follows from these."""

import functools

from atoll.compiler.mlir.attributes import integer, integer_attribute, integer_in, text_of
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.module.marks import FILLED, PHASE, PLAN, STAGES, TOPOLOGY
from atoll.compiler.plan.pipeline_shape import PipelineShape
from atoll.compiler.plan.plan import Plan
from atoll.compiler.plan.resolved_plan import ResolvedPlan, as_asked, filled_in, islands_of_replica, resolved
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.topology.topology import Topology, noted_topology

_WHOLE = "stablehlo"  # the phase in which the batch is still whole


def plan_of(module: ir.Module) -> ResolvedPlan:
    """The module's plan. `resolve-plan` has decided what was open in it; in IR that a person wrote, this does."""
    topology = text_of(module.operation, TOPOLOGY)
    return _resolved(_text_of(module), None if topology is None else len(noted_topology(topology).islands))


def asked_plan_of(module: ir.Module) -> Plan:
    """The plan as it was asked for, before what it leaves open was filled in."""
    return as_asked(written_plan_of(module), _filled(module))


def written_plan_of(module: ir.Module) -> Plan:
    """The plan as it stands in the module, with what is open yet."""
    return Plan.parse(_text_of(module))


def leaves_division_open(module: ir.Module) -> bool:
    """Whether `resolve-plan` has yet to say into how many microbatches the batch is divided. It is past that once the
    module is at phase `timed`."""
    plan = plan_of(module)
    is_open = "microbatches" in filled_in(written_plan_of(module), plan)
    return is_open and not isinstance(plan.schedule, Schedule) and text_of(module.operation, PHASE) in (None, _WHOLE)


def set_plan(module: ir.Module, plan: ResolvedPlan) -> None:
    """Write the plan with what has been decided by now, and note which parts of it were open."""
    attributes = module.operation.attributes
    filled = _filled(module) | filled_in(written_plan_of(module), plan)
    attributes[PLAN] = ir.StringAttr.get(str(plan))
    if filled:
        attributes[FILLED] = ir.DictAttr.get({name: _attribute(value) for name, value in filled.items()})


def _attribute(value: int | str) -> ir.Attribute:
    return ir.StringAttr.get(value) if isinstance(value, str) else integer(value, 64)


def _filled(module: ir.Module) -> dict[str, int | str]:
    """The parts that were noted as filled in, each with what it is."""
    attributes = module.operation.attributes
    noted = attributes.get(FILLED)
    if not isinstance(noted, ir.DictAttr):
        return {}
    names = [noted[number].name for number in range(len(noted))]
    return {name: _said(noted, name, module.operation.location) for name in names}


def _said(noted: ir.DictAttr, name: str, location: ir.Location) -> int | str:
    value = noted[name]
    return value.value if isinstance(value, ir.StringAttr) else integer_in(noted, name, location)


def _text_of(module: ir.Module) -> str:
    return text_of(module.operation, PLAN) or str(Plan())


@functools.lru_cache(maxsize=64)
def _resolved(text: str, islands: int | None) -> ResolvedPlan:
    """The plan of a text, kept: passes ask for it again and again, and reading it takes as long as most of them do."""
    return resolved(Plan.parse(text), islands)


def topology_of(module: ir.Module) -> Topology:
    """The module's topology, which every phase after `stablehlo` needs."""
    text = text_of(module.operation, TOPOLOGY)
    if text is None:
        raise refuse(module.operation.location, "the module has no topology", 'give one: --topology "2 x cpu[4]"')
    return noted_topology(text)


def shape_of(module: ir.Module) -> PipelineShape:
    """The pipeline that the plan asks for on the islands of the topology."""
    plan = plan_of(module)
    return PipelineShape(plan, islands_of_replica(len(topology_of(module).islands), plan.replicas))


def segments_of(module: ir.Module) -> int:
    """In how many segments each stage of the plan runs."""
    return plan_of(module).segment_count


def stage_islands(module: ir.Module) -> tuple[int, ...]:
    """The island of each stage of a module in phase `staged`."""
    shape, count = shape_of(module), stages_of(module)
    if count != shape.stages:  # the module was written by hand: its plan does not know
        shape = PipelineShape(resolved(Plan(stages=count), shape.islands), shape.islands)
    return shape.stage_island


def stages_of(module: ir.Module) -> int:
    """How many stages the module has, as `seed-stages` has noted."""
    count = integer_attribute(module.operation, STAGES)
    if count is None:
        raise refuse(module.operation.location, f"the module has no {STAGES}", "run the passes of phase stage")
    if count < 1:
        raise refuse(module.operation.location, f"{STAGES} is {count}", "there is at least one stage")
    return count
