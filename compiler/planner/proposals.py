"""Plans for a model on a topology, the most promising first, by what its layers cost."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from math import inf
from typing import TYPE_CHECKING

from atoll.compiler.cost.devices import islands_at_once
from atoll.compiler.errors import PlanError
from atoll.compiler.module.replicas import check_replicas, twins_of
from atoll.compiler.plan.plan import Plan
from atoll.compiler.planner.bound import least_step
from atoll.compiler.planner.candidates import Candidate, Setting, candidates, placed, simulated
from atoll.compiler.planner.model import Model
from atoll.compiler.planner.stage_names import stage_text
from atoll.compiler.replicas.exchange import DIRECT, RING, Summand, seconds
from atoll.compiler.replicas.segment_count import Sum, segments_worthwhile
from atoll.compiler.replicas.speed import Speed, speed_between
from atoll.compiler.schedules.costs import LinkCost
from atoll.compiler.topology.topology import Topology

if TYPE_CHECKING:
    from atoll.compiler.planner.chain import Chain
    from atoll.compiler.schedules.schedule import Schedule

# More microbatches fill a pipeline better, but by less and less; with more than this the tables of tasks get long.
_MOST_MICROBATCHES = 64
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
        made = (
            Plan(stages=text, microbatches=one.setting.microbatches, schedule=schedule, replicas=self.replicas)
            for text in texts
            if text is not None
        )
        return list(made)


@dataclass(frozen=True)
class Proposals:
    """What was found. bound: no plan with these costs takes less. tried: how many were simulated in full."""

    ranked: tuple[Proposal, ...]
    bound: float
    tried: int


def proposals(
    model: Model,
    batch: int | None,
    microbatches_allowed: bool,
    told: Callable[[str], None] = lambda _: None,
    below: float = inf,
) -> Proposals:
    """The best plans by each number of replicas and microbatches, fastest first.

    below: what does not take less is of no interest.
    """
    found: list[Proposal] = []
    settings = [
        (_least(model, batch, replicas, setting), replicas, setting)
        for replicas, setting in settings_of(model, _sizes(model.topology, batch, microbatches_allowed))
    ]
    best = below / _SLACK
    # What cannot be nearly as good as the best is not looked at, so those that may be best come first.
    for least, replicas, setting in sorted(settings, key=lambda one: one[0])[:_MOST_SETTINGS]:
        if least > _SLACK * best:
            break
        told(f"{replicas} replica{'s' if replicas > 1 else ''} of {setting.microbatches} microbatches")
        found += [on_replicas(model, one, replicas) for one in candidates(setting, _SLACK * best)]
        best = min([best, *(one.seconds for one in found)])
    ranked = sorted(found, key=lambda one: one.seconds)
    return Proposals(tuple(ranked), min(least for least, *_ in settings), len(found))


def _least(model: Model, batch: int | None, replicas: int, setting: Setting) -> float:
    """What a step takes at least, with any cut and schedule."""
    parts = replicas * setting.microbatches
    examples = (batch or 1) / parts
    return least_step(model.of_parts(parts), examples, setting.homes, setting.microbatches, setting.at_once)


def settings_of(model: Model, sizes: Iterable[tuple[int, int, float]]) -> Iterator[tuple[int, Setting]]:
    """Each number of replicas with what one of them is. sizes: replicas, microbatches, the examples of one of these."""
    chains: dict[tuple[float, bool], Chain] = {}
    for replicas, microbatches, examples in sizes:
        homes = model.homes[: len(model.homes) // replicas]
        parts = replicas * microbatches
        key = examples, parts == 1
        if key not in chains:
            chains[key] = model.of_parts(parts).chain(examples)
        memory = _memory(model, replicas)
        own = model.topology.islands[: len(homes)]
        at_once = islands_at_once(own, model.topology, replicas)
        yield replicas, Setting(chains[key], homes, memory, _links(model, homes), microbatches, at_once)


def _memory(model: Model, replicas: int) -> tuple[float, ...]:
    """What a device of each kind of islands may use, so that the twins of its islands have room as well."""
    count = len(model.homes) // replicas
    least = list(model.memory)
    for number, home in enumerate(model.homes):
        first = model.homes[number % count]
        least[first] = min(least[first], model.memory[home])
    return tuple(least)


def divisions(topology: Topology, batch: int) -> Iterator[tuple[int, int, float]]:
    """Numbers of replicas and of microbatches that the batch allows, with the examples that a microbatch then has."""
    for replicas, microbatches in product(range(1, len(topology.islands) + 1), range(1, _MOST_MICROBATCHES + 1)):
        if batch % (replicas * microbatches) == 0 and _are_alike(topology, replicas):
            yield replicas, microbatches, batch / (replicas * microbatches)


def _sizes(topology: Topology, batch: int | None, microbatches_allowed: bool) -> Iterator[tuple[int, int, float]]:
    """The same for any program."""
    if batch is None or not microbatches_allowed:
        return iter([(1, 1, float(batch or 1))])
    return divisions(topology, batch)


def _are_alike(topology: Topology, replicas: int) -> bool:
    try:
        check_replicas(replicas, topology)
    except PlanError:
        return False
    return True


def _links(model: Model, homes: Sequence[int]) -> dict[tuple[int, int], LinkCost]:
    """The slowest link between islands of any two kinds."""
    names = [island.name for island in model.topology.islands]
    found: dict[tuple[int, int], LinkCost] = {}
    for one, other in product(range(len(homes)), repeat=2):
        if one != other:
            link = model.topology.link(names[one], names[other])
            cost = LinkCost(link.latency / 1e9, float(link.bandwidth))
            known = found.get((homes[one], homes[other]), cost)
            slowest = LinkCost(max(known.latency, cost.latency), min(known.bandwidth, cost.bandwidth))
            found[homes[one], homes[other]] = slowest
    return found


def on_replicas(model: Model, candidate: Candidate, replicas: int) -> Proposal:
    """The candidate on so many replicas. Sums are exchanged segment by segment while the last backward task runs."""
    sent = candidate.bytes_sent * replicas
    if replicas == 1:
        return Proposal(candidate, 1, candidate.seconds, 0.0, sent)
    twins = list(twins_of(model.topology, replicas).values())
    ends = []
    layers = candidate.setting.chain.layers
    stages = zip(candidate.stage_island, candidate.cut.begins, candidate.cut.ends(layers), strict=True)
    size = [0.0] * len(candidate.setting.homes)
    hidden = [0.0] * len(size)
    forward = 0.0
    for home, first, behind in stages:
        size[home] += model.summed(first, behind)
        kind = candidate.setting.homes[home]
        hidden[home] += sum(candidate.setting.chain.total(one, kind, first, behind) for one in ("backward", "weight"))
        forward += candidate.setting.chain.total("forward", kind, first, behind)
    computing = candidate.setting.microbatches * (forward + sum(hidden)) / len(size)
    speeds = [speed_between(twins[home], model.topology) for home in range(len(size))]
    slowest = min(speeds, key=lambda one: one.bandwidth)
    segments = _segments(model.one.costs.summed, len(candidate.cut.begins), replicas, slowest, computing)
    for home, (begin, end) in enumerate(candidate.simulation.updates):
        takes = min(seconds(form, round(size[home]), replicas, speeds[home]) for form in (DIRECT, RING))
        left = max(takes / segments, takes - hidden[home] * (1 - 1 / segments))
        ends.append((begin + left + (end - begin), left))
        sent += 2 * (replicas - 1) * size[home]
    last, exchange = max(ends)
    return Proposal(candidate, replicas, last, exchange, sent, segments)


@cache
def _segments(summed: tuple[float, ...], stages: int, replicas: int, speed: Speed, computing: float) -> int:
    """In how many segments `cut-segments` should run stages whose layers sum up so many bytes each."""
    sums = [Sum(Summand((round(size),), "uint8", itemsize=1)) for size in summed if size]
    return segments_worthwhile(sums, stages, replicas, speed, computing) if sums else 1


def without_links(candidate: Candidate) -> float:
    """What the candidate would take if links took no time."""
    free = replace(candidate.setting, links=dict.fromkeys(candidate.setting.links, LinkCost()))
    found = simulated(free, candidate.cut, candidate.kind)
    return candidate.seconds if found is None else found.seconds
