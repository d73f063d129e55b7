"""Times that no order of a problem can beat, because its islands cannot keep more than their limits."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from atoll.compiler.schedules.greedy import Problem
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT


def memory_bounds(problem: Problem) -> Iterator[float]:
    """For each island with a limit, times that it takes at least."""
    begin = 0.0
    begins = []
    for stage in range(problem.stages):
        begins.append(begin)
        begin += problem.cost(FORWARD, stage)
        begin += problem.arrival(FORWARD, stage, stage + 1) if stage + 1 < problem.stages else 0.0
    for island, limit in enumerate(problem.limits):
        stages = [_Stage.of(problem, stage, begins[stage]) for stage in problem.stages_of(island)]
        if limit < math.inf and min(stage.size for stage in stages) > 0:
            update = problem.costs.update[island]
            limit = _usable(limit, [stage.size for stage in stages])
            bounds = [_by_room(problem.microbatches, stages, limit), _by_pauses(problem.microbatches, stages, limit)]
            bounds += [_by_rounds(problem.microbatches, stage, limit) for stage in stages]
            yield max(bounds) + update


@dataclass(frozen=True)
class _Stage:
    """A stage of the island: its tasks' times, what a microbatch keeps, and for how long at least.

    begin: when a microbatch can be there for the first time; trip: from the start of a forward task to the end of the
    backward task.
    """

    forward: float
    backward: float
    weight: float
    size: float
    begin: float
    trip: float

    @classmethod
    def of(cls, problem: Problem, stage: int, begin: float) -> "_Stage":
        return cls(
            forward=problem.cost(FORWARD, stage),
            backward=problem.cost(BACKWARD, stage),
            weight=0.0 if stage in problem.whole else problem.cost(WEIGHT, stage),
            size=problem.costs.activations[stage],
            begin=begin,
            trip=problem.round_trip(stage),
        )

    @property
    def behind(self) -> float:
        """The work that frees an activation."""
        return self.backward + self.weight

    @property
    def kept_for(self) -> float:
        return self.trip + self.weight


def _usable(limit: float, sizes: list[float]) -> float:
    """The part of a limit that can be used: a whole number of activations, if all are of one size."""
    if max(sizes) > min(sizes):
        return limit
    return math.floor(limit / sizes[0] * (1 + 1e-12)) * sizes[0]


def _by_room(microbatches: int, stages: list[_Stage], limit: float) -> float:
    """Each microbatch is kept for at least a round trip, and all of that, size times time, has to find room."""
    kept = microbatches * sum(stage.size * stage.kept_for for stage in stages)
    return stages[0].begin + kept / limit


def _by_pauses(microbatches: int, stages: list[_Stage], limit: float) -> float:
    """Until its first microbatch is back, an island can run only the forward tasks that fit; after its last forward
    task, only the backward and weight tasks of what fitted. Otherwise it pauses."""
    if microbatches * sum(stage.size for stage in stages) <= 2 * limit:
        return 0.0  # the two pauses may be one
    head = stages[0].begin
    work = microbatches * sum(stage.forward + stage.behind for stage in stages)
    first_back = min(stage.begin + stage.trip - stage.backward for stage in stages)
    before = limit * max(stage.forward / stage.size for stage in stages)
    after = max(stage.forward for stage in stages) + limit * max(stage.behind / stage.size for stage in stages)
    shortest = min(stage.kept_for for stage in stages)
    return head + work + max(0.0, first_back - head - before) + max(0.0, shortest - after)


def _by_rounds(microbatches: int, stage: _Stage, limit: float) -> float:
    """What takes the place of what was kept comes in rounds, and each lasts a round trip or longer.

    Let f(k) be the start of the stage's forward task number k, in the order in which they run, and n the number of
    microbatches that fit. Before f(m) all but n - 1 of the m microbatches before it have been freed. At least
    m - n + 1 - j of these did not begin before f(j), so that their backward tasks all run after f(j) + trip - backward;
    of the forward tasks before f(m), at most n + j run before that, as only j microbatches can have been freed by then.
    So with d = m - n - j >= 0

        f(m) >= f(j) + trip + weight + d (forward + backward + weight)

    and the last of c microbatches that are left after f(j) is freed no sooner than

        f(j) + trip + weight + (c - 1) (backward + weight) + max(0, c - n) forward
    """
    room = math.floor(limit / stage.size * (1 + 1e-12))
    each = stage.forward + stage.behind
    bounds = []
    for begun in range(microbatches):
        # As many rounds as fit cost the most if a round trip outlasts the work of a round, and else one of them does.
        rounds = {0, 1, begun // room} if begun >= room else {0}
        waited = max(
            count * stage.kept_for + (begun - count * room) * (each if count else stage.forward) for count in rounds
        )
        left = microbatches - begun
        freed = stage.kept_for + (left - 1) * stage.behind + max(0, left - room) * stage.forward
        bounds.append(stage.begin + waited + freed)
    return max(bounds)
