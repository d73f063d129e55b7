"""What a loop over microbatches should take: its schedule, simulated with the cost of its tasks.

Nothing here is measured. A task takes the operations that its fragment counts, divided by the speed that is assumed of
its island; a value takes the bandwidth and the latency of its link. To divide it otherwise for that takes no time here:
nothing is computed, and what links devices of one island is faster than what links islands.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import itemgetter

from atoll.compiler.bundles import Exchange, exchanges_of
from atoll.compiler.cost import cost_of
from atoll.compiler.entry import entry_function, text_attribute
from atoll.compiler.errors import PlanError
from atoll.compiler.functions import body_of, operations_in
from atoll.compiler.graph import bytes_of, iterations_of
from atoll.compiler.island import Island
from atoll.compiler.mesh_types import island_of, local_type
from atoll.compiler.mlir import func, ir, mpmd
from atoll.compiler.pipeline_shape import PIPELINES
from atoll.compiler.plan import AUTO
from atoll.compiler.plan_marks import KINDS, SCHEDULE, plan_of, shape_of, topology_of
from atoll.compiler.replicas import replicas_of
from atoll.compiler.schedules.kinds import KINDS as KINDS_OF_SCHEDULES
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.simulate import Costs, Link, Simulation, simulate
from atoll.compiler.schedules.task import BACKWARD, FORWARD, Task
from atoll.compiler.schedules.task import KINDS as TASKS
from atoll.compiler.schedules.walk import check
from atoll.compiler.task_order import MicrobatchTask, order_of
from atoll.compiler.tasks import (
    calls_in,
    code_name,
    dataflow_functions,
    fragment_functions,
    mesh_name,
    microbatch_name,
    task_name,
    transfers_in,
)
from atoll.compiler.topology import Topology

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


@dataclass(frozen=True)
class Prediction:
    """The schedule of a program's loop over microbatches, and what the simulator says of it.

    schedule: a text for `Schedule.parse`; islands: the names of its islands; name, microbatches: as in the text.
    around: for each island the operations of its tasks outside of the loop, which are counted after it.
    exchanges: what islands exchange with other replicas, and behind which tasks.
    step, span, lower_bound: seconds.
    bubble: the part of the step that an island pauses, on average; and what it would be if links took no time.
    activations: for each island the most that it keeps, in those of one microbatch of its share.
    """

    name: str
    microbatches: int
    schedule: str
    islands: tuple[str, ...]
    stages: tuple[StageCost, ...]
    around: tuple[int, ...]
    exchanges: tuple[Exchange, ...]
    step: float
    span: float
    bubble: float
    bubble_without_links: float
    lower_bound: float
    activations: tuple[float, ...]

    def simulation(self, topology: Topology, slower: float = 1.0) -> Simulation:
        """The simulation that the numbers are from; with devices so many times as slow as assumed, if asked for."""
        costs = costs_of(topology, self.islands, self.stages, self.around, slower)
        return _simulated(Schedule.parse(self.schedule), costs, self.islands, self.exchanges)


def predict(module: ir.Module) -> Prediction | None:
    """What the last loop of a module at phase `scheduled` should take; None if no schedule is for it."""
    topology = topology_of(module)
    names = [island.name for island in topology.islands]
    loops = operations_in(entry_function(module), mpmd.ForOp)
    if not loops or plan_of(module).placement is not None:
        return None
    function = dataflow_functions(module)[microbatch_name(loops[-1])]
    schedule = _schedule(module, loops[-1], function, names)
    if schedule is None:
        return None
    islands = tuple(names[: schedule.islands])
    stages = stage_costs(module, function, [islands[home] for home in schedule.stage_island])
    around = task_costs(module, calls_of_functions(module)[:-1])
    outside = tuple(around[name] for name in islands)
    exchanges = exchanges_of(module)
    costs = costs_of(topology, islands, stages, outside)
    simulation = _simulated(schedule, costs, islands, exchanges)
    return Prediction(
        schedule.name,
        schedule.microbatches,
        str(schedule),
        islands,
        stages,
        outside,
        exchanges,
        simulation.makespan,
        simulation.span,
        simulation.bubble,
        _simulated(schedule, replace(costs, links={}), islands, exchanges).bubble,
        simulation.lower_bound,
        tuple(simulation.peak),
    )


def _simulated(schedule: Schedule, costs: Costs, islands: Sequence[str], exchanges: Sequence[Exchange]) -> Simulation:
    """The schedule, and behind each island's last task the time by which its exchanges outlast it.

    An exchange begins when its task has run for the last time, and takes no time of the island's. One follows the
    other, as they share a link. What is exchanged around the loop, such as new parameters of which each replica has
    made a share, is added to what the island does there.
    """
    found = simulate(schedule, costs)
    starts: dict[int, float] = {}
    ready: dict[str, float] = {}
    for task, island, start, end in found.tasks:
        starts.setdefault(island, start)
        ready[f"{task.kind}{task.stage}"] = end  # tasks of a row are in order
    done = [0.0] * len(islands)
    summed = [one for one in exchanges if one.in_loop]
    for begin, one in sorted(((ready.get(one.task or "", 0.0), one) for one in summed), key=itemgetter(0)):
        island = islands.index(one.island)
        done[island] = max(done[island], begin) + one.seconds
    waits = (max(0.0, late - begin) for late, (begin, _) in zip(done, found.updates, strict=True))
    around = [sum(one.seconds for one in exchanges if one.island == name and not one.in_loop) for name in islands]
    updates = tuple(
        (begin + wait, end + wait + more) for wait, more, (begin, end) in zip(waits, around, found.updates, strict=True)
    )
    makespan = max(end for _, end in updates)
    work = (1 - found.bubble) * found.makespan
    return replace(
        found,
        makespan=makespan,
        span=max(end - starts.get(island, 0.0) for island, (_, end) in enumerate(updates)),
        bubble=(makespan - work) / makespan if makespan else 0.0,
        updates=updates,
    )


def task_costs(module: ir.Module, functions: Sequence[tuple[func.FuncOp, int]]) -> Counter[str]:
    """The operations of the tasks of each island in functions that are called so often."""
    cost = _cost_of_codes(module)
    found: Counter[str] = Counter()
    for function, times in functions:
        for call in calls_in(function):
            found[mesh_name(call)] += times * cost[code_name(call)]
    return found


def calls_of_functions(module: ir.Module) -> list[tuple[func.FuncOp, int]]:
    """`@main` and the function of each loop, and how often a step goes through them in each replica."""
    functions = dataflow_functions(module)
    main, replicas = entry_function(module), replicas_of(module)
    loops = operations_in(main, mpmd.ForOp)
    return [(main, 1), *((functions[microbatch_name(loop)], iterations_of(loop) // replicas) for loop in loops)]


def _cost_of_codes(module: ir.Module) -> dict[str, int]:
    functions = fragment_functions(module).items()
    return {name: sum(map(cost_of, body_of(function).operations)) for name, function in functions}


def _schedule(module: ir.Module, loop: mpmd.ForOp, function: func.FuncOp, names: Sequence[str]) -> Schedule | None:
    """The schedule that a loop's table follows: the one that it was made from, unless somebody has edited it."""
    kinds = text_attribute(loop.operation.attributes, KINDS)
    if kinds not in PIPELINES:
        return None
    tasks = {task_name(call) for call in calls_in(function)}
    order = order_of(loop)
    shape = shape_of(module)
    name = text_attribute(loop.operation.attributes, SCHEDULE) or "edited"
    if name in KINDS_OF_SCHEDULES and shape.plan.schedule == AUTO:
        shape = replace(shape, plan=replace(shape.plan, schedule=name))
    try:
        planned = shape.schedule_of(kinds, tasks)
        rows = [[_in_loop(task) for task in row if f"{task.kind}{task.stage}" in tasks] for row in planned.rows]
        if all(order.get(island, []) == row for island, row in zip(names, rows, strict=False)):
            return planned
        found = Schedule(
            "edited" if name in KINDS_OF_SCHEDULES or shape.plan.schedule != AUTO else name,
            planned.microbatches,
            planned.stage_island,
            tuple(tuple(map(_of_loop, order.get(island, []))) for island in names[: planned.islands]),
        )
        check(found)
    except (PlanError, ValueError):
        return None
    return found


