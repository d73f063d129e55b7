"""What a step with no loop over microbatches or several should take: the loops, and all work around them.

For a step with one loop the simulation of its schedule says it all. Where there are several, islands go on from one to
the next by themselves, as their streams follow `@main`: so all tasks of the step are run on paper, with the values that
they wait for.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.compiler.cost.devices import islands_at_once
from atoll.compiler.cost.task_costs import named_seconds
from atoll.compiler.emit.bundles import bundles_of, exchange_cost
from atoll.compiler.mlir.bindings import builtin, func, ir, mpmd
from atoll.compiler.mlir.functions import arguments_of, body_of, operations_in
from atoll.compiler.module.graph import bytes_of, iterations_of, parts_of_loop
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.mesh_types import island_of, local_type
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.module.task_order import order_of
from atoll.compiler.module.tasks import (
    calls_in,
    dataflow_functions,
    island_of_task,
    microbatch_call,
    microbatch_name,
    task_name,
    transfers_in,
)
from atoll.compiler.schedules.costs import LinkCost
from atoll.compiler.schedules.step_task import StepTask
from atoll.compiler.schedules.whole_step import LoopTimes, StepTimes, step_times
from atoll.compiler.task_name import EXCHANGE, TaskName
from atoll.compiler.topology.topology import Topology

_Value = ir.Value[ir.Type]


@dataclass(frozen=True, kw_only=True)
class WholeStep:
    """All tasks of a step whose loops over microbatches are not one that has a schedule, as they should run.

    islands: the names of the first rows; each has another one, for what it exchanges with other replicas.
    tasks: with what they should take, and what they need and send.
    step: seconds; bubble: the part of them in which an island pauses, on average; and if links took no time.
    loops: when each loop begins and ends, how long it overlaps with the one before, and how islands pause in it.
    """

    islands: tuple[str, ...]
    tasks: tuple[StepTask, ...]
    step: float
    bubble: float
    bubble_without_links: float
    loops: tuple[LoopTimes, ...]

    @classmethod
    def of(cls, *, islands: list[str], tasks: list[list[Any]], loops: list[list[Any]], **numbers: float) -> "WholeStep":
        """What `dataclasses.asdict` made fields of, which JSON has as lists."""
        made = (
            StepTask(name, row, seconds, loop, tuple(needs), tuple((target, size) for target, size in sends))
            for name, row, seconds, loop, needs, sends in tasks
        )
        spans = tuple(LoopTimes(*span) for span in loops)
        return cls(islands=tuple(islands), tasks=tuple(made), loops=spans, **numbers)

    def times(self, topology: Topology, slower: float = 1.0) -> StepTimes:
        """When the tasks run; with devices `slower` times as slow as assumed."""
        count = len(self.islands)
        tasks = [task._replace(seconds=task.seconds * slower) if task.row < count else task for task in self.tasks]
        return step_times(tasks, _links(topology, self.islands), count, _at_once(topology, self.islands))


def step_of_all_tasks(module: ir.Module) -> WholeStep:
    """What a step of a module at phase `scheduled` should take, with however many loops."""
    topology = topology_of(module)
    count = len(topology.islands) // replicas_of(module)
    islands = tuple(island.name for island in topology.islands[:count])
    tasks = tuple(_Tasks(module, topology, islands).all())
    at_once = _at_once(topology, islands)
    times = step_times(tasks, _links(topology, islands), count, at_once)
    return WholeStep(
        islands=islands,
        tasks=tasks,
        step=times.makespan,
        bubble=times.bubble(count),
        bubble_without_links=step_times(tasks, {}, count, at_once).bubble(count),
        loops=tuple(times.loops(count)),
    )


def _at_once(topology: Topology, islands: tuple[str, ...]) -> float | None:
    """How many islands' work those of a replica do together, if they share cores."""
    return islands_at_once(topology.islands[: len(islands)], topology, len(topology.islands) // len(islands))


def _links(topology: Topology, islands: tuple[str, ...]) -> dict[tuple[int, int], LinkCost]:
    """The links between islands; the row of an island's exchanges sends as the island does."""
    count = len(islands)
    links = {
        (row, target): topology.link(islands[row % count], islands[target])
        for row in range(2 * count)
        for target in range(count)
        if row % count != target
    }
    return {pair: LinkCost(link.latency / 1e9, float(link.bandwidth)) for pair, link in links.items()}


# Of a task: its name, and in a loop the microbatch.
_Key = tuple[TaskName, int | None]


class _Tasks:
    """Reads the tasks of a step, for each island in the order in which it runs them, and who makes what they take."""

    def __init__(self, module: ir.Module, topology: Topology, islands: tuple[str, ...]) -> None:
        self._module, self._topology, self._islands = module, topology, islands
        self._functions = dataflow_functions(module)
        self._tasks: list[StepTask] = []
        self._numbers: dict[_Key, int] = {}
        self._of_exchange: dict[_Value, int] = {}  # for what an exchange makes the number of its task
        # For each value that the function of a microbatch takes, its loop, and what the loop gives for it.
        self._outside: dict[_Value, tuple[mpmd.ForOp, _Value]] = {}

    def all(self) -> list[StepTask]:
        loops = operations_in(entry_function(self._module), mpmd.ForOp)
        for loop in loops:
            parameters = arguments_of(self._function_of(loop))
            given = microbatch_call(loop).operation.operands
            self._outside |= {one: (loop, value) for one, value in zip(parameters, given, strict=True)}
        self._number_tasks(loops)
        needs: dict[int, tuple[int, ...]] = {}
        sends: defaultdict[int, Counter[int]] = defaultdict(Counter)
        for function, microbatches in self._functions_with_microbatches(loops):
            for microbatch in microbatches:
                for call in calls_in(function):
                    number = self._numbers[task_name(call), microbatch]
                    needs[number] = self._last_makers(call.operation.operands, microbatch)
                for transfer in transfers_in(function):
                    given, made = transfer.operation.operands[0], transfer.result
                    target = self._islands.index(island_of(made.type))
                    for maker in self._last_makers([given], microbatch):
                        sends[maker][target] += bytes_of(local_type(given.type))
        for number, values, after in self._exchanged:
            needs[number] = (*self._last_makers(values, None), *after)
        return [
            task._replace(needs=needs.get(number, ()), sends=tuple(sends[number].items()))
            for number, task in enumerate(self._tasks)
        ]

    def _functions_with_microbatches(
        self, loops: Sequence[mpmd.ForOp]
    ) -> Iterator[tuple[func.FuncOp, Sequence[int | None]]]:
        yield entry_function(self._module), [None]
        for loop in loops:
            yield self._function_of(loop), range(iterations_of(loop) // replicas_of(self._module))

    def _function_of(self, loop: mpmd.ForOp) -> func.FuncOp:
        return self._functions[microbatch_name(loop)]

    def _number_tasks(self, loops: Sequence[mpmd.ForOp]) -> None:
        """Number the tasks of islands as they run, and then the exchanges, which take none of the islands' time."""
        seconds = named_seconds(self._module)
        at = {loop.operation: number for number, loop in enumerate(loops)}
        made_by: dict[_Value, int] = {one: at[loop.operation] for loop in loops for one in loop.operation.results}

        def add(task: TaskName, microbatch: int | None, island: str, loop: int | None) -> None:
            self._numbers[task, microbatch] = len(self._tasks)
            name = str(task if microbatch is None else task.of(microbatch))
            self._tasks.append(StepTask(name, self._islands.index(island), seconds[task], loop))

        for operation in body_of(entry_function(self._module)).operations:
            if isinstance(operation, mpmd.FragmentCallOp):
                add(task_name(operation), None, island_of_task(operation), None)
            elif isinstance(operation, mpmd.ForOp):
                for island, tasks in order_of(operation).items():
                    for task, microbatch in tasks:
                        add(task, microbatch, island, at[operation.operation])
        self._exchanged: list[tuple[int, list[_Value], list[int]]] = []
        for number, bundle in enumerate(bundles_of(self._module)):
            self._of_exchange |= {member.made: len(self._tasks) for member in bundle.members}
            cost = exchange_cost(self._module, bundle)
            # An exchange whose larger part is late is all taken to be.
            is_late = cost is not None and cost.late and bundle.in_loop
            after = self._end_of_row(bundle.island, made_by[bundle.begin]) if is_late else []
            self._exchanged.append((len(self._tasks), [member.given for member in bundle.members], after))
            row = len(self._islands) + self._islands.index(bundle.island)
            self._tasks.append(StepTask(f"{EXCHANGE}{number}.all", row, 0.0 if cost is None else cost.seconds))

    def _end_of_row(self, island: str, loop: int) -> list[int]:
        """The last task of an island in a loop, if it has any there."""
        row = self._islands.index(island)
        return [number for number, task in enumerate(self._tasks) if (task.row, task.loop) == (row, loop)][-1:]

    def _last_makers(self, values: Iterable[_Value], microbatch: int | None) -> tuple[int, ...]:
        """Of the tasks that make some values the last in each row: those before it have ended by then."""
        last: dict[int, int] = {}
        for maker in sorted(number for value in values for number in self._makers(value, microbatch)):
            last[self._tasks[maker].row] = maker
        return tuple(last.values())

    def _makers(self, value: _Value, microbatch: int | None) -> Iterator[int]:
        """The tasks that must have ended before a value is there."""
        maker = value.owner
        if value in self._of_exchange:
            yield self._of_exchange[value]
        elif isinstance(maker, mpmd.FragmentCallOp):
            yield self._numbers[task_name(maker), microbatch]
        elif isinstance(maker, mpmd.ForOp):
            yielded = self._yielded(maker, value)
            for one in range(iterations_of(maker) // replicas_of(self._module)):
                yield from self._makers(yielded, one)
        elif isinstance(maker, ir.Block):
            if value in self._outside:
                yield from self._makers_outside(*self._outside[value], microbatch)
        elif isinstance(maker, (mpmd.TransferOp, builtin.UnrealizedConversionCastOp)):
            yield from self._makers(maker.operation.operands[0], microbatch)

    def _makers_outside(self, loop: mpmd.ForOp, value: _Value, microbatch: int | None) -> Iterator[int]:
        """Of what a loop gives to the function of a microbatch.

        Of what an earlier loop has kept, each microbatch takes its own part. What is handed on from one microbatch to
        the next stays on its island, whose tasks follow each other anyway, and so counts once, where it begins.
        """
        maker = value.owner
        if isinstance(maker, ir.Block) and maker.owner == loop.operation:
            number = ir.BlockArgument(value).arg_number
            if number < len(loop.operation.operands):
                yield from self._makers(loop.operation.operands[number], None)
        elif isinstance(maker, mpmd.ForOp) and ir.OpResult(value).result_number in parts_of_loop(maker):
            yield from self._makers(self._yielded(maker, value), microbatch)
        else:
            yield from self._makers(value, None)

    def _yielded(self, loop: mpmd.ForOp, result: _Value) -> _Value:
        """What the function of a microbatch returns for a result of its loop."""
        *_, returning = body_of(self._function_of(loop)).operations
        yielded: _Value = returning.operation.operands[ir.OpResult(result).result_number]
        return yielded
