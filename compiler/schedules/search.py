"""Searches the schedule that is best for given costs: `schedule="auto"`."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.costs import Costs
from atoll.compiler.schedules.greedy import Problem, Rows, Taste, greedy, refilled
from atoll.compiler.schedules.improve import Moves, Timer, improved
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, Kind, with_chunks
from atoll.compiler.schedules.lower_bound import lower_bound
from atoll.compiler.schedules.patterns import Repetition, patterns_for
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.simulate import Simulation, simulate
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT
from atoll.compiler.text.quantities import whole_number

# How many tasks are ordered and timed, which bounds the time: a few seconds for each of the two.
_TRIED, _IMPROVED = 400_000, 800_000
_ROUNDS = 3  # microbatches for each island with which makers are tried; with more of them orders only repeat
_MOST_STAGES = 256  # with which makers are tried, as some take time by the square of it; with more, named ones compete
_BEST = 3  # makers whose orders are improved

# What islands may prefer, the most promising first.
_AHEAD = (2.0, 1.5, 3.0, 1.0, math.inf, 1.25, 2.5, 0.75)
_TASTES = [
    Taste(ahead, backward_first, grouped, patience)
    for patience in (0.0, 0.5, 1.0)
    for ahead in _AHEAD
    for backward_first in (False, True)
    for grouped in (False, True)
]

Maker = Callable[[Problem], Rows | None]


@dataclass(frozen=True)
class Compared:
    """A schedule that the search looked at.

    makespan, peak: as simulated; fits: whether every island can keep its peak.
    """

    name: str
    makespan: float
    peak: tuple[float, ...]
    fits: bool


@dataclass(frozen=True)
class Searched:
    """The best schedule that was found.

    gap: by which part of the lower bound the makespan is above it; no schedule of the same stages can gain more.
    compared: the named schedules, fastest first.
    """

    schedule: Schedule
    simulation: Simulation
    lower_bound: float
    compared: tuple[Compared, ...]

    @property
    def gap(self) -> float:
        return max(0.0, self.simulation.makespan / self.lower_bound - 1) if self.lower_bound else 0.0

    def __str__(self) -> str:
        """One sentence: what was found, how it compares, and what could be left to gain."""
        named = next((known for known in self.compared if known.fits), None)
        beats = ""
        if named is not None and self.simulation.makespan < named.makespan * (1 - 1e-9):
            beats = f", {1 - self.simulation.makespan / named.makespan:.1%} faster than {named.name}"
        return f"schedule {self.schedule.name}{beats}; at most {self.gap:.1%} above the fastest possible"


def search(
    islands: int,
    microbatches: int,
    costs: Costs,
    limits: Sequence[float] | None = None,
    *,
    stage_island: Sequence[int] | None = None,
    whole: Collection[int] = (),
) -> Searched:
    """The best schedule that is found for the costs; never slower than any named one that fits.

    limits: for each island the most activations that it can keep, in the unit of the costs.
    stage_island: the island of each stage, if that is decided; else every map that a named schedule has is tried.
    whole: the stages whose backward cannot be split.

    The same question has the same answer on every machine: effort is counted in tasks, not in seconds.
    """
    islands = whole_number("the number of islands", islands, PlanError)
    microbatches = whole_number("the number of microbatches", microbatches, PlanError)
    limits = tuple(limits) if limits is not None else (math.inf,) * islands
    for what, given in (("limits", limits), ("updates", costs.update)):
        if len(given) != islands:
            raise PlanError(f"there are {len(given)} {what} for {islands} islands", remedy="give one for each island")
    kinds = _kinds_for(islands, microbatches, costs, stage_island)
    maps = [tuple(stage_island)] if stage_island else list(dict.fromkeys(kind.stage_island(islands) for kind in kinds))
    problems = _that_fit([Problem(microbatches, homes, costs, limits, frozenset(whole)) for homes in maps])
    named = sorted((_named(kind, problems[0]) for kind in kinds), key=lambda one: one.simulation.makespan)
    # Of the named ones only those with a task for every weight task that the problem has may be the answer.
    complete = [one for one in named if one.schedule.split_stages == problems[0].split]
    fitting = [one for one in complete if one.fits(limits)]
    found = [one for problem in problems for one in _found(problem, kinds, len(problems)) if one.fits(limits)]
    parted = [_parted(one, problems[0]) for one in named if one not in complete]
    found += [one for one in parted if one.fits(limits)]
    best = min(found, key=lambda one: one.order)
    # A named one if there is nothing to gain: people know it.
    if fitting and fitting[0].simulation.makespan <= best.simulation.makespan * (1 + 1e-9):
        best = min((one for one in fitting if one.is_as_fast_as(fitting[0])), key=lambda one: max(one.simulation.peak))
    compared = tuple(one.compared(limits) for one in named)
    return Searched(best.schedule, best.simulation, min(map(_bound, problems)), compared)


@dataclass(frozen=True)
class _Candidate:
    schedule: Schedule
    simulation: Simulation

    @property
    def order(self) -> tuple[float, float]:
        """By time, then by memory."""
        return self.simulation.makespan, max(self.simulation.peak)

    def is_as_fast_as(self, other: "_Candidate") -> bool:
        return self.simulation.makespan <= other.simulation.makespan * (1 + 1e-9)

    def fits(self, limits: Sequence[float]) -> bool:
        return all(kept <= limit * (1 + 1e-12) for kept, limit in zip(self.simulation.peak, limits, strict=True))

    def compared(self, limits: Sequence[float]) -> Compared:
        simulation = self.simulation
        return Compared(self.schedule.name, simulation.makespan, tuple(simulation.peak), self.fits(limits))


def _kinds_for(islands: int, microbatches: int, costs: Costs, stage_island: Sequence[int] | None) -> list[Kind]:
    """The kinds for so many stages, or for one map of them."""
    chunks, rest = divmod(len(costs.forward), islands)
    if rest or not chunks:
        what = f"{len(costs.forward)} stages cannot be shared by {islands} islands"
        raise PlanError(what, remedy="take a number of stages that the number of islands divides")
    kinds = []
    for kind in SCHEDULE_KINDS.values():
        if not kind.has_backward or microbatches < kind.least_microbatches(islands):
            continue
        sized = with_chunks(kind, chunks) if kind.free_chunks and chunks > 1 else kind
        if sized.chunks == chunks and (stage_island is None or tuple(stage_island) == sized.stage_island(islands)):
            kinds.append(sized)
    return kinds


def _that_fit(problems: list[Problem]) -> list[Problem]:
    """Those whose islands can each keep one microbatch: one at a time, that is enough."""
    fitting = [problem for problem in problems if _can_keep_one(problem)]
    if fitting:
        return fitting
    least, limits = _needs_of_one(problems[0]), problems[0].limits
    island = next(index for index, need in enumerate(least) if need > limits[index])
    what = f"no schedule fits: island {island} can keep {limits[island]:g} and a microbatch takes {least[island]:g}"
    needs = ", ".join(f"{need:g}" for need in least)
    raise PlanError(what, remedy=f"the least that fits is {needs} on the islands; take more and smaller microbatches")


def _needs_of_one(problem: Problem) -> list[float]:
    """What each island keeps of one microbatch."""
    activations = problem.costs.activations
    return [sum(activations[stage] for stage in problem.stages_of(island)) for island in range(problem.islands)]


def _can_keep_one(problem: Problem) -> bool:
    return all(need <= limit for need, limit in zip(_needs_of_one(problem), problem.limits, strict=True))


def _named(kind: Kind, problem: Problem) -> _Candidate:
    schedule = kind.build(problem.islands, problem.microbatches).whole_backward(problem.whole)
    return _Candidate(schedule, simulate(schedule, problem.costs))


def _parted(known: _Candidate, problem: Problem) -> _Candidate:
    """The order of a named schedule without weight tasks, with those that the problem has behind the backward ones."""
    rows: Rows = [[] for _ in range(problem.islands)]
    for tasks, row in zip(rows, known.schedule.rows, strict=True):
        for task in row:
            tasks.append(task)
            if task.kind == BACKWARD and task.stage in problem.split:
                tasks.append(task._replace(kind=WEIGHT))
    schedule = replace(_schedule(problem, rows), stage_island=known.schedule.stage_island)
    return _Candidate(schedule, simulate(schedule, problem.costs))


def _found(problem: Problem, kinds: Sequence[Kind], share: int) -> list[_Candidate]:
    """What the search finds for one map from stage to island; it has one of so many shares of the effort."""
    timer, moves, bound = Timer(problem), Moves(problem), _bound(problem)
    best = [_one_at_a_time, *_best_makers(problem, kinds, _TRIED // share)]
    orders = [timer.codes(order) for make in best if (order := make(problem)) is not None]
    schedules = []
    for codes in orders:
        faster = improved(timer, moves, codes, bound, _IMPROVED // share // len(orders))
        schedules.append(_schedule(problem, timer.tasks(faster)))
    return [_Candidate(schedule, simulate(schedule, problem.costs)) for schedule in schedules]


def _best_makers(problem: Problem, kinds: Sequence[Kind], effort: int) -> list[Maker]:
    """The makers whose orders are fastest with few microbatches; of those that make the same order, one."""
    if problem.stages > _MOST_STAGES:
        return []
    least = max((kind.least_microbatches(problem.islands) for kind in kinds), default=1)
    few = min(problem.microbatches, max(_ROUNDS * problem.islands, least))
    trial = replace(problem, microbatches=few)
    timer = Timer(trial)
    tried: dict[tuple[float, float], Maker] = {}
    for make in _makers(trial, kinds, max(3, effort // (3 * trial.stages * trial.microbatches))):
        order = make(trial)
        timing = timer.timing(timer.codes(order)) if order is not None else None
        if timing is not None:
            tried.setdefault(timing.score, make)
    return [tried[score] for score in sorted(tried)[:_BEST]]


def _makers(problem: Problem, kinds: Sequence[Kind], most: int) -> list[Maker]:
    """About so many ways to make an order: named ones with their weight tasks put elsewhere, tastes, patterns."""
    named: list[Maker] = [
        partial(_refilled_kind, kind, patience)
        for patience in (0.0, 1.0)
        for kind in kinds
        if kind.stage_island(problem.islands) == problem.stage_island
    ]
    tastes = [taste for taste in _TASTES if problem.stages > problem.islands or not taste.grouped]
    by_taste: list[Maker] = [partial(_greedy, taste) for taste in tastes[: most // 2]]
    patterned: list[Maker] = [partial(_patterned, pattern) for pattern in patterns_for(problem, most // 2)]
    return named + by_taste + patterned


def _greedy(taste: Taste, problem: Problem) -> Rows | None:
    return greedy(problem, taste)


def _patterned(pattern: Repetition, problem: Problem) -> Rows | None:
    return refilled(problem, pattern.rows(problem), 0.0)


def _refilled_kind(kind: Kind, patience: float, problem: Problem) -> Rows | None:
    return refilled(problem, kind.build(problem.islands, problem.microbatches).rows, patience)


def _one_at_a_time(problem: Problem) -> Rows:
    """A microbatch goes all the way before the next one begins: slow, and fits if anything does."""
    rows: Rows = [[] for _ in range(problem.islands)]
    for microbatch in range(problem.microbatches):
        for stage, island in enumerate(problem.stage_island):
            rows[island].append(Task(FORWARD, stage, microbatch))
        for stage in reversed(range(problem.stages)):
            rows[problem.stage_island[stage]].append(Task(BACKWARD, stage, microbatch))
            if stage not in problem.whole:
                rows[problem.stage_island[stage]].append(Task(WEIGHT, stage, microbatch))
    return rows


def _schedule(problem: Problem, rows: Rows) -> Schedule:
    return Schedule("searched", problem.microbatches, problem.stage_island, tuple(map(tuple, rows)))


def _bound(problem: Problem) -> float:
    """A time that no order of a problem can beat: that of the work and the way, and that of the memory."""
    schedule = _schedule(problem, _one_at_a_time(problem))
    return max([lower_bound(schedule, problem.costs), *_memory_bounds(problem)])


def _memory_bounds(problem: Problem) -> Iterator[float]:
    """For each island, how long it takes at least because it cannot keep more than its limit.

    Each microbatch is kept for the time of a round trip. And until its first microbatch is back, an island has nothing
    to do but the forward tasks that fit; after its last forward task, nothing but what is left of those that fit.
    """
    begin = 0.0
    begins = []
    for stage in range(problem.stages):
        begins.append(begin)
        begin += problem.cost(FORWARD, stage)
        begin += problem.arrival(FORWARD, stage, stage + 1) if stage + 1 < problem.stages else 0.0
    for island, limit in enumerate(problem.limits):
        stages = problem.stages_of(island)
        sizes = [problem.costs.activations[stage] for stage in stages]
        if limit == math.inf or min(sizes) <= 0:
            continue
        limit = _usable(limit, sizes)
        forward = [problem.cost(FORWARD, stage) for stage in stages]
        behind = [problem.cost(BACKWARD, stage) + _weight(problem, stage) for stage in stages]
        kept_for = [problem.round_trip(stage) + _weight(problem, stage) for stage in stages]
        head, update = begins[stages[0]], problem.costs.update[island]
        work = problem.microbatches * (sum(forward) + sum(behind))
        kept = problem.microbatches * sum(size * time for size, time in zip(sizes, kept_for, strict=True))
        yield head + kept / limit + update
        first_back = min(begins[stage] + problem.round_trip(stage) - problem.cost(BACKWARD, stage) for stage in stages)
        before = limit * max(cost / size for cost, size in zip(forward, sizes, strict=True))
        after = max(forward) + limit * max(cost / size for cost, size in zip(behind, sizes, strict=True))
        pauses = max(0.0, first_back - head - before) + max(0.0, min(kept_for) - after)
        if problem.microbatches * sum(sizes) > 2 * limit:  # so that the two pauses are apart
            yield head + work + pauses + update


def _usable(limit: float, sizes: Sequence[float]) -> float:
    """The part of a limit that can be used, if all activations are of one size."""
    if max(sizes) > min(sizes):
        return limit
    return math.floor(limit / sizes[0] * (1 + 1e-12)) * sizes[0]


def _weight(problem: Problem, stage: int) -> float:
    return 0.0 if stage in problem.whole else problem.cost(WEIGHT, stage)
