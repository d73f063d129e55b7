"""Ways to run a chain on some islands: cuts and schedules, each as the simulator sees it."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from math import inf

from atoll.compiler.cost.update_way import USUAL, UpdateWay
from atoll.compiler.planner.chain import Chain, Cut, Links, Pool, costs_of_cut, merged
from atoll.compiler.planner.partition import CutProblem
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, Kind, with_chunks
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.simulate import Simulation, Walk, simulate, walked

# Kinds with one stage an island; the rest of them never takes less time, or less memory.
_STRAIGHT = ("1f1b", "gpipe", "zb-h1", "zb-h2")
_IN_CHUNKS = ("interleaved-1f1b", "interleaved-zb", "zb-v", "v-half", "v-min")
_CHUNKS = (2, 4)
# A cut whose closed form takes this much longer than that of the best is not looked at any more.
_SLACK = 1.1
# With more layers than this, and than twice the islands, some are first taken together; moving the cuts parts them.
_FINE = 40
# So often the limit is widened; after that any cut will do.
_WIDENED = 20
# Of the cuts with the best closed forms so many are simulated; larger tables are not, as each takes seconds.
_SIMULATED, _SIMULATED_OF_MANY, _MOST_TASKS = 4, 2, 25_000
_FEW = 12  # stages
_MOVED_STARTS = 3  # the best of all cuts and schedules
_MOVED = 5_000  # stages times microbatches of all simulations that moving the cuts of one candidate may take


@dataclass(frozen=True)
class Setting:
    """A chain, the islands of one replica that it may be cut over, and how many microbatches there are.

    homes: the kind of each island, in the order of the topology. Stages take the first of them, in any order.
    at_once: how many islands' work all of them do together, if they share cores.
    way: how the chain is updated.
    """

    chain: Chain
    homes: tuple[int, ...]
    memory: tuple[float, ...]
    links: Links
    microbatches: int
    at_once: float | None = None
    way: UpdateWay = USUAL

    def with_islands(self, count: int) -> "Setting":
        return replace(self, homes=self.homes[:count])

    @cached_property
    def pools(self) -> tuple[Pool, ...]:
        return tuple(Pool(self.homes.count(kind), memory) for kind, memory in enumerate(self.memory))


@dataclass(frozen=True)
class Candidate:
    """A cut with a schedule. stage_island: the number of each stage's island; simulation: in seconds and bytes."""

    setting: Setting
    cut: Cut
    kind: Kind
    stage_island: tuple[int, ...]
    simulation: Simulation

    @property
    def seconds(self) -> float:
        return self.simulation.makespan

    @property
    def memory(self) -> tuple[float, ...]:
        """What is needed on each device of the islands."""
        state, made = (_on_islands(what, self.setting.chain, self.cut, self.stage_island) for what in ("state", "made"))
        peaks = map(max, self.simulation.peak, made)
        return tuple(one + peak for one, peak in zip(state, peaks, strict=True))

    @property
    def bytes_sent(self) -> float:
        """The bytes that cross in a step of one replica."""
        chain, homes = self.setting.chain, self.stage_island
        crossing = [
            chain.sent[begin] + (chain.returned[begin] if chain.has_backward else 0.0)
            for number, begin in enumerate(self.cut.begins[1:])
            if homes[number] != homes[number + 1]
        ]
        return self.setting.microbatches * sum(crossing)

    @property
    def is_in_order(self) -> bool:
        """Whether stages go round the islands as the kind of schedule has it."""
        return self.stage_island == self.kind.stage_island(len(set(self.stage_island)))


def candidates(setting: Setting, limit: float = inf) -> list[Candidate]:
    """The best that are found for each number of islands, fastest first; none if nothing fits the memory.

    limit: of cuts whose closed form takes more than these seconds nobody wants to know.
    """
    found: list[Candidate] = []
    for islands, cut in _promising(setting, limit):
        here = setting.with_islands(islands)
        starts = [one for one in (simulated(here, cut, kind) for kind in _straight_kinds(here)) if one is not None]
        starts += list(_chunked(here))
        found += starts
    found.sort(key=lambda one: one.seconds)
    found += [moved(one) for one in found[:_MOVED_STARTS]]
    best: dict[tuple[int, str], Candidate] = {}
    for one in sorted(found, key=lambda one: one.seconds):
        best.setdefault((len(one.setting.homes), one.kind.name), one)
    return list(best.values())


