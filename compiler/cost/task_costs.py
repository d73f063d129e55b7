"""What tasks cost, counted: the operations of their fragments, and the bytes that they move and send.

Nothing here is measured. A task takes what its work on each device of its island is assumed to take (`devices`); a
value takes what the bandwidth and the latency of its link say. Resharding a value on its way is free here: it computes
nothing, and the devices of an island are linked faster than islands are.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from atoll.compiler.cost.devices import Spent, device_kind, islands_at_once
from atoll.compiler.cost.operations import cost_of
from atoll.compiler.cost.work import Work, work_of
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import body_of
from atoll.compiler.module.graph import bytes_of
from atoll.compiler.module.memories import Memories
from atoll.compiler.module.mesh_types import island_of, local_type, spec_of_type
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.tasks import (
    calls_in,
    code_name,
    dataflow_functions,
    fragment_functions,
    island_of_task,
    task_name,
    transfers_in,
)
from atoll.compiler.schedules.costs import Costs, LinkCost
from atoll.compiler.schedules.task import TASK_KINDS as TASKS
from atoll.compiler.task_name import BACKWARD, FORWARD, TaskName
from atoll.compiler.topology.island import Axis, Island
from atoll.compiler.topology.topology import Topology


@dataclass(frozen=True)
class StageCost:
    """What a stage's tasks compute for one microbatch, in operations, and the bytes it sends to its neighbours.

    weight: 0 if the stage has no weight tasks; then its backward task is the whole backward.
    seconds: what the three tasks should take on the island.
    """

    island: str
    forward: int
    backward: int
    weight: int
    forward_bytes: int
    backward_bytes: int
    seconds: tuple[float, float, float]


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


def call_seconds(module: ir.Module, function: func.FuncOp) -> list[float]:
    """What each task of a function should take on its island, in its order."""
    seconds = _TaskCosts(module)
    return [seconds.of(call) for call in calls_in(function)]


def named_seconds(module: ir.Module) -> dict[TaskName, float]:
    """What each task of a step should take, by its name; one in a loop is there once for all microbatches."""
    seconds = _TaskCosts(module)
    return {task_name(call): seconds.of(call) for one in dataflow_functions(module).values() for call in calls_in(one)}


def task_seconds(module: ir.Module, functions: Sequence[tuple[func.FuncOp, int]]) -> defaultdict[str, float]:
    """What each island's tasks should take, in functions each given with how often it is called."""
    seconds = _TaskCosts(module)
    found: defaultdict[str, float] = defaultdict(float)
    for function, times in functions:
        for call in calls_in(function):
            found[island_of_task(call)] += times * seconds.of(call)
    return found


def time_spent(module: ir.Module, functions: Sequence[tuple[func.FuncOp, int]]) -> dict[str, Spent]:
    """On what each island's tasks should spend their time, in functions each given with how often it is called."""
    costs = _TaskCosts(module)
    found: defaultdict[str, Spent] = defaultdict(Spent)
    for call, times in _calls(functions):
        more = costs.spent(call)
        island = island_of_task(call)
        found[island] = Spent(*(before + times * one for before, one in zip(found[island], more, strict=True)))
    return dict(found)


def operations_of_devices(module: ir.Module, functions: Sequence[tuple[func.FuncOp, int]]) -> Counter[str]:
    """The operations that each device of an island does: together more than those of the tasks, where what shardings do
    not divide is done on several."""
    costs = _TaskCosts(module)
    found: Counter[str] = Counter()
    for call, times in _calls(functions):
        found[island_of_task(call)] += round(times * costs.work(call).operations)
    return found


def _calls(functions: Sequence[tuple[func.FuncOp, int]]) -> Iterator[tuple[mpmd.FragmentCallOp, int]]:
    return ((call, times) for function, times in functions for call in calls_in(function))


