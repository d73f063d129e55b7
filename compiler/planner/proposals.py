"""Plans for a model on a topology, the most promising first, by what its layers cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING

from atoll.compiler.cost.update_way import UpdateWay
from atoll.compiler.plan.plan import SHARDED, Plan
from atoll.compiler.planner.bound import least_step
from atoll.compiler.planner.candidates import Candidate, Setting, candidates, leaves_out, placed, simulated
from atoll.compiler.planner.exchanged import exchanged, least_exposed
from atoll.compiler.planner.model import Model
from atoll.compiler.planner.settings import settings_of, sizes_of
from atoll.compiler.planner.stage_names import stage_text
from atoll.compiler.schedules.costs import LinkCost

if TYPE_CHECKING:
    from atoll.compiler.schedules.schedule import Schedule

# What takes this much longer than the best is of no interest.
_SLACK = 1.15
# So many numbers of replicas and microbatches are looked at, those with the least bounds.
_MOST_SETTINGS = 16


@dataclass(frozen=True)
class Proposal:
    """A candidate on each of some replicas.

    seconds: of a step, with what replicas exchange. exchange: what of it no task hides, on the island that ends last.
    sent: the bytes that all links carry in a step.
    segments: in how many a stage runs, so that exchanges begin early.
    """

    candidate: Candidate
    replicas: int
    seconds: float
    exchange: float
    sent: float
    segments: int = 1

    @property
    def parts(self) -> int:
        """Into how many parts the batch is divided."""
        return self.replicas * self.candidate.setting.microbatches

    def plans(self, model: Model) -> list[Plan]:
        """How to write it: with the scopes of its stages, if they have names, and with their number alone."""
        one = self.candidate
        names = model.of_parts(self.parts).names
        schedule: str | Schedule = one.kind.name
        if not one.is_in_order:
            built = one.kind.build(len(one.setting.homes), one.setting.microbatches)
            schedule = placed(built, one.stage_island)
        count = len(one.cut.begins)
        texts = [stage_text(names, one.cut.begins) if count > 1 else None, count]
        usual = Plan(microbatches=one.setting.microbatches, schedule=schedule, replicas=self.replicas)
        usual = replace(usual, update=SHARDED) if one.setting.way.is_shared else usual
        usual = replace(usual, offload=model.offload) if one.setting.way.is_offloaded else usual
        return [replace(usual, stages=text) for text in texts if text is not None]


@dataclass(frozen=True)
class Proposals:
    """What was found. bound: no plan with these costs takes less. tried: how many were simulated in full.

    is_bound_by_memory: whether there may be other plans if memory had no limit.
    """

    ranked: tuple[Proposal, ...]
    bound: float
    tried: int
    is_bound_by_memory: bool = False

    @property
    def best(self) -> float:
        """The seconds of the fastest; infinite if there is none."""
        return self.ranked[0].seconds if self.ranked else inf

    def beside(self, other: "Proposals") -> "Proposals":
        """These and others."""
        ranked = sorted((*self.ranked, *other.ranked), key=lambda one: one.seconds)
        return Proposals(tuple(ranked), min(self.bound, other.bound), self.tried + other.tried, True)


def proposals(
    model: Model,
    batch: int | None,
    microbatches_allowed: bool,
    told: Callable[[str], None] = lambda _: None,
    below: float = inf,
    *,
    devices: int = 1,
    offloaded: bool = False,
) -> Proposals:
    """The best plans by each number of replicas and microbatches, fastest first.

    below: what does not take less is of no interest. devices: how many divide the batch.
    offloaded: whether what only the update reads is in the memory of the host, which takes time: so that is to be asked
        only where memory binds.
    """
    sizes = sizes_of(model.topology, batch, microbatches_allowed, devices)
    asked = [
        _Asked.of(model, batch, replicas, setting)
        for replicas, setting in settings_of(model, sizes, lambda replicas: _ways(replicas, offloaded))
    ]
    search = _Search(model, below / _SLACK)
    # What cannot be nearly as good as the best is not looked at, so those that should be best come first.
    groups = groupby(asked, key=lambda one: (one.replicas, one.setting.microbatches))
    alike = sorted((list(group) for _, group in groups), key=lambda group: min(one.expected for one in group))
    for group in alike[:_MOST_SETTINGS]:
        if min(one.least + one.exposed for one in group) <= search.limit:
            told(str(group[0]))
            search.try_all(group)
    ranked = sorted(search.found, key=lambda one: one.seconds)
    return Proposals(tuple(ranked), min(one.least for one in asked), len(ranked), search.is_bound_by_memory)


def _ways(replicas: int, offloaded: bool) -> list[UpdateWay]:
    """How so many replicas may be updated: each as a whole, and each its share."""
    return [UpdateWay(one, offloaded) for one in dict.fromkeys((1, replicas))]


@dataclass(frozen=True)
class _Asked:
    """A setting on each of some replicas.

    least: what a step takes at least, with any cut and schedule; exposed: what replicas exchange, if islands share that
        evenly; expected: what a step takes on the best number of islands if they also share the work evenly.
    """

    replicas: int
    setting: Setting
    least: float
    exposed: float
    expected: float

    @classmethod
    def of(cls, model: Model, batch: int | None, replicas: int, setting: Setting) -> "_Asked":
        parts = replicas * setting.microbatches
        whole = model.of_parts(parts), (batch or 1) / parts, setting.homes, setting.microbatches, setting.at_once
        exposed = least_exposed(model, setting, replicas)
        return cls(replicas, setting, least_step(*whole, setting.way), exposed, _even_step(setting) + exposed)

    def __str__(self) -> str:
        return f"{self.replicas} replica{'s' if self.replicas > 1 else ''} of {self.setting.microbatches} microbatches"


def _even_step(setting: Setting) -> float:
    """What a step takes on the best number of islands if they share the work evenly and all links are the slowest."""
    chain, microbatches = setting.chain, setting.microbatches
    work, sent = chain.least_tasks[-1], sum(chain.sent) / chain.layers
    update = min(chain.sums["update"][kind][-1] for kind in range(chain.kinds))
    way = max((2 * (sent / link.bandwidth + link.latency) for link in setting.links.values()), default=0.0)
    found = [work + update + (microbatches - 1) * work]
    for count in range(2, min(len(setting.homes), chain.layers) + 1):
        slowest = max(work / count, way / 2)
        found.append(work + (count - 1) * way + update / count + (microbatches - 1) * slowest)
    return min(found)


@dataclass
class _Search:
    """What was found so far. best: the seconds of the fastest; is_bound_by_memory: whether it left anything out."""

    model: Model
    best: float
    found: list[Proposal] = field(default_factory=list)
    is_bound_by_memory: bool = False

    @property
    def limit(self) -> float:
        return _SLACK * self.best

    def try_all(self, alike: Sequence[_Asked]) -> None:
        """Settings that differ in how they are updated. Where memory leaves nothing out, that hardly matters for where
        to cut, so that the cuts of the first are those of all."""
        first, *others = alike
        cut = candidates(first.setting, self.limit - first.exposed)
        self._add(first, cut)
        is_bound = leaves_out(first.setting, self.limit - first.exposed)
        for one in others:
            if is_bound:
                self._add(one, candidates(one.setting, self.limit - one.exposed))
            else:
                again = (simulated(replace(one.setting, homes=had.setting.homes), had.cut, had.kind) for had in cut)
                self._add(one, [found for found in again if found is not None])
        self.is_bound_by_memory |= is_bound

    def _add(self, asked: _Asked, new: Sequence[Candidate]) -> None:
        self.found += [on_replicas(self.model, one, asked.replicas) for one in new]
        self.best = min([self.best, *(one.seconds for one in self.found)])


def on_replicas(model: Model, candidate: Candidate, replicas: int) -> Proposal:
    """The candidate on so many replicas."""
    sent = candidate.bytes_sent * replicas
    if replicas == 1:
        return Proposal(candidate, 1, candidate.seconds, 0.0, sent)
    found = exchanged(model, candidate, replicas)
    return Proposal(candidate, replicas, found.seconds, found.exposed, sent + found.sent, found.segments)


def without_links(candidate: Candidate) -> float:
    """What the candidate would take if links took no time."""
    free = replace(candidate.setting, links=dict.fromkeys(candidate.setting.links, LinkCost()))
    found = simulated(free, candidate.cut, candidate.kind)
    return candidate.seconds if found is None else found.seconds
