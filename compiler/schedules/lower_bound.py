"""A time that no order of a schedule's tasks can beat."""

from itertools import accumulate, pairwise

from atoll.compiler.schedules.costs import Costs
from atoll.compiler.schedules.task import Task
from atoll.compiler.schedules.task_table import TaskTable
from atoll.compiler.task_name import BACKWARD, FORWARD


def lower_bound(schedule: TaskTable, costs: Costs) -> float:
    """A time that no order of a schedule's tasks can beat.

    An island's first task waits for a microbatch to come to it; then there is all of its work; and after its last task
    a microbatch has to go on from it to the end. Besides, one microbatch has its whole way to go.
    """
    way = _Way(schedule, costs)
    return max([way.length, *(way.bound_of(island) for island in range(schedule.islands))])


class _Way:
    """What a microbatch meets before and after each stage if nothing is in its way."""

    def __init__(self, schedule: TaskTable, costs: Costs) -> None:
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
