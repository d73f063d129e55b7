"""Makes orders from patterns: every microbatch runs like the one before it, a fixed time later.

How far apart the tasks of one microbatch are decides how long activations live, and so how many are kept; a pattern
with slack between them keeps more, and leaves fewer pauses before the first and after the last microbatches. The named
schedules in a V are patterns for equal costs (Qi et al. 2024); here they are made for the costs that there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compiler.schedules.greedy import Problem, Rows
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT

_STRETCHES = (1.0, 1.04, 1.12)  # the period, in parts of the work of the slowest island
_SLACKS = range(6)  # in sixths of the period
_MOST_EXCESS = 0.2  # a pattern that keeps a little too much may still fit when its pauses have closed up


@dataclass(frozen=True)
class Repetition:
    """When a microbatch's forward and backward tasks begin, in the order in which they run."""

    period: float
    begins: tuple[tuple[Task, float], ...]

    def kept(self, problem: Problem) -> list[float]:
        """For each island about how much it keeps at a time."""
        begins = dict(self.begins)
        kept = [0.0] * problem.islands
        for stage, island in enumerate(problem.stage_island):
            end = begins[Task(BACKWARD, stage, 0)] + problem.cost(BACKWARD, stage)
            end += 0.0 if stage in problem.whole else problem.cost(WEIGHT, stage)
            lives = end - begins[Task(FORWARD, stage, 0)]
            kept[island] += problem.costs.activations[stage] * lives / self.period
        return kept

    def rows(self, problem: Problem) -> Rows:
        """The forward and backward tasks of all microbatches in the order of their begins."""
        starts: list[list[tuple[float, Task]]] = [[] for _ in range(problem.islands)]
        for (kind, stage, _), begin in self.begins:
            starts[problem.stage_island[stage]] += [
                (begin + index * self.period, Task(kind, stage, index)) for index in range(problem.microbatches)
            ]
        return [[task for _, task in sorted(row)] for row in starts]


def patterns_for(problem: Problem, most: int) -> list[Repetition]:
    """At most so many patterns for the costs of a problem; those first that use the memory there is."""
    pace = problem.slowest()
    patterns = [
        _pattern(problem, pace * stretch, there / 6, back / 6)
        for stretch in _STRETCHES
        for there in _SLACKS
        for back in _SLACKS
    ]
    excess = [_excess(pattern.kept(problem), problem.limits) for pattern in patterns]
    ranked = sorted((abs(part), index) for index, part in enumerate(excess) if part < _MOST_EXCESS)
    return [patterns[index] for _, index in ranked[:most]]


def _excess(kept: list[float], limits: Sequence[float]) -> float:
    """By which part of the limit an island keeps too much; of the worst one, and below 0 if all fit."""
    return max(much / limit if much else 0.0 for much, limit in zip(kept, limits, strict=True)) - 1


def _pattern(problem: Problem, period: float, there: float, back: float) -> Repetition:
    """Each task as early as its island is free in every period; the slack is in parts of the period.

    there: the slack on the way away from the first island, forward and backward; back: on the way to it.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(problem.islands)]
    begins: list[tuple[Task, float]] = []
    before: tuple[str, int] | None = None
    time = 0.0
    for kind, stage in _way(problem.stages):
        chunk = stage // problem.islands
        if before is not None:
            kind_before, stage_before = before
            time += problem.cost(kind_before, stage_before)
            if stage_before != stage:
                away = (chunk % 2 == 0) == (kind == FORWARD)
                time += problem.arrival(kind_before, stage_before, stage) + period * (there if away else back)
        length = problem.cost(kind, stage)
        time = _free_from(taken[problem.stage_island[stage]], time, length, period)
        taken[problem.stage_island[stage]].append((time, length))
        begins.append((Task(kind, stage, 0), time))
        before = kind, stage
    return Repetition(period, tuple(begins))


def _way(stages: int) -> list[tuple[str, int]]:
    """The tasks of one microbatch on their way through all stages and back."""
    return [(FORWARD, stage) for stage in range(stages)] + [(BACKWARD, stage) for stage in reversed(range(stages))]


def _free_from(taken: list[tuple[float, float]], time: float, length: float, period: float) -> float:
    """The earliest time from a given one at which an island is free for so long, in every period."""
    near = 1e-9 * period
    for _ in range(len(taken) + 1):
        for begin, busy in taken:
            since = (time - begin + near) % period - near
            if since < busy - near:
                time += busy - since
                break
            if (begin - time + near) % period - near < length - near:
                time += (begin - time) % period + busy
                break
        else:
            return time
    return time
