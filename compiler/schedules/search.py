"""Searches for the schedule that is best for given costs: `schedule="auto"`.

Cheap *makers* each make an order for a few microbatches; the best of them make one for all, which is then improved.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from atoll.compiler.errors import PlanError
from atoll.compiler.schedules.costs import Costs
from atoll.compiler.schedules.greedy import Problem, Rows, refilled
from atoll.compiler.schedules.improve import Codes, Moves, Timer, improved
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, Kind, with_chunks
from atoll.compiler.schedules.lower_bound import lower_bound
from atoll.compiler.schedules.makers import Maker, makers_of
from atoll.compiler.schedules.memory_bound import memory_bounds
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.simulate import Simulation, simulate
from atoll.compiler.schedules.stretched import stretched
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT
from atoll.compiler.text.quantities import whole_number

# How many tasks are timed while makers are tried, and while orders are improved: a few seconds for each of the two.
_TRIED, _IMPROVED = 400_000, 1_200_000
_STRETCHED = 60_000  # how many tasks the orders have that are made longer from one
_ROUNDS = 1.5  # times as many microbatches as can be under way are tried; with more, orders only repeat themselves
_MOST_STAGES = 256  # up to which makers are tried, as for some the time grows with the square; above, only named ones
_MOST_TRIALS = 6  # of the makers' orders for few microbatches, those that are improved
_BEST = 3  # of these, those that are made and improved for all microbatches


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

    gap: how far the makespan is above the lower bound, as a fraction of that; no schedule of these stages gains more.
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
        """One sentence: what was found, how it compares, and how much there could be left to gain."""
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
    """The best schedule found for the costs; never slower than any named one that fits.

    limits: for each island the most activations that it can keep, in the unit of the costs.
    stage_island: the island of each stage, if that is decided; else the maps of all named schedules are tried.
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
    # A named schedule can be the answer only if it has weight tasks on exactly the stages where the problem has them.
    complete = [one for one in named if one.schedule.split_stages == problems[0].split]
    fitting = [one for one in complete if one.fits(limits)]
    found = [one for one in _found(problems, kinds) if one.fits(limits)]
    parted = [_parted(one, problems[0]) for one in named if one not in complete]
    found += [one for one in parted if one.fits(limits)]
    best = min(found, key=lambda one: one.order)
    # A named one if it is as fast but for rounding: people know it.
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
    """The kinds that have as many stages as there are costs for, and the given map of stages if there is one."""
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
    """The problems whose islands can each keep one microbatch, which is enough: microbatches can run one at a time."""
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
    """The order of a named schedule without weight tasks, with each of the problem's right after its backward task."""
    rows: Rows = [[] for _ in range(problem.islands)]
    for tasks, row in zip(rows, known.schedule.rows, strict=True):
        for task in row:
            tasks.append(task)
            if task.kind == BACKWARD and task.stage in problem.split:
                tasks.append(task._replace(kind=WEIGHT))
    schedule = replace(_schedule(problem, rows), stage_island=known.schedule.stage_island)
    return _Candidate(schedule, simulate(schedule, problem.costs))


def _found(problems: Sequence[Problem], kinds: Sequence[Kind]) -> list[_Candidate]:
    """What the search finds: the fastest orders for few microbatches, which are improved, made longer and improved."""
    settings = [_Setting.of(problem) for problem in problems]
    # One at a time always fits, so that something is found however little memory there is.
    orders = [(setting, setting.timer.codes(_one_at_a_time(setting.problem))) for setting in settings]
    orders += _best_orders([setting for setting in settings if setting.problem.stages <= _MOST_STAGES], kinds)
    effort = _IMPROVED // len(orders)
    return [setting.candidate(setting.improved(codes, effort)) for setting, codes in orders]


