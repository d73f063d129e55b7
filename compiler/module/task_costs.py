"""What tasks cost, counted: the operations of their fragments, and the bytes that they send.

Nothing here is measured. A task takes the operations that are counted in its fragment, divided by the speed that is
assumed of its island; a value takes what the bandwidth and the latency of its link say. Resharding a value on its way
is free here: it computes nothing, and the devices of an island are linked faster than islands are.
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

# Operations a second of one device: half of what makers state for bfloat16, where a GPU counts as an A100; for a CPU
# device what a core or two do in float32.
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
    """The operations of each island's tasks, in functions each given with how often it is called."""
    cost = _cost_of_codes(module)
    found: Counter[str] = Counter()
    for function, times in functions:
        for call in calls_in(function):
            found[island_of_task(call)] += times * cost[code_name(call)]
    return found


def call_costs(module: ir.Module, function: func.FuncOp) -> list[int]:
    """The operations of each task of a function, in its order."""
    cost = _cost_of_codes(module)
    return [cost[code_name(call)] for call in calls_in(function)]


def _cost_of_codes(module: ir.Module) -> dict[str, int]:
    functions = fragment_functions(module).items()
    return {name: sum(map(cost_of, body_of(function).operations)) for name, function in functions}


def stage_costs(module: ir.Module, function: func.FuncOp, homes: Sequence[str]) -> tuple[StageCost, ...]:
    """What each stage costs whose tasks are in the function of a loop; homes: the island of each stage."""
    names = (task_name(call)._replace(loop=None) for call in calls_in(function))
    costs = dict(zip(names, call_costs(module, function), strict=True))
    sent = {(task._replace(loop=None), island): size for (task, island), size in bytes_to_islands(function).items()}
    stages = []
    for stage, home in enumerate(homes):
        forward, backward, weight = (costs.get(TaskName(kind, stage), 0) for kind in TASKS)
        onwards = homes[stage + 1] if stage + 1 < len(homes) else ""
        back = homes[stage - 1] if stage else ""
        to = (sent.get((TaskName(FORWARD, stage), onwards), 0), sent.get((TaskName(BACKWARD, stage), back), 0))
        stages.append(StageCost(home, forward, backward, weight, *to))
    return tuple(stages)


def bytes_to_islands(function: func.FuncOp) -> Counter[tuple[TaskName, str]]:
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
    """The costs in seconds; the unit of activations is those of one microbatch on an island's share of the model."""
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
    """The operations a second that are assumed of an island, with its work divided evenly over its devices."""
    return ASSUMED_SPEED[island.kind] * island.size
