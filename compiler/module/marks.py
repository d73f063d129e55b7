"""What the passes read and write on a module beside the marks of `entry`: plan, topology, stages and sweeps.

A *sweep* is one walk over the stages: sweep 0 goes forward from stage 0, sweep 1 backward to it, sweep 2 forward
again, and so on. A loop over microbatches, and what stands before and after it, have sweeps of their own. A fragment is
what one stage computes in one sweep, and its *slot* counts these in order. A value flows to its own slot or to a later
one, so fragments cannot wait for each other in a circle.
"""

from collections.abc import Sequence

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.main_function import PLAN, TOPOLOGY, text_attribute
from atoll.compiler.module.replicas import replicas_in
from atoll.compiler.plan.pipeline_shape import PipelineShape
from atoll.compiler.plan.plan import Plan, noted_plan
from atoll.compiler.topology.topology import Topology, noted_topology

STAGE = "atoll.stage"
# The stage of the plan, where it runs in segments and which of them is open yet.
PLANNED_STAGE = "atoll.planned_stage"
SWEEP = "atoll.sweep"
# On a loop over layers: the stage of each of them.
LAYERS = "atoll.layers"
# On a constant that stands for the number of the microbatch.
INDEX = "atoll.index"
# On a loop over microbatches: the kind of task that each sweep is, one letter each.
KINDS = "atoll.kinds"
# On a loop over microbatches: the name of the schedule that its table was made from.
SCHEDULE = "atoll.schedule"
# On the module: islands and axes of shardings that the islands cannot follow, as `island: axis`.
NOT_FOLLOWED = "atoll.not_followed"
# On the module: how many stages there are.
STAGES = "atoll.stages"
# On the module: the bytes that cross between stages, and how few any other choice could have had.
TRAFFIC = "atoll.traffic"
TRAFFIC_BOUND = "atoll.traffic_at_least"

# On the module: what is computed for the whole batch, though each microbatch needs only its block.
WHOLE_BATCH = "atoll.whole_batch"
# On the module: the loops of the model that the cut leaves whole, and why.
WHOLE_LOOPS = "atoll.whole_loops"
# On the module: the stacks of layers that are split, and yet needed whole, with what needs them.
JOINED = "atoll.joined"
# On the module: what the replicas do not share of the state that only the update reads, and why; and what they gather.
NOT_SHARED = "atoll.not_shared"


def plan_of(module: ir.Module) -> Plan:
    """The module's plan; without one every part is `auto`."""
    text = text_attribute(module.operation.attributes, PLAN)
    return Plan() if text is None else noted_plan(text)


def topology_of(module: ir.Module) -> Topology:
    """The module's topology, which every phase behind `stablehlo` needs."""
    text = text_attribute(module.operation.attributes, TOPOLOGY)
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


def read_marks(graph: Graph, name: str) -> list[int | None]:
    """The value of an integer attribute on each operation, None where it is absent."""
    return [integer_attribute(operation.operation, name) for operation in graph.operations]


def integer_attribute(operation: ir.Operation, name: str) -> int | None:
    """The attribute's value, None if it is absent; people edit dumps, so it may be anything."""
    attributes = operation.attributes
    return integer_in(attributes, name, operation.location) if name in attributes else None


def integer_in(attributes: ir.OpAttributeMap | ir.DictAttr, name: str, location: ir.Location) -> int:
    """The value of an attribute that is there."""
    attribute = attributes[name]
    if not isinstance(attribute, ir.IntegerAttr):
        raise refuse(location, f"{name} is {attribute}, which is no integer", f"write {name} = 0 : i32")
    return attribute.value


def write_marks(graph: Graph, name: str, marks: Sequence[int | None]) -> None:
    """Set an integer attribute on each operation that has a value for it."""
    for operation, mark in zip(graph.operations, marks, strict=True):
        if mark is not None:
            operation.operation.attributes[name] = integer(mark)


def integer(value: int, bits: int = 32) -> ir.IntegerAttr:
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(bits), value)


def unsigned(value: int) -> ir.IntegerAttr:
    """How a loop says the number of its iterations."""
    return ir.IntegerAttr.get(ir.IntegerType.get_unsigned(32), value)


def texts_of(module: ir.Module, name: str) -> tuple[str, ...]:
    """The texts that passes have noted on the module."""
    attributes = module.operation.attributes
    return tuple(ir.StringAttr(one).value for one in ir.ArrayAttr(attributes[name])) if name in attributes else ()


def add_texts(module: ir.Module, name: str, texts: Sequence[str]) -> None:
    """Note texts on the module, behind those that are there."""
    if texts:
        found = [*texts_of(module, name), *texts]
        module.operation.attributes[name] = ir.ArrayAttr.get([ir.StringAttr.get(one) for one in found])


def slot(stage: int, sweep: int, stages: int) -> int:
    """The number of a stage's fragment of a sweep, in an order in which values flow only onwards."""
    return sweep * stages + (stage if sweep % 2 == 0 else stages - 1 - stage)


def sweep_from(stage: int, least_slot: int, stages: int) -> int:
    """The first sweep in which a stage's slot is at least `least_slot`."""
    sweep = max(0, least_slot // stages)
    return sweep if slot(stage, sweep, stages) >= least_slot else sweep + 1