def leaves_out(setting: Setting, limit: float) -> bool:
    """Whether memory may leave out any stage whose tasks take no more than a step may, whatever the order of tasks: it
    keeps at most twice as many microbatches as there are stages."""
    chain, kept = setting.chain, min(setting.microbatches, 2 * len(setting.homes))
    rest = limit - chain.least_tasks[-1]  # the first microbatch goes through all layers
    for kind, pool in enumerate(setting.pools):
        for begin in range(chain.layers if pool.count else 0):
            for end in range(begin + 1, chain.layers + 1):
                if (setting.microbatches - 1) * chain.task(kind, begin, end) > rest:
                    break
                if chain.needs(kind, begin, end, kept) > pool.memory:
                    return True
    return False


def automatic(setting: Setting, kinds: Iterable[Kind]) -> list[Candidate]:
    """With stages that take about the same time on all islands, as the automatic cut makes them, by these kinds of
    schedules; none if there are more stages than layers, or what is made does not fit the memory."""
    islands = len(setting.homes)
    found = []
    for kind in kinds:
        homes = [setting.homes[one] for one in kind.stage_island(islands)]
        if len(homes) <= setting.chain.layers and setting.microbatches >= kind.least_microbatches(islands):
            found.append(simulated(setting, _even(setting.chain, homes), kind))
    return [one for one in found if one is not None]


def _promising(setting: Setting, limit: float) -> list[tuple[int, Cut]]:
    """The cuts with the best closed forms. That of islands which share cores says nothing of how many of them to use,
    as it takes each to have its own: so each number has its best."""
    counts = [len(setting.homes)] if setting.at_once is None else range(1, len(setting.homes) + 1)
    most = _SIMULATED if len(setting.homes) <= _FEW else _SIMULATED_OF_MANY
    found = []
    for count in counts:
        for cuts in _best_cuts(setting.with_islands(count), limit):
            found += [(islands, cut) for _, islands, cut in sorted(cuts, key=lambda one: one[0])[:most]]
    return list(dict.fromkeys(found))


def _best_cuts(setting: Setting, limit: float) -> Iterator[list[tuple[float, int, Cut]]]:
    """By each closed form the best cuts for each number of islands from the first on, with their seconds."""
    islands = len(setting.homes)
    chain, places = merged(setting.chain, max(_FINE, 2 * islands))
    is_limited = any(one < inf for one in setting.memory)
    usable = {
        tuple(setting.homes[:count].count(kind) for kind in range(chain.kinds)): count
        for count in range(1, islands + 1)
    }
    problem = CutProblem(chain, setting.pools, setting.links, setting.microbatches)
    forms = [problem]
    if chain.has_backward:
        forms += [replace(problem, splits_backward=True), *([replace(problem, keeps_all=True)] if is_limited else [])]
    for form in forms:
        yield [
            (seconds, usable[used], replace(cut, begins=tuple(places[one] for one in cut.begins)))
            for used, (seconds, cut) in _within_slack(form, islands, limit, usable).items()
        ]


_Found = dict[tuple[int, ...], tuple[float, Cut]]


def _within_slack(problem: CutProblem, islands: int, limit: float, usable: Container[tuple[int, ...]]) -> _Found:
    """The best cuts, and those that are nearly as good. The nearer the limit is to the best, the less there is to look
    at; so it begins at what no cut can do, and goes up from there."""

    def within(bound: float) -> _Found:
        return {used: one for used, one in problem.best_cuts(min(bound, limit)).items() if used in usable}

    tried = problem.chain.least_tasks[-1] * (1 + (problem.microbatches - 1) / islands)
    for _ in range(_WIDENED):
        tried *= _SLACK
        found = within(tried)
        if found:
            return within(_SLACK * min(seconds for seconds, _ in found.values()))
        if tried > limit:
            return {}
    return within(inf)


def _even(chain: Chain, homes: Sequence[int]) -> Cut:
    """Stages that take about the same time, on islands in their order."""
    sums = [0.0, *accumulate(chain.task(0, layer, layer + 1) for layer in range(chain.layers))]
    whole = [chain.task(kind, 0, chain.layers) or 1.0 for kind in range(chain.kinds)]
    speeds = list(accumulate(whole[homes[0]] / whole[home] for home in homes))
    begins = [0]
    for stage in range(1, len(homes)):
        goal = sums[-1] * speeds[stage - 1] / speeds[-1]
        left = chain.layers - (len(homes) - stage)
        place = next((layer for layer, total in enumerate(sums) if total >= goal), left)
        begins.append(max(begins[-1] + 1, min(place, left)))
    return Cut(tuple(begins), tuple(homes))


def _straight_kinds(setting: Setting) -> list[Kind]:
    if not setting.chain.has_backward:
        return [SCHEDULE_KINDS["forward-only"]]
    return [SCHEDULE_KINDS[name] for name in (_STRAIGHT if len(setting.homes) > 1 else _STRAIGHT[:1])]


