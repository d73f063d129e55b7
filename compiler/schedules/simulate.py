"""Runs a schedule on paper: when each task begins and ends, and what that costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.costs import Costs
from atoll.compiler.schedules.lower_bound import lower_bound
from atoll.compiler.schedules.sharing import SharedCores
from atoll.compiler.schedules.step_task import StepTask
from atoll.compiler.schedules.task import Task
from atoll.compiler.schedules.task_table import Block, TaskTable
from atoll.compiler.schedules.walk import check_tasks, needs, walk
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT


class Timed(NamedTuple):
    """When a task runs, and where."""

    task: Task
    island: int
    start: float
    end: float


@dataclass(frozen=True)
class Simulation:
    """What a schedule costs.

    makespan: from the first start to the last end.
    span: the longest time from an island's first start to its own last end.
    bubble: the part of the makespan in which an island pauses, on average.
    peak: for each island the most activations that it keeps at any time.
    lower_bound: a makespan that no schedule of these tasks on these islands can beat.
    tasks: when each task runs, island by island.
    updates: for each island when its update begins and ends.
    """

    makespan: float
    span: float
    bubble: float
    peak: list[float]
    lower_bound: float
    tasks: tuple[Timed, ...]
    updates: tuple[tuple[float, float], ...]

    def divided(self, divisor: float) -> "Simulation":
        """The same in units of time and memory that are `divisor` times as large."""
        return Simulation(
            makespan=self.makespan / divisor,
            span=self.span / divisor,
            bubble=self.bubble,
            peak=[peak / divisor for peak in self.peak],
            lower_bound=self.lower_bound / divisor,
            tasks=tuple(Timed(task, island, start / divisor, end / divisor) for task, island, start, end in self.tasks),
            updates=tuple((start / divisor, end / divisor) for start, end in self.updates),
        )


Walk = tuple[tuple[int, Block], ...]  # the blocks of all islands, each after all that it needs


def walked(schedule: TaskTable) -> Walk:
    """An order in which all tasks can run, whatever they cost; a `PlanError` if there is none."""
    check_tasks(schedule)
    return tuple(walk(schedule))


def simulate(schedule: TaskTable, costs: Costs, way: Walk | None = None) -> Simulation:
    """What a schedule costs; a `PlanError` if it cannot be followed.

    way: what `walked` gives, for whoever simulates a schedule again and again.

    An island begins a task when the one before has ended and all values are there. A value is sent when its block ends.
    Each direction of a link sends one value after the other, in the order in which they were made, and each arrives one
    latency later. Sending takes none of the islands' time, and there is room for every value that waits. Islands that
    share cores take longer for what they do at the same time.
    """
    _check_sizes(schedule, costs)
    clock = _Clock(schedule, costs)
    for island, block in walked(schedule) if way is None else way:
        clock.run(island, block)
    islands = range(schedule.islands)
    updates = [(free, free + costs.update[island]) for island, free in enumerate(clock.free)]
    if costs.at_once is not None:
        updates = clock.share(costs.at_once)
    makespan = max(end for _, end in updates)
    span = max(end - clock.start[island] for island, (_, end) in enumerate(updates))
    work = (sum(clock.busy) + sum(end - begin for begin, end in updates)) / schedule.islands
    bubble = (makespan - work) / makespan if makespan else 0.0
    tasks = tuple(timed for row in clock.rows for timed in row)
    peak = [_peak(schedule, costs, island) for island in islands]
    return Simulation(
        makespan=makespan,
        span=span,
        bubble=bubble,
        peak=peak,
        lower_bound=max(lower_bound(schedule, costs), clock.work / (costs.at_once or schedule.islands)),
        tasks=tasks,
        updates=tuple(updates),
    )


def _check_sizes(schedule: TaskTable, costs: Costs) -> None:
    for what, found, wanted in (
        ("stages", len(costs.forward), schedule.stages),
        ("islands", len(costs.update), schedule.islands),
    ):
        if found != wanted:
            raise PlanError(f"there are costs for {found} {what}, and schedule {schedule.name} has {wanted}")


class _Clock:
    """Follows block after block: when islands are free again, and when values arrive."""

    def __init__(self, schedule: TaskTable, costs: Costs) -> None:
        self._schedule, self._costs = schedule, costs
        self._last = schedule.stages - 1
        self.free = [0.0] * schedule.islands
        self.start = [0.0] * schedule.islands
        self.busy = [0.0] * schedule.islands
        self.rows: list[list[Timed]] = [[] for _ in range(schedule.islands)]
        self._arrival: dict[tuple[str, int, int], float] = {}  # of a stage's forward or backward input
        self._link_free: dict[tuple[int, int], float] = {}
        split = schedule.split_stages
        stages = range(schedule.stages)
        self._cost = {kind: [costs.of(Task(kind, at, 0), at in split) for at in stages] for kind in ("F", "B", "W")}

    def run(self, island: int, block: Block) -> None:
        begin = self.free[island]
        length = 0.0
        for task in block:
            arrival = 0.0 if task.kind == WEIGHT else self._arrival.pop(task, 0.0)
            begin = max(begin, arrival)
            length += self._cost[task.kind][task.stage]
        if not self.rows[island]:
            self.start[island] = begin
        end = begin + length
        self.free[island] = end
        self.busy[island] += length
        self._note(island, block, begin, end)
        for task in block:
            self._send(island, task, end)

    @property
    def work(self) -> float:
        """What all islands do, if none of it takes longer because others are at work."""
        costs = (self._cost[task.kind][task.stage] for row in self._schedule.rows for task in row)
        return sum(costs) + sum(self._costs.update)

    def share(self, at_once: float) -> list[tuple[float, float]]:
        """Take the times of islands that share cores instead; returns when the updates begin and end."""
        blocks = [(island, block) for island, row in enumerate(self._schedule.blocks) for block in row]
        maker = {task: number for number, (_, block) in enumerate(blocks) for task in block}
        tasks = [self._step_task(island, block, maker) for island, block in blocks]
        islands = range(self._schedule.islands)
        tasks += [StepTask("update", island, self._costs.update[island]) for island in islands]
        cores = SharedCores(tasks, self._costs.links, len(islands), at_once)
        cores.run()
        self.rows = [[] for _ in islands]
        self.busy = [0.0 for _ in islands]
        for (island, block), start, end in zip(blocks, cores.starts, cores.ends, strict=False):  # and then the updates
            if not self.rows[island]:
                self.start[island] = start
            self.busy[island] += end - start
            length = sum(self._cost[task.kind][task.stage] for task in block)
            self._note(island, block, start, end, (end - start) / length if length else 1.0)
        return list(zip(cores.starts, cores.ends, strict=True))[len(blocks) :]

    def _step_task(self, island: int, block: Block, maker: Mapping[Task, int]) -> StepTask:
        length, needed, sends = 0.0, set[int](), list[tuple[int, float]]()
        own = set(block)
        for task in block:
            length += self._cost[task.kind][task.stage]
            needed |= {maker[Task(*one)] for one in needs(task, self._schedule.stages) if Task(*one) not in own}
            onwards = task.stage + {FORWARD: 1, BACKWARD: -1, WEIGHT: 0}[task.kind]
            if onwards != task.stage and 0 <= onwards <= self._last:
                target = self._schedule.stage_island[onwards]
                if target != island:
                    sends.append((target, self._costs.sent_bytes(task.kind, task.stage)))
        return StepTask(str(block[0]), island, length, None, tuple(needed), tuple(sends))

    def _note(self, island: int, block: Block, begin: float, end: float, slower: float = 1.0) -> None:
        """Note when tasks run. For the picture, those of a block divide its time among them, one after the other."""
        for task in block[:-1]:
            until = begin + slower * self._cost[task.kind][task.stage]
            self.rows[island].append(Timed(task, island, begin, until))
            begin = until
        self.rows[island].append(Timed(block[-1], island, begin, end))

    def _send(self, island: int, task: Task, end: float) -> None:
        kind, stage, microbatch = task
        step = {FORWARD: 1, BACKWARD: -1, WEIGHT: 0}[kind]
        if not step or not 0 <= stage + step <= self._last:
            return
        target = self._schedule.stage_island[stage + step]
        occupied, latency = self._costs.sending(kind, stage, island, target)
        # Only its source uses this direction of the link, and makes its values in the order of its row, so calls come
        # in the order in which the link sends.
        sent = max(end, self._link_free.get((island, target), 0.0)) + occupied
        self._link_free[island, target] = sent
        self._arrival[kind, stage + step, microbatch] = sent + latency


def _peak(schedule: TaskTable, costs: Costs, island: int) -> float:
    """The most that an island keeps, from the order of its row alone: its tasks never overlap."""
    kept = peak = 0.0
    for block in schedule.blocks[island]:
        kept += sum(costs.activations[task.stage] for task in block if task.kind == FORWARD)
        peak = max(peak, kept)
        kept -= sum(costs.activations[task.stage] for task in block if _frees(task, schedule))
    return peak


def _frees(task: Task, schedule: TaskTable) -> bool:
    """Whether activations are no longer needed once a task has ended."""
    if not schedule.has_backward:
        return True
    return task.kind == (WEIGHT if task.stage in schedule.split_stages else BACKWARD)