class _TaskCosts:
    """The work of fragments, each asked for once on each form of island."""

    def __init__(self, module: ir.Module) -> None:
        self._functions = fragment_functions(module)
        self._topology = topology_of(module)
        self._memories = Memories.of(module)
        self._islands = {island.name: island for island in self._topology.islands}
        self._known: dict[tuple[str, str, tuple[Axis, ...]], Work] = {}

    def of(self, call: mpmd.FragmentCallOp) -> float:
        return sum(self.spent(call))

    def spent(self, call: mpmd.FragmentCallOp) -> Spent:
        work = self.work(call)
        kind = device_kind(self._islands[island_of_task(call)], self._topology)
        spent = kind.spent(work)
        return spent._replace(computing=spent.computing + kind.task)

    def work(self, call: mpmd.FragmentCallOp) -> Work:
        island = self._islands[island_of_task(call)]
        key = code_name(call), island.kind, island.axes
        if key not in self._known:
            self._known[key] = work_of(self._functions[key[0]], island) + Work(hosted=self._hosted(call))
        return self._known[key]

    def _hosted(self, call: mpmd.FragmentCallOp) -> float:
        """The bytes on each device of what a task takes from the memory of the host, and of what it puts there."""
        island = self._islands[island_of_task(call)]
        ends = (*call.operation.operands, *call.operation.results)
        return sum(_bytes_on_device(one.type, island) for one in ends if self._memories.is_on_host(one))


def _bytes_on_device(type_: ir.Type, island: Island) -> float:
    """What each device of an island has of a value of the IR with islands."""
    sizes = {axis.name: axis.size for axis in island.axes}
    return bytes_of(local_type(type_)) / prod(sizes[axis] for axes in spec_of_type(type_) for axis in axes)


def seconds_of(work: Work, island: Island, topology: Topology) -> float:
    """What work should take that each device of an island does."""
    return device_kind(island, topology).seconds(work)


def _cost_of_codes(module: ir.Module) -> dict[str, int]:
    functions = fragment_functions(module).items()
    return {name: sum(map(cost_of, body_of(function).operations)) for name, function in functions}


def stage_costs(module: ir.Module, function: func.FuncOp, homes: Sequence[str]) -> tuple[StageCost, ...]:
    """What each stage costs whose tasks are in the function of a loop; homes: the island of each stage."""
    names = [task_name(call)._replace(loop=None) for call in calls_in(function)]
    costs = dict(zip(names, call_costs(module, function), strict=True))
    seconds = dict(zip(names, call_seconds(module, function), strict=True))
    sent = {(task._replace(loop=None), island): size for (task, island), size in bytes_to_islands(function).items()}
    stages = []
    for stage, home in enumerate(homes):
        forward, backward, weight = (costs.get(TaskName(kind, stage), 0) for kind in TASKS)
        onwards = homes[stage + 1] if stage + 1 < len(homes) else ""
        back = homes[stage - 1] if stage else ""
        to = (sent.get((TaskName(FORWARD, stage), onwards), 0), sent.get((TaskName(BACKWARD, stage), back), 0))
        takes = tuple(seconds.get(TaskName(kind, stage), 0.0) for kind in TASKS)
        stages.append(StageCost(home, forward, backward, weight, *to, (takes[0], takes[1], takes[2])))
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
    around: Sequence[float],
    replicas: int,
    slower: float = 1.0,
) -> Costs:
    """The costs in seconds; the unit of activations is those of one microbatch on an island's share of the model.

    names: the islands of one replica. around: for each of them the seconds of its tasks outside the loop. slower: how
        many times as long tasks take.
    """
    islands = [island for island in topology.islands if island.name in names]
    chunks = len(stages) // len(names)
    numbers = [names.index(stage.island) for stage in stages]
    pairs = {*pairwise(numbers)} | {(target, source) for source, target in pairwise(numbers)}
    links = {
        (source, target): topology.link(names[source], names[target]) for source, target in pairs if source != target
    }
    return Costs(
        forward=tuple(stage.seconds[0] * slower for stage in stages),
        backward=tuple(stage.seconds[1] * slower for stage in stages),
        weight=tuple(stage.seconds[2] * slower for stage in stages),
        update=tuple(seconds * slower for seconds in around),
        activations=(1 / chunks,) * len(stages),
        links={pair: LinkCost(link.latency / 1e9, float(link.bandwidth)) for pair, link in links.items()},
        forward_bytes=tuple(stage.forward_bytes for stage in stages[:-1]),
        backward_bytes=tuple(stage.backward_bytes for stage in stages[1:]),
        at_once=islands_at_once(islands, topology, replicas),
    )
