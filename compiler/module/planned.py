"""What a module was compiled with: its plan and topology, and what follows from these."""

from atoll.compiler.mlir.attributes import integer_attribute, text_of
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.module.marks import PLAN, STAGES, TOPOLOGY
from atoll.compiler.module.replicas import replicas_in
from atoll.compiler.plan.pipeline_shape import PipelineShape
from atoll.compiler.plan.plan import Plan, noted_plan
from atoll.compiler.topology.topology import Topology, noted_topology


def plan_of(module: ir.Module) -> Plan:
    """The module's plan; without one every part is `auto`."""
    text = text_of(module.operation, PLAN)
    return Plan() if text is None else noted_plan(text)


def topology_of(module: ir.Module) -> Topology:
    """The module's topology, which every phase behind `stablehlo` needs."""
    text = text_of(module.operation, TOPOLOGY)
    if text is None:
        raise refuse(module.operation.location, "the module has no topology", 'give one: --topology "2 x cpu[4]"')
    return noted_topology(text)


def shape_of(module: ir.Module) -> PipelineShape:
    """The pipeline that the plan asks for on the islands of the topology."""
    plan = plan_of(module)
    return PipelineShape(plan, max(1, len(topology_of(module).islands) // replicas_in(plan)))


def segments_of(module: ir.Module) -> int:
    """In how many segments each stage of the plan runs."""
    segments = plan_of(module).segments
    return segments if isinstance(segments, int) else 1


def stage_islands(module: ir.Module) -> tuple[int, ...]:
    """The island of each stage of a module in phase `staged`."""
    shape, count = shape_of(module), stages_of(module)
    if count != shape.stages:  # the module was written by hand: its plan does not know
        shape = PipelineShape(Plan(stages=count), shape.islands)
    return shape.stage_island


def stages_of(module: ir.Module) -> int:
    """How many stages the module has, as `seed-stages` has noted."""
    count = integer_attribute(module.operation, STAGES)
    if count is None:
        raise refuse(module.operation.location, f"the module has no {STAGES}", "run the passes of phase stage")
    if count < 1:
        raise refuse(module.operation.location, f"{STAGES} is {count}", "there is at least one stage")
    return count
