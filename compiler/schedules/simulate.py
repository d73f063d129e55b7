"""Runs a schedule on paper: when each task begins and ends, and what that costs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.task import Task
from atoll.compiler.schedules.walk import check_tasks, walk
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT

if TYPE_CHECKING:
    from atoll.compiler.schedules.schedule import Block, Schedule


class Link(NamedTuple):
    """One direction of a connection between two islands: seconds, and bytes a second."""

    latency: float = 0.0
    bandwidth: float = float("inf")


@dataclass(frozen=True)
class Costs:
    """What tasks and transfers take; the unit of time is the caller's.

    forward, backward, weight: for each stage the time of a task; a whole backward takes backward and weight.
    update: for each island the time of what follows its last task.
    activations: for each stage what a microbatch keeps from its forward task to the end of its backward, in any unit.
    links: for pairs of islands, source first, their link; sending between all others is free.
    forward_bytes, backward_bytes: for each stage what it sends to the next one forward, and gets from it backward.
    """

    forward: tuple[float, ...]
    backward: tuple[float, ...]
    weight: tuple[float, ...]
    update: tuple[float, ...]
    activations: tuple[float, ...]
    links: Mapping[tuple[int, int], Link] = field(default_factory=dict, hash=False)
    forward_bytes: tuple[float, ...] = ()
    backward_bytes: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        stages = len(self.forward)
        for name in ("backward", "weight", "activations"):
            if len(getattr(self, name)) != stages:
                raise PlanError(f"{name} has {len(getattr(self, name))} costs, and forward {stages}")
        for name in ("forward", "backward", "weight", "update", "activations", "forward_bytes", "backward_bytes"):
            for at, cost in enumerate(getattr(self, name)):
                if not 0 <= cost < math.inf:
                    raise PlanError(f"{name} has the cost {cost} at {at}", remedy="costs are 0 or more")
        for (source, target), link in self.links.items():
            if not (0 <= link.latency < math.inf and link.bandwidth > 0):
                what = f"the link {source} -> {target} has latency {link.latency} and bandwidth {link.bandwidth}"
                raise PlanError(what, remedy="a latency is 0 or more, and a bandwidth more than 0")

    def of(self, task: Task, split: bool) -> float:
        """What a task takes; split says whether its stage has weight tasks."""
        if task.kind == FORWARD:
            return self.forward[task.stage]
        if task.kind == WEIGHT:
            return self.weight[task.stage]
        return self.backward[task.stage] + (0 if split else self.weight[task.stage])

    def sending(self, kind: str, stage: int, source: int, target: int) -> tuple[float, float]:
        """How long a value that a stage made occupies the link to the next island, and its latency after that."""
        link = self.links.get((source, target))
        if link is None or source == target:
            return 0.0, 0.0
        sizes, at = (self.forward_bytes, stage) if kind == FORWARD else (self.backward_bytes, stage - 1)
        return (sizes[at] if at < len(sizes) else 0.0) / link.bandwidth, link.latency


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
    bubble: the part of the makespan that an island pauses, on average.
    peak: for each island the most activations that it keeps at a time.
    lower_bound: no schedule of these tasks on these islands is faster.
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
        """The same in a unit of time and memory that is so many times as large."""
        return Simulation(
            self.makespan / divisor,
            self.span / divisor,
            self.bubble,
            [peak / divisor for peak in self.peak],
            self.lower_bound / divisor,
            tuple(Timed(task, island, start / divisor, end / divisor) for task, island, start, end in self.tasks),
            tuple((start / divisor, end / divisor) for start, end in self.updates),
        )


def uniform(
    schedule: "Schedule",
    forward: float = 1.0,
    backward: float = 1.0,
    weight: float = 1.0,
    update: float = 0.0,
    transfer: float = 0.0,
) -> Costs:
    """The same costs for every stage. A transfer occupies its link for as long as it takes."""
    pairs = {*pairwise(schedule.stage_island)}
    link = Link(bandwidth=1 / transfer) if transfer else Link()
    stages = schedule.stages
    return Costs(
        (forward,) * stages,
        (backward,) * stages,
        (weight,) * stages,
        (update,) * schedule.islands,
        (1,) * stages,
        {pair: link for source, target in pairs for pair in ((source, target), (target, source))},
        (1,) * (stages - 1),
        (1,) * (stages - 1),
    )


def simulate(schedule: "Schedule", costs: Costs) -> Simulation:
    """What a schedule costs; a `PlanError` if it cannot be followed.

    An island begins a task when its one before has ended and all values are there. A value is sent when its block ends.
    A direction of a link sends one value after the other, in the order in which they were made, and each arrives one
    latency later. Sending costs the islands no time, and there is room for every value that waits.
    """
    check_tasks(schedule)
    _check_sizes(schedule, costs)
    clock = _Clock(schedule, costs)
    for island, block in walk(schedule):
        clock.run(island, block)
    islands = range(schedule.islands)
    updates = tuple((free, free + costs.update[island]) for island, free in enumerate(clock.free))
    makespan = max(end for _, end in updates)
    span = max(end - clock.start[island] for island, (_, end) in enumerate(updates))
    work = (sum(clock.busy) + sum(costs.update)) / schedule.islands
    bubble = (makespan - work) / makespan if makespan else 0.0
    tasks = tuple(timed for row in clock.rows for timed in row)
    peak = [_peak(schedule, costs, island) for island in islands]
    return Simulation(makespan, span, bubble, peak, lower_bound(schedule, costs), tasks, updates)


def _check_sizes(schedule: "Schedule", costs: Costs) -> None:
    for what, found, wanted in (
        ("stages", len(costs.forward), schedule.stages),
        ("islands", len(costs.update), schedule.islands),
    ):
        if found != wanted:
            raise PlanError(f"there are costs for {found} {what}, and schedule {schedule.name} has {wanted}")


class _Clock:
    """The times at which islands are free again and values arrive, block after block."""

    def __init__(self, schedule: "Schedule", costs: Costs) -> None:
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

    def run(self, island: int, block: "Block") -> None:
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

    def _note(self, island: int, block: "Block", begin: float, end: float) -> None:
        """For the picture, the tasks of a block share its time one after the other."""
        for task in block[:-1]:
            until = begin + self._cost[task.kind][task.stage]
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
        # An island's values are made in the order of its row, so a link is taken in the order in which this is called.
        sent = max(end, self._link_free.get((island, target), 0.0)) + occupied
        self._link_free[island, target] = sent
        self._arrival[kind, stage + step, microbatch] = sent + latency


def _peak(schedule: "Schedule", costs: Costs, island: int) -> float:
    """The most that an island keeps, from the order of its row alone: its tasks never overlap."""
    kept = peak = 0.0
    for block in schedule.blocks[island]:
        kept += sum(costs.activations[task.stage] for task in block if task.kind == FORWARD)
        peak = max(peak, kept)
        kept -= sum(costs.activations[task.stage] for task in block if _frees(task, schedule))
    return peak


def _frees(task: Task, schedule: "Schedule") -> bool:
    """Whether activations are needed no more when a task has ended."""
    if not schedule.has_backward:
        return True
    return task.kind == (WEIGHT if task.stage in schedule.split_stages else BACKWARD)


def lower_bound(schedule: "Schedule", costs: Costs) -> float:
    """A time that no order of a schedule's tasks can beat.

    An island's first task waits for a microbatch to come to it; then there is all of its work; and after its last task
    a microbatch has to go on from it to the end. Besides, one microbatch has its whole way to go.
    """
    way = _Way(schedule, costs)
    return max([way.length, *(way.bound_of(island) for island in range(schedule.islands))])


class _Way:
    """What a microbatch meets before and after each stage if nothing is in its way."""

    def __init__(self, schedule: "Schedule", costs: Costs) -> None:
        self._schedule, self._costs = schedule, costs
        self._stages = range(schedule.stages)
        forward = self._hops(FORWARD, self._stages)
        self._before = list(accumulate(forward[:-1], initial=0.0))  # of the begin of a forward task
        self._after = self._tails_of_backward() if schedule.has_backward else self._tails_of_forward(forward)
        first = self._before[-1] + costs.forward[-1]
        if schedule.has_backward:
            first += self._task(BACKWARD, schedule.stages - 1)
        self.length = first + self._after[-1]

    def _task(self, kind: str, stage: int) -> float:
        return self._costs.of(Task(kind, stage, 0), stage in self._schedule.split_stages)

    def _hops(self, kind: str, stages: "range") -> list[float]:
        """For each stage of a way the time from its task's begin to the arrival at the next stage."""
        homes = self._schedule.stage_island
        hops = [self._task(kind, stage) for stage in stages]
        for index, (stage, following) in enumerate(pairwise(stages)):
            hops[index] += sum(self._costs.sending(kind, stage, homes[stage], homes[following]))
        return hops

    def _update(self, stage: int) -> float:
        return self._costs.update[self._schedule.stage_island[stage]]

    def _tails_of_forward(self, hops: list[float]) -> list[float]:
        """For each stage the time from the end of its forward task to the end of all that follows it."""
        tails = [self._update(stage) for stage in self._stages]
        for stage in reversed(self._stages[:-1]):
            sending = hops[stage] - self._task(FORWARD, stage)
            tails[stage] = max(tails[stage], sending + self._task(FORWARD, stage + 1) + tails[stage + 1])
        return tails

    def _tails_of_backward(self) -> list[float]:
        """For each stage the time from the end of its backward task to the end of all that follows it."""
        hops = self._hops(BACKWARD, self._stages[::-1])[::-1]
        tails = [self._update(stage) for stage in self._stages]
        for stage in self._schedule.split_stages:
            tails[stage] += self._costs.weight[stage]
        for stage in self._stages[1:]:
            sending = hops[stage] - self._task(BACKWARD, stage)
            tails[stage] = max(tails[stage], sending + self._task(BACKWARD, stage - 1) + tails[stage - 1])
        return tails

    def bound_of(self, island: int) -> float:
        """The island's head, work and tail."""
        stages = [stage for stage in self._stages if self._schedule.stage_island[stage] == island]
        kinds = (FORWARD, BACKWARD) if self._schedule.has_backward else (FORWARD,)
        work = sum(self._task(kind, stage) for stage in stages for kind in kinds)
        split = [stage for stage in stages if stage in self._schedule.split_stages]
        work += sum(self._costs.weight[stage] for stage in split)
        # The last task may be any weight task, after which only the update is left.
        tail = self._costs.update[island] if split else min(self._after[stage] for stage in stages)
        return min(self._before[stage] for stage in stages) + self._schedule.microbatches * work + tail