def _in_loop(task: Task) -> MicrobatchTask:
    return MicrobatchTask(f"{task.kind}{task.stage}", task.microbatch)


def _of_loop(task: MicrobatchTask) -> Task:
    """ValueError for a task that no schedule has."""
    return Task(task.task[0], int(task.task[1:]), task.microbatch)


def stage_costs(module: ir.Module, function: func.FuncOp, homes: Sequence[str]) -> tuple[StageCost, ...]:
    """What the stages cost whose tasks are in a function; homes: the island of each."""
    cost = _cost_of_codes(module)
    costs = {task_name(call): cost[code_name(call)] for call in calls_in(function)}
    sent = _bytes_to_neighbours(function)
    stages = []
    for stage, home in enumerate(homes):
        forward, backward, weight = (costs.get(f"{kind}{stage}", 0) for kind in TASKS)
        onwards = homes[stage + 1] if stage + 1 < len(homes) else ""
        back = homes[stage - 1] if stage else ""
        to = sent[f"{FORWARD}{stage}", onwards], sent[f"{BACKWARD}{stage}", back]
        stages.append(StageCost(home, forward, backward, weight, *to))
    return tuple(stages)


def _bytes_to_neighbours(function: func.FuncOp) -> Counter[tuple[str, str]]:
    """The bytes that each task sends to each island."""
    sent: Counter[tuple[str, str]] = Counter()
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
        tuple(stage.forward / speed[stage.island] for stage in stages),
        tuple(stage.backward / speed[stage.island] for stage in stages),
        tuple(stage.weight / speed[stage.island] for stage in stages),
        tuple(cost / speed[name] for cost, name in zip(around, names, strict=True)),
        (1 / chunks,) * len(stages),
        {pair: Link(link.latency / 1e9, float(link.bandwidth)) for pair, link in links.items()},
        tuple(stage.forward_bytes for stage in stages[:-1]),
        tuple(stage.backward_bytes for stage in stages[1:]),
    )


def speed_of(island: Island) -> float:
    """Operations a second that are assumed of an island, its work divided evenly over its devices."""
    return ASSUMED_SPEED[island.kind] * island.size
