"""What the islands of stages are for the automatic cut, where they are not alike or have little memory."""

from collections.abc import Sequence
from math import inf

from atoll.compiler.cost.devices import capacity_of
from atoll.compiler.cost.layer_costs import LayerCost
from atoll.compiler.cost.task_costs import seconds_of
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.marks import TOPOLOGY
from atoll.compiler.module.planned import shape_of, topology_of
from atoll.compiler.plan.pipeline_shape import PipelineShape
from atoll.compiler.topology.island import Island
from atoll.compiler.topology.topology import Topology
from atoll.passes.stage.cut.homes import Home, alike
from atoll.passes.stage.measured.counting import form_of, layer_costs


def stage_homes(module: ir.Module, stages: int, steps: int) -> tuple[Home, ...]:
    """The home of each stage. steps: how many the forward part has, of which any may begin a stage.

    Where islands are alike and nobody has said what memory they may use, nothing is counted.
    """
    if steps < 2 or TOPOLOGY not in module.operation.attributes:
        return alike(stages)
    topology, shape = topology_of(module), shape_of(module).in_one_segment
    is_limited = any(island.memory is not None for island in topology.islands)
    if len({form_of(island) for island in topology.islands}) == 1 and not is_limited:
        return alike(stages)
    costs = layer_costs(module, tuple(range(1, steps)))
    forms = [topology.islands[number] for number in costs.islands]
    layers = {form_of(island): row for island, row in zip(forms, costs.layers, strict=True)}
    seconds = {form_of(island): _seconds(layers[form_of(island)], island, topology, shape) for island in forms}
    fastest, kept = min(seconds.values()) or 1.0, _kept(shape)
    homes = []
    for stage, number in enumerate(shape.stage_island):
        twins = topology.islands[number :: shape.islands]
        form = form_of(twins[0])  # of another replica's islands at most the memory differs
        room = min(capacity_of(island) or inf for island in twins)
        homes.append(
            Home(
                pace=seconds[form] / fastest,
                needs=tuple(one.needs(kept[stage]) for one in layers[form]),
                room=room / shape.stage_island.count(number),
            )
        )
    return tuple(homes)


def _seconds(layers: Sequence[LayerCost], island: Island, topology: Topology, shape: PipelineShape) -> float:
    """What the whole model takes on an island in a step."""
    tasks = (one.forward + one.backward + one.weight for one in layers)
    updates = sum(seconds_of(one.update, island, topology) for one in layers)
    return shape.microbatches * sum(seconds_of(one, island, topology) for one in tasks) + updates


def _kept(shape: PipelineShape) -> list[float]:
    """How many microbatches each stage keeps at once; an order that is still to be found may keep as few as one."""
    if shape.microbatches == 1 or shape.plan.has_open_schedule:
        return [1.0] * shape.planned_stages
    peaks = shape.schedule().simulate().peak
    return [peaks[island] for island in shape.stage_island]
