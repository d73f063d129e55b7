"""The best contiguous stages for the orders whose step has a closed form, by dynamic programming; exact.

Under GPipe and 1F1B a step takes about what it takes with one microbatch, and the slowest stage or way once more for
each further one. One microbatch goes there and back, and behind its backward a stage ends with its update, while those
before it still go back. A stage keeps its state, and the activations of as many microbatches as there are stages from
it to the last one, or of all microbatches under GPipe. Where the gradients of weights are tasks of their own, no other
stage waits for them: those of the last microbatch are made as updates are.

Stages are put together from the last one on, as the memory of a stage depends on how many come after it. What was put
together is known by where it begins, by how many islands of each kind it takes, and by the kind of its first island.
For each of these all labels are kept that may be best in the end: none is worse than another in its way, its slowest
part and its end at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import inf
from typing import NamedTuple

from atoll.compiler.planner.chain import Chain, Cut, Links, Pool


class _Label(NamedTuple):
    """Stages from some layer to the end.

    way: the seconds in which a microbatch goes there and back; end: in which all of them have ended with one.
    slowest: those of the slowest stage or way. behind: the label without its first stage.
    """

    way: float
    slowest: float
    end: float
    begin: int
    kind: int
    behind: "_Label | None"


class _Sums(NamedTuple):
    """Of the layers in front of each one, the work on the way of a microbatch, there and in all; the whole work with
    one; and that which follows the last way back."""

    there: list[float]
    way: list[float]
    whole: list[float]
    last: list[float]


class StageTime(NamedTuple):
    """The same of a stage, with what its tasks take beside their work."""

    there: float
    way: float
    whole: float
    last: float


_Key = tuple[int, tuple[int, ...], int]  # where it begins, islands of each kind, the kind of the first


@dataclass(frozen=True)
class CutProblem:
    """What to cut, over which islands, for how many microbatches.

    keeps_all: whether, as GPipe, all are kept.
    splits_backward: whether the gradients of weights are tasks of their own.
    """

    chain: Chain
    pools: Sequence[Pool]
    links: Links
    microbatches: int
    keeps_all: bool = False
    splits_backward: bool = False

    def seconds(self, cut: Cut) -> float:
        """The closed form for any cut; infinite if a stage does not fit."""
        ends = cut.ends(self.chain.layers)
        label: _Label | None = None
        for number in reversed(range(len(ends))):
            stage = cut.kinds[number], cut.begins[number], ends[number]
            if not self.fits(*stage, len(ends) - number):
                return inf
            label = self._with_stage(label, *stage)
        assert label is not None
        return self._value(label)

    def fits(self, kind: int, begin: int, end: int, behind: int) -> bool:
        """Whether a stage fits its island; behind: how many stages there are from it to the last one."""
        microbatches = self.microbatches if self.keeps_all else min(behind, self.microbatches)
        return self.chain.needs(kind, begin, end, microbatches) <= self.pools[kind].memory

    def _with_stage(self, label: _Label | None, kind: int, begin: int, end: int) -> _Label:
        own = self.stage(kind, begin, end)
        if label is None:
            return _Label(own.way, own.whole, own.way + own.last, begin, kind, None)
        there, back, occupied = self._ways(kind, label.kind, end)
        way = own.way + there + back + label.way
        ended = max(own.there + there + label.end, way + own.last)
        return _Label(way, max(own.whole, occupied, label.slowest), ended, begin, kind, label)

    def stage(self, kind: int, begin: int, end: int) -> StageTime:
        """What the tasks of a stage take."""
        sums, beside = self._sums[kind], self._beside[kind]
        there, way, whole, last = (row[end] - row[begin] for row in sums)
        last += beside.last if last else 0.0
        return StageTime(there + beside.there, way + beside.way, whole + beside.whole, last)

    @cached_property
    def _sums(self) -> list[_Sums]:
        """For each kind of islands."""
        chain, found = self.chain, []
        for kind, whole in enumerate(chain.tasks):
            there, back, weight, update = (chain.sums[one][kind] for one in ("forward", "backward", "weight", "update"))
            split = _Sums(there, _added(there, back), whole, _added(weight, update))
            found.append(split if self.splits_backward else _Sums(there, whole, whole, update))
        return found

    @cached_property
    def _beside(self) -> list[StageTime]:
        """For each kind of islands what tasks take beside their work: one there and one back, one for weights if they
        are apart, and one for the update."""
        on_way, apart = (2 if self.chain.has_backward else 1), (1 if self.splits_backward else 0)
        counts = 1, on_way, on_way + apart, 1 + apart
        return [StageTime(*(one * count for count in counts)) for one in self.chain.beside]

    @cached_property
    def _least(self) -> _Sums:
        """What the layers in front of each one take at least, each on its best islands."""
        layers = range(self.chain.layers)
        each = [
            [min(one[at + 1] - one[at] for one in kinds) for at in layers] for kinds in zip(*self._sums, strict=True)
        ]
        return _Sums(*([0.0, *accumulate(row)] for row in each))

    def _ways(self, kind: int, following: int, at: int) -> tuple[float, float, float]:
        """What the ways there and back over a cut take, and for how long the busier one is occupied."""
        forward, back = self.links[kind, following], self.links[following, kind]
        sent = self.chain.sent[at] / forward.bandwidth
        returned = self.chain.returned[at] / back.bandwidth
        return (
            sent + forward.latency,
            returned + (back.latency if self.chain.has_backward else 0.0),
            max(sent, returned),
        )

    def _value(self, label: _Label) -> float:
        return label.end + (self.microbatches - 1) * label.slowest

    def best_cuts(self, limit: float = inf) -> dict[tuple[int, ...], tuple[float, Cut]]:
        """For each choice of how many islands of each kind to use the best cut and its seconds, if at most `limit`."""
        found: dict[tuple[int, ...], tuple[float, Cut]] = {}
        level: dict[_Key, list[_Label]] = {}
        nothing = (0,) * self.chain.kinds
        for kind in (kind for kind, pool in enumerate(self.pools) if pool.count):
            for label in self._prefixed(None, kind, 1, limit, self._left(nothing)):
                _keep(level, (label.begin, self._used(nothing, kind), kind), label)
        for stages in range(1, self.chain.layers + 1):
            following: dict[_Key, list[_Label]] = {}
            for (begin, used, _), labels in level.items():
                if begin == 0:
                    best = min(labels, key=self._value)
                    if self._value(best) <= min(limit, found[used][0] if used in found else inf):
                        found[used] = self._value(best), _cut_of(best)
                    continue
                for kind, pool in enumerate(self.pools):
                    if used[kind] < pool.count:
                        for label in labels:
                            for longer in self._prefixed(label, kind, stages + 1, limit, self._left(used)):
                                _keep(following, (longer.begin, self._used(used, kind), kind), longer)
            level = following
        return found

    def _prefixed(self, label: _Label | None, kind: int, behind: int, limit: float, left: int) -> list[_Label]:
        """The label with each stage before it that may be part of a cut within the limit, the shortest first.

        left: how many islands there are for this stage and those before it. What is done once for all of these stages
        stands outside of the loop, as most of the time goes here.
        """
        found = []
        end = self.chain.layers if label is None else label.begin
        to, back, occupied = (0.0, 0.0, 0.0) if label is None else self._ways(kind, label.kind, end)
        way_behind, slow, end_behind = (0.0, 0.0, 0.0) if label is None else label[:3]
        sums, beside, rests, more = self._sums[kind], self._beside[kind], self._least, self.microbatches - 1
        there_to, way_to, whole_to, last_to = (row[end] for row in sums)
        there_to, whole_to = there_to + beside.there + to + end_behind, whole_to + beside.whole
        way_to += beside.way + to + back + way_behind
        for begin in reversed(range(end)):
            way, last = way_to - sums.way[begin], last_to - sums.last[begin]
            slowest = max(whole_to - sums.whole[begin], occupied, slow)
            ended = max(there_to - sums.there[begin], way + (last + beside.last if last else 0.0))
            if ended + more * slowest > limit or not self.fits(kind, begin, end, behind):
                break
            if begin:
                # Whatever the stages before it are, they do the rest, and one of them does its part of it.
                if left == 1:
                    continue
                least = max(way + rests.way[begin], ended + rests.there[begin])
                if least + more * max(slowest, rests.whole[begin] / (left - 1)) > limit:
                    continue
            found.append(_Label(way, slowest, ended, begin, kind, label))
        return found

    def _left(self, used: tuple[int, ...]) -> int:
        return sum(pool.count for pool in self.pools) - sum(used)

    def _used(self, used: tuple[int, ...], kind: int) -> tuple[int, ...]:
        return tuple(count + (number == kind) for number, count in enumerate(used))


def _keep(labels: dict[_Key, list[_Label]], key: _Key, new: _Label) -> None:
    """Keep a label, unless another of its key is as good; and drop those that are not better than it in anything."""
    known = labels.setdefault(key, [])
    if any(one[0] <= new[0] and one[1] <= new[1] and one[2] <= new[2] for one in known):
        return
    known[:] = [one for one in known if not (new[0] <= one[0] and new[1] <= one[1] and new[2] <= one[2])]
    known.append(new)


def _added(row: Sequence[float], other: Sequence[float]) -> list[float]:
    return [one + more for one, more in zip(row, other, strict=True)]


def _cut_of(label: _Label) -> Cut:
    stages = []
    one: _Label | None = label
    while one is not None:
        stages.append((one.begin, one.kind))
        one = one.behind
    begins, kinds = zip(*stages, strict=True)
    return Cut(begins, kinds)