def _chunked(setting: Setting) -> Iterator[Candidate]:
    """With several stages on each island, if all islands are alike."""
    islands = len(setting.homes)
    if not setting.chain.has_backward or len(set(setting.homes)) > 1 or islands == 1:
        return
    (home,) = set(setting.homes)
    sizes = [chunks for chunks in _CHUNKS if islands * chunks <= setting.chain.layers]
    for chunks in sizes:
        stages = islands * chunks
        even = _even(setting.chain, (home,) * stages)
        for name in _IN_CHUNKS:
            kind = SCHEDULE_KINDS[name]
            sized = with_chunks(kind, chunks) if kind.free_chunks else kind
            if sized.chunks == chunks and setting.microbatches >= sized.least_microbatches(islands):
                found = simulated(setting, even, sized)
                if found is not None:
                    yield found


def _homes(setting: Setting, cut: Cut, kind: Kind) -> tuple[int, ...]:
    """The island of each stage: as the kind of schedule has it, or the next one of the stage's kind of islands."""
    islands = len(setting.homes)
    usual = kind.stage_island(islands)
    if tuple(setting.homes[one] for one in usual) == cut.kinds:
        return usual
    free = [[number for number, home in enumerate(setting.homes) if home == one] for one in range(setting.chain.kinds)]
    return tuple(free[one].pop(0) for one in cut.kinds)


def simulated(setting: Setting, cut: Cut, kind: Kind) -> Candidate | None:
    """The cut with a schedule of the kind; None if it does not fit the memory, or is too large."""
    islands = len(setting.homes)
    if islands * kind.chunks != len(cut.begins) or 3 * len(cut.begins) * setting.microbatches > _MOST_TASKS:
        return None
    homes = _homes(setting, cut, kind)
    schedule, way = _scheduled(kind, islands, setting.microbatches, homes)
    splits = kind.splits_backward
    costs = costs_of_cut(setting.chain, cut, setting.links, homes, setting.at_once, splits_backward=splits)
    found = Candidate(setting, cut, kind, homes, simulate(schedule, costs, way))
    limits = (setting.memory[home] for home in setting.homes)
    return found if all(need <= limit for need, limit in zip(found.memory, limits, strict=True)) else None


@lru_cache(maxsize=16)
def _scheduled(kind: Kind, islands: int, microbatches: int, homes: tuple[int, ...]) -> tuple[Schedule, Walk]:
    """A schedule of the kind with its stages on these islands: while cuts are moved, it stays the same."""
    schedule = kind.build(islands, microbatches)
    if homes != schedule.stage_island:
        schedule = placed(schedule, homes)
    return schedule, walked(schedule)


def placed(schedule: Schedule, homes: Sequence[int]) -> Schedule:
    """A schedule with one stage an island, with its stages on other islands."""
    places = {home: stage for stage, home in enumerate(homes)}
    rows = tuple(schedule.rows[places[number]] for number in range(schedule.islands))
    return Schedule(schedule.name, schedule.microbatches, tuple(homes), rows, schedule.joined)


def moved(start: Candidate) -> Candidate:
    """What is reached by moving cuts by a layer, as long as the step gets shorter."""
    best, is_better, left = start, True, _MOVED
    while is_better:
        is_better = False
        for cut in _neighbours(best):
            left -= len(best.cut.begins) * best.setting.microbatches
            found = simulated(best.setting, cut, best.kind) if left > 0 else None
            if found is not None and found.seconds < best.seconds * (1 - 1e-9):
                best, is_better = found, True
    return best


def _neighbours(candidate: Candidate) -> Iterator[Cut]:
    """Cuts that are moved by one layer: one of them, or with few stages also several that follow each other."""
    begins, layers = candidate.cut.begins, candidate.setting.chain.layers
    longest = len(begins) if len(begins) <= _FEW else 2
    for first in range(1, len(begins)):
        for behind in range(first + 1, min(first + longest, len(begins) + 1)):
            for step in (-1, 1):
                shifted = (*begins[:first], *(one + step for one in begins[first:behind]), *begins[behind:])
                if all(one < other for one, other in pairwise((*shifted, layers))):
                    yield replace(candidate.cut, begins=shifted)


def _on_islands(what: str, chain: Chain, cut: Cut, stage_island: Sequence[int]) -> list[float]:
    """The sum of one of the chain's tables on each of the islands."""
    found = [0.0] * (max(stage_island) + 1)
    for home, kind, begin, end in zip(stage_island, cut.kinds, cut.begins, cut.ends(chain.layers), strict=True):
        found[home] += chain.total(what, kind, begin, end)
    return found
