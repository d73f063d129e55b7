"""What the last loop over microbatches should take: its schedule, simulated with the cost of its tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from atoll.compiler.cost.task_costs import StageCost, costs_of, stage_costs, task_costs, task_seconds
from atoll.compiler.emit.bundles import ExchangeCost, exchanges_of
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.graph import iterations_of
from atoll.compiler.module.loop_schedule import schedule_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.module.tasks import (
    calls_in,
    dataflow_functions,
    microbatch_name,
    task_name,
)
from atoll.compiler.schedules.costs import Costs
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.simulate import Simulation, simulate
from atoll.compiler.topology.topology import Topology


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The schedule of a program's last loop over microbatches, and what the simulator says of it.

    Where there are others, what all of them take is a `WholeStep`.

    schedule: a text for `Schedule.parse`; islands: the names of its islands; name, microbatches: as in the text.
    replicas: how many there are, of which this is one.
    absent: the tasks of the schedule, such as `B0`, that the program has nothing to run for.
    around: for each island the operations of its tasks outside of loops, which are counted after it.
    around_seconds: what these should take.
    exchanges: what islands exchange with other replicas, and after which tasks.
    step, span, lower_bound: seconds.
    bubble: the part of the step in which an island pauses, on average; and what it would be if links took no time.
    activations: for each island the most that it keeps, in those of one microbatch of its share.
    """

    name: str
    microbatches: int
    replicas: int
    schedule: str
    absent: tuple[str, ...]
    islands: tuple[str, ...]
    stages: tuple[StageCost, ...]
    around: tuple[int, ...]
    around_seconds: tuple[float, ...]
    exchanges: tuple[ExchangeCost, ...]
    step: float
    span: float
    bubble: float
    bubble_without_links: float
    lower_bound: float
    activations: tuple[float, ...]

    def simulation(self, topology: Topology, slower: float = 1.0) -> Simulation:
        """The simulation that the numbers are from; with devices `slower` times as slow as assumed."""
        costs = costs_of(topology, self.islands, self.stages, self.around_seconds, self.replicas, slower)
        return _simulated(Schedule.parse(self.schedule), costs, self.islands, self.exchanges)

    def schedule_that_runs(self) -> Schedule:
        """The schedule without the tasks that the program does not have."""
        return Schedule.parse(self.schedule).without(self.absent)


def predict(module: ir.Module) -> Prediction | None:
    """What the last loop of a module at phase `scheduled` should take; None if no schedule is for it."""
    topology = topology_of(module)
    names = [island.name for island in topology.islands]
    loops = operations_in(entry_function(module), mpmd.ForOp)
    schedule = schedule_of(module, loops[-1]) if loops else None
    if schedule is None:
        return None
    function = dataflow_functions(module)[microbatch_name(loops[-1])]
    tasks = {task_name(call) for call in calls_in(function)}
    islands = tuple(names[: schedule.islands])
    stages = stage_costs(module, function, [islands[home] for home in schedule.stage_island])
    before = calls_of_functions(module)[:1]
    around, seconds = task_costs(module, before), task_seconds(module, before)
    outside = tuple(seconds[name] for name in islands)
    exchanges = exchanges_of(module)
    costs = costs_of(topology, islands, stages, outside, replicas_of(module))
    simulation = _simulated(schedule, costs, islands, exchanges)
    return Prediction(
        name=schedule.name,
        microbatches=schedule.microbatches,
        replicas=replicas_of(module),
        schedule=str(schedule),
        absent=tuple(sorted(map(str, {task.name.rolled for row in schedule.rows for task in row} - tasks))),
        islands=islands,
        stages=stages,
        around=tuple(around[name] for name in islands),
        around_seconds=outside,
        exchanges=exchanges,
        step=simulation.makespan,
        span=simulation.span,
        bubble=simulation.bubble,
        bubble_without_links=_simulated(schedule, replace(costs, links={}), islands, exchanges).bubble,
        lower_bound=simulation.lower_bound,
        activations=tuple(simulation.peak),
    )


def _simulated(
    schedule: Schedule, costs: Costs, islands: Sequence[str], exchanges: Sequence[ExchangeCost]
) -> Simulation:
    """The schedule, with the time by which an island's exchanges outlast its last task added after that task.

    A device runs the tasks of a block one by one, each when what it takes is there, and sends what it makes at its end.
    An exchange begins when its task has run for the last time, and takes no time of the island's. One follows the
    other, as they share a link. The late part of it comes after the last task. What is exchanged around the loop, such
    as new parameters of which each replica has made a share, is added to what the island does there.
    """
    found = simulate(replace(schedule, joined=frozenset()), costs)
    starts: dict[int, float] = {}
    ready: dict[str, float] = {}
    for task, island, start, end in found.tasks:
        starts.setdefault(island, start)
        ready[str(task.name.rolled)] = end  # tasks of a row are in order
    done = [0.0] * len(islands)
    summed = [one for one in exchanges if one.in_loop]
    for begin, one in sorted(((ready.get(one.task or "", 0.0), one) for one in summed), key=itemgetter(0)):
        island = islands.index(one.island)
        done[island] = max(done[island], begin) + one.seconds - one.late
    late = [sum(one.late for one in summed if one.island == name) for name in islands]
    waits = (max(0.0, end - begin) + more for end, more, (begin, _) in zip(done, late, found.updates, strict=True))
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


def calls_of_functions(module: ir.Module) -> list[tuple[func.FuncOp, int]]:
    """`@main` and the function of each loop, and how often a step goes through them in each replica."""
    functions = dataflow_functions(module)
    main, replicas = entry_function(module), replicas_of(module)
    loops = operations_in(main, mpmd.ForOp)
    return [(main, 1), *((functions[microbatch_name(loop)], iterations_of(loop) // replicas) for loop in loops)]
