"""What replicas exchange of a candidate: its sums, or its shares of them and of what is made of these."""

from dataclasses import dataclass
from functools import cache

from atoll.compiler.module.replicas import twins_of
from atoll.compiler.module.tasks import GATHER
from atoll.compiler.planner.candidates import Candidate, Setting
from atoll.compiler.planner.model import Model
from atoll.compiler.replicas.exchange import DIRECT, RING, SCATTER, Summand, seconds
from atoll.compiler.replicas.segment_count import Sum, segments_worthwhile
from atoll.compiler.replicas.speed import Speed, speed_between


@dataclass(frozen=True)
class Exchanged:
    """seconds: of a step with it. exposed: what of it no task hides, on the island that ends last.

    sent: the bytes that cross between all replicas. segments: in how many a stage runs, so that exchanges begin early.
    """

    seconds: float
    exposed: float
    sent: float
    segments: int


@dataclass
class _OnIsland:
    """What an island of each replica exchanges, in bytes, and the seconds that hide it: those of its last backward."""

    summed: float = 0.0
    scattered: float = 0.0
    gathered: float = 0.0
    hidden: float = 0.0

    @property
    def sent(self) -> float:
        """By each replica to one other, on average."""
        return 2 * (self.summed - self.scattered) + self.scattered + self.gathered


def exchanged(model: Model, candidate: Candidate, replicas: int) -> Exchanged:
    """On so many replicas. Sums are exchanged segment by segment while the last backward task runs; what is made of
    shares is put together after the update."""
    chain, homes = candidate.setting.chain, candidate.setting.homes
    shares = model.update_shares(candidate.setting.way)
    islands = [_OnIsland() for _ in homes]
    forward = 0.0
    stages = zip(candidate.stage_island, candidate.cut.begins, candidate.cut.ends(chain.layers), strict=True)
    for home, first, behind in stages:
        kind, own = homes[home], islands[home]
        own.summed += model.summed(first, behind)
        own.scattered += sum(one.scattered for one in shares[first:behind])
        own.gathered += sum(one.gathered for one in shares[first:behind])
        own.hidden += sum(chain.total(one, kind, first, behind) for one in ("backward", "weight"))
        forward += chain.total("forward", kind, first, behind)
    computing = candidate.setting.microbatches * (forward + sum(one.hidden for one in islands)) / len(islands)
    twins = list(twins_of(model.topology, replicas).values())
    speeds = [speed_between(twins[home], model.topology) for home in range(len(islands))]
    slowest = min(speeds, key=lambda one: one.bandwidth)
    segments = _segments(
        model.one.costs.summed, len(candidate.cut.begins), replicas, slowest, computing, is_shared=bool(shares)
    )
    ends = []
    for one, speed, (begin, end) in zip(islands, speeds, candidate.simulation.updates, strict=True):
        before, after = _takes(one, replicas, speed)
        left = max(before / segments, before - one.hidden * (1 - 1 / segments)) + after
        ends.append((begin + left + (end - begin), left))
    last, exposed = max(ends)
    return Exchanged(last, exposed, (replicas - 1) * sum(one.sent for one in islands), segments)


def least_exposed(model: Model, setting: Setting, replicas: int) -> float:
    """What no task hides of that if islands share it evenly, and all but one of many segments hide it."""
    if replicas == 1:
        return 0.0
    chain, count = setting.chain, len(setting.homes)
    shares = model.update_shares(setting.way)
    summed, hidden = model.summed(0, chain.layers), sum(chain.sums[name][0][-1] for name in ("backward", "weight"))
    scattered, gathered = sum(one.scattered for one in shares), sum(one.gathered for one in shares)
    each = _OnIsland(summed / count, scattered / count, gathered / count, hidden / count)
    twins = next(iter(twins_of(model.topology, replicas).values()))
    before, after = _takes(each, replicas, speed_between(twins, model.topology))
    return max(0.0, before - each.hidden) + after


def _takes(one: _OnIsland, replicas: int, speed: Speed) -> tuple[float, float]:
    """The seconds of what is exchanged before the update, and after it."""
    rest = one.summed - one.scattered
    before = min(seconds(form, round(rest), replicas, speed) for form in (DIRECT, RING)) if rest >= 1 else 0.0
    if one.scattered:
        before += seconds(SCATTER, round(one.scattered), replicas, speed)
    return before, seconds(GATHER, round(one.gathered), replicas, speed) if one.gathered else 0.0


@cache
def _segments(
    summed: tuple[float, ...], stages: int, replicas: int, speed: Speed, computing: float, is_shared: bool
) -> int:
    """In how many segments `cut-segments` should run stages whose layers sum up so many bytes each."""
    share = 0 if is_shared else None
    sums = [Sum(Summand((round(size),), "uint8", itemsize=1, share=share)) for size in summed if size]
    return segments_worthwhile(sums, stages, replicas, speed, computing) if sums else 1
