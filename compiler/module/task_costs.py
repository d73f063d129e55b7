"""What tasks cost, counted: the operations of their fragments, and the bytes that they send.

Nothing here is measured. A task takes the operations that its fragment counts, divided by the speed that is assumed of
its island; a value takes the bandwidth and the latency of its link. To divide it otherwise for that takes no time here:
nothing is computed, and what links devices of one island is faster than what links islands.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import body_of
from atoll.compiler.module.cost import cost_of
from atoll.compiler.module.graph import bytes_of
from atoll.compiler.module.mesh_types import island_of, local_type
from atoll.compiler.module.tasks import calls_in, code_name, fragment_functions, island_of_task, task_name, transfers_in
from atoll.compiler.schedules.costs import Costs, LinkCost
from atoll.compiler.schedules.task import TASK_KINDS as TASKS
from atoll.compiler.task_name import BACKWARD, FORWARD, TaskName
from atoll.compiler.topology.island import Island
from atoll.compiler.topology.topology import Topology

# Operations a second of one device: half of what makers state for bfloat16, of GPUs those of an A100; of a CPU device
# what a core or two do in float32.
ASSUMED_SPEED: Mapping[str, float] = {
    "cpu": 20e9,
    "gpu": 156e12,
    "v4": 138e12,
    "v5e": 98e12,
    "v5p": 230e12,
    "v6e": 459e12,
    "tpu7x": 1153e12,
}


@dataclass(frozen=True)
class StageCost:
    """What a stage's tasks compute for one microbatch, in operations, and the bytes it sends to its neighbours.

    weight: 0 if the stage has no weight tasks; then its backward task is the whole backward.
    """

    island: str
    forward: int
    backward: int
    weight: int
    forward_bytes: int
    backward_bytes: int


def task_costs(module: ir.Module, functions: Sequence[tuple[func.FuncOp, int]]) -> Counter[str]:
    """The operations of the tasks of each island in functions that are called so often."""
    cost = _cost_of_codes(module)
    found: Counter[str] = Counter()
    for function, times in functions:
        for call in calls_in(function):
            found[island_of_task(call)] += times * cost[code_name(call)]
    return found


def _cost_of_codes(module: ir.Module) -> dict[str, int]:
    functions = fragment_functions(module).items()
    return {name: sum(map(cost_of, body_of(function).operations)) for name, function in functions}


def stage_costs(module: ir.Module, function: func.FuncOp, homes: Sequence[str]) -> tuple[StageCost, ...]:
    """What the stages cost whose tasks are in a function; homes: the island of each."""
    cost = _cost_of_codes(module)
    costs = {task_name(call): cost[code_name(call)] for call in calls_in(function)}
    sent = _bytes_to_neighbours(function)
    stages = []
    for stage, home in enumerate(homes):
        forward, backward, weight = (costs.get(TaskName(kind, stage), 0) for kind in TASKS)
        onwards = homes[stage + 1] if stage + 1 < len(homes) else ""
        back = homes[stage - 1] if stage else ""
        to = sent[TaskName(FORWARD, stage), onwards], sent[TaskName(BACKWARD, stage), back]
        stages.append(StageCost(home, forward, backward, weight, *to))
    return tuple(stages)


def _bytes_to_neighbours(function: func.FuncOp) -> Counter[tuple[TaskName, str]]:
    """The bytes that each task sends to each island."""
    sent: Counter[tuple[TaskName, str]] = Counter()
    for transfer in transfers_in(function):
        maker = transfer.operation.operands[0].owner
        if isinstance(maker, mpmd.FragmentCallOp):
            size = bytes_of(local_type(transfer.operation.operands[0].type))
            sent[task_name(maker), island_of(transfer.result.type)] += size
    return sent


def costs_of(
    topology: Topology,
    names: Sequence[str],
    stages: Sequence[StageCost],
    around: Sequence[int],
    slower: float = 1.0,
) -> Costs:
    """In seconds; activations in those of one microbatch of an island's share."""
    speed = {island.name: speed_of(island) / slower for island in topology.islands}
    chunks = len(stages) // len(names)
    numbers = [names.index(stage.island) for stage in stages]
    pairs = {*pairwise(numbers)} | {(target, source) for source, target in pairwise(numbers)}
    links = {
        (source, target): topology.link(names[source], names[target]) for source, target in pairs if source != target
    }
    return Costs(
        forward=tuple(stage.forward / speed[stage.island] for stage in stages),
        backward=tuple(stage.backward / speed[stage.island] for stage in stages),
        weight=tuple(stage.weight / speed[stage.island] for stage in stages),
        update=tuple(cost / speed[name] for cost, name in zip(around, names, strict=True)),
        activations=(1 / chunks,) * len(stages),
        links={pair: LinkCost(link.latency / 1e9, float(link.bandwidth)) for pair, link in links.items()},
        forward_bytes=tuple(stage.forward_bytes for stage in stages[:-1]),
        backward_bytes=tuple(stage.backward_bytes for stage in stages[1:]),
    )


def speed_of(island: Island) -> float:
    """Operations a second that are assumed of an island, its work divided evenly over its devices."""
    return ASSUMED_SPEED[island.kind] * island.size