@dataclass(frozen=True)
class _Setting:
    """A problem with what it takes to time and to improve its orders."""

    problem: Problem
    timer: Timer
    moves: Moves
    bound: float

    @classmethod
    def of(cls, problem: Problem) -> "_Setting":
        return cls(problem, Timer(problem), Moves(problem), _bound(problem))

    def improved(self, codes: Codes, effort: int) -> Codes:
        return improved(self.timer, self.moves, codes, self.bound, effort)

    def candidate(self, codes: Codes) -> _Candidate:
        schedule = _schedule(self.problem, self.timer.tasks(codes))
        return _Candidate(schedule, simulate(schedule, self.problem.costs))

    def fitting(self, order: Rows | None) -> Codes | None:
        """The order in codes; None if there is none, or if it cannot be followed or kept."""
        codes = self.timer.codes(order) if order is not None else []
        is_order = bool(codes) and self.moves.fit(codes) and self.timer.timing(codes) is not None
        return codes if is_order else None


@dataclass(frozen=True)
class _Trial:
    """An order of few microbatches, and its maker, which can make one for all."""

    whole: _Setting
    short: _Setting
    make: Maker
    codes: Codes

    @property
    def score(self) -> tuple[float, float]:
        return self.short.timer.score(self.codes)

    def improved(self, effort: int) -> "_Trial":
        return replace(self, codes=self.short.improved(self.codes, effort))

    @property
    def is_whole(self) -> bool:
        return self.short.problem.microbatches == self.whole.problem.microbatches

    def made(self) -> Codes | None:
        """The maker's order for all microbatches."""
        return self.codes if self.is_whole else self.whole.fitting(self.make(self.whole.problem))

    def stretched(self) -> Codes | None:
        """The fastest that goes on as this order does."""
        if self.is_whole:
            return self.codes
        problem = self.whole.problem
        tasks = self.short.candidate(self.codes).simulation.tasks
        ways = max(1, _STRETCHED // (len(tasks) * problem.microbatches // self.short.problem.microbatches))
        longer = islice(stretched(tasks, problem, self.short.problem.microbatches), ways)
        orders = [order for rows in longer for order in (rows, refilled(problem, rows, 0.0))]
        fitting = [codes for codes in map(self.whole.fitting, orders) if codes is not None]
        return min(fitting, key=self.whole.timer.score, default=None)


def _best_orders(settings: Sequence[_Setting], kinds: Sequence[Kind]) -> list[tuple[_Setting, Codes]]:
    """The fastest orders of the makers, and those that go on as the fastest that are found for few microbatches do."""
    trials = [trial for setting in settings for trial in _trials(setting, kinds, _TRIED // len(settings))]
    trials = sorted(trials, key=lambda trial: trial.score)[:_MOST_TRIALS]
    better = sorted((trial.improved(_IMPROVED // _MOST_TRIALS) for trial in trials), key=lambda trial: trial.score)
    orders = [(trial.whole, trial.made()) for trial in trials[:_BEST] if not trial.is_whole]
    orders += [(trial.whole, trial.stretched()) for trial in better[:_BEST]]
    return [(setting, codes) for setting, codes in orders if codes is not None]


def _trials(setting: _Setting, kinds: Sequence[Kind], effort: int) -> list[_Trial]:
    """One for each maker whose order can be followed; of those that take as long, only one."""
    problem = setting.problem
    short = _Setting.of(replace(problem, microbatches=_few(problem)))
    tasks = 3 * problem.stages * short.problem.microbatches  # at most three for each stage and microbatch
    found: dict[tuple[float, float], _Trial] = {}
    for make in makers_of(short.problem, kinds, max(3, effort // tasks)):
        codes = short.fitting(make(short.problem))
        if codes is not None:
            found.setdefault(short.timer.score(codes), _Trial(setting, short, make, codes))
    return list(found.values())


def _few(problem: Problem) -> int:
    """How many microbatches are tried: enough to have a middle, which with more of them is only repeated."""
    under_way = problem.round_trip(0) / (problem.slowest() or 1.0)
    few = math.ceil(_ROUNDS * max(problem.islands, under_way))
    return few if _ROUNDS * few < problem.microbatches else problem.microbatches


def _one_at_a_time(problem: Problem) -> Rows:
    """Each microbatch goes all the way before the next one begins: slow, but fits if anything does."""
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
    """A time that no order of a problem can beat, because of the work and the way, or because of the memory."""
    schedule = _schedule(problem, _one_at_a_time(problem))
    return max([lower_bound(schedule, problem.costs), *memory_bounds(problem)])
