"""What tasks and transfers cost."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.task import Task
from atoll.compiler.schedules.task_table import TaskTable
from atoll.compiler.task_name import FORWARD, WEIGHT


class LinkCost(NamedTuple):
    """One direction of a connection between two islands: seconds, and bytes a second."""

    latency: float = 0.0
    bandwidth: float = float("inf")


@dataclass(frozen=True)
class Costs:
    """What tasks and transfers take, in the caller's unit of time.

    forward, backward, weight: for each stage the time of a task; a whole backward takes backward and weight.
    update: for each island the time of what follows its last task.
    activations: for each stage what a microbatch keeps there from its forward task to the end of its backward, in any
        unit.
    links: for pairs of islands, source first, their link; sending between any other two is free.
    forward_bytes, backward_bytes: for each stage what it sends to the next one forward, and gets back from it.
    at_once: how many islands' work all of them do together, if they share cores; None if each has its own.
    """

    forward: tuple[float, ...]
    backward: tuple[float, ...]
    weight: tuple[float, ...]
    update: tuple[float, ...]
    activations: tuple[float, ...]
    links: Mapping[tuple[int, int], LinkCost] = field(default_factory=dict, hash=False)
    forward_bytes: tuple[float, ...] = ()
    backward_bytes: tuple[float, ...] = ()
    at_once: float | None = None

    def __post_init__(self) -> None:
        stages = len(self.forward)
        for name in ("backward", "weight", "activations"):
            if len(getattr(self, name)) != stages:
                raise PlanError(f"{name} has {len(getattr(self, name))} costs, and forward {stages}")
        for name in ("forward", "backward", "weight", "update", "activations", "forward_bytes", "backward_bytes"):
            for at, cost in enumerate(getattr(self, name)):
                if not 0 <= cost < math.inf:
                    raise PlanError(f"{name} has the cost {cost} at {at}", remedy="costs are 0 or more")
        if self.at_once is not None and not 0 < self.at_once < math.inf:
            raise PlanError(f"islands do the work of {self.at_once} at once", remedy="write a number above 0")
        for (source, target), link in self.links.items():
            if not (0 <= link.latency < math.inf and link.bandwidth > 0):
                what = f"the link {source} -> {target} has latency {link.latency} and bandwidth {link.bandwidth}"
                raise PlanError(what, remedy="a latency is 0 or more, and a bandwidth more than 0")

    def of(self, task: Task, split: bool) -> float:
        """How long a task takes; split: whether its stage has weight tasks."""
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
        return self.sent_bytes(kind, stage) / link.bandwidth, link.latency

    def sent_bytes(self, kind: str, stage: int) -> float:
        """What a stage sends to the next one, or back to the one before."""
        sizes, at = (self.forward_bytes, stage) if kind == FORWARD else (self.backward_bytes, stage - 1)
        return sizes[at] if at < len(sizes) else 0.0


def uniform(
    schedule: TaskTable,
    forward: float = 1.0,
    backward: float = 1.0,
    weight: float = 1.0,
    update: float = 0.0,
    transfer: float = 0.0,
) -> Costs:
    """Costs that are the same for every stage. A transfer occupies its link for as long as it takes."""
    pairs = {*pairwise(schedule.stage_island)}
    link = LinkCost(bandwidth=1 / transfer) if transfer else LinkCost()
    stages = schedule.stages
    return Costs(
        forward=(forward,) * stages,
        backward=(backward,) * stages,
        weight=(weight,) * stages,
        update=(update,) * schedule.islands,
        activations=(1,) * stages,
        links={pair: link for source, target in pairs for pair in ((source, target), (target, source))},
        forward_bytes=(1,) * (stages - 1),
        backward_bytes=(1,) * (stages - 1),
    )
