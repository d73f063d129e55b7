"""The best contiguous stages for the orders whose step has a closed form, by dynamic programming; exact.

Under GPipe and 1F1B a step takes about the sum of all stages and of the ways between them, and the slowest stage or way
once more for each further microbatch; and then the longest update. A stage keeps its state, and the activations of as
many microbatches as there are stages from it to the last one, or of all microbatches under GPipe.

Stages are put together from the last one on, as the memory of a stage depends on how many come after it. What was put
together is known by where it begins, by how many islands of each kind it takes, and by the kind of its first island.
For each of these all labels are kept that may be best in the end: none is worse than another in its sum, its slowest
part and its longest update at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from atoll.compiler.planner.chain import Chain, Cut, Links, Pool


class _Label(NamedTuple):
    """Stages from some layer to the end. behind: the label without its first stage."""

    total: float
    slowest: float
    update: float
    begin: int
    kind: int
    behind: "_Label | None"


_Key = tuple[int, tuple[int, ...], int]  # where it begins, islands of each kind, the kind of the first


@dataclass(frozen=True)
class CutProblem:
    """What to cut, over which islands, for how many microbatches. keeps_all: whether, as GPipe, all are kept."""

    chain: Chain
    pools: Sequence[Pool]
    links: Links
    microbatches: int
    keeps_all: bool = False

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
        task = self.chain.task(kind, begin, end)
        update = self.chain.total("update", kind, begin, end)
        if label is None:
            return _Label(task, task, update, begin, kind, None)
        ways, occupied = self._ways(kind, label.kind, end)
        slowest = max(task, occupied, label.slowest)
        return _Label(task + ways + label.total, slowest, max(update, label.update), begin, kind, label)

    def _ways(self, kind: int, following: int, at: int) -> tuple[float, float]:
        """What the ways forward and back over a cut take, and for how long the busier one is occupied."""
        forward, back = self.links[kind, following], self.links[following, kind]
        sent = self.chain.sent[at] / forward.bandwidth
        returned = self.chain.returned[at] / back.bandwidth
        latency = forward.latency + (back.latency if self.chain.has_backward else 0.0)
        return sent + returned + latency, max(sent, returned)

    def _value(self, label: _Label) -> float:
        return label.total + (self.microbatches - 1) * label.slowest + label.update

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
        ways, occupied = (0.0, 0.0) if label is None else self._ways(kind, label.kind, end)
        total, slow, late = (0.0, 0.0, 0.0) if label is None else label[:3]
        tasks, updates, rests = self.chain.tasks[kind], self.chain.sums["update"][kind], self.chain.least_tasks
        more = self.microbatches - 1
        for begin in reversed(range(end)):
            task = tasks[end] - tasks[begin]
            now, slowest = total + ways + task, max(task, occupied, slow)
            update = max(updates[end] - updates[begin], late)
            if now + more * slowest + update > limit or not self.fits(kind, begin, end, behind):
                break
            rest = rests[begin]
            if begin:
                # Whatever the stages before it are, they do the rest, and one of them does its part of it.
                least = now + rest + more * max(slowest, rest / (left - 1)) + update if left > 1 else inf
                if least > limit:
                    continue
            found.append(_Label(now, slowest, update, begin, kind, label))
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


def _cut_of(label: _Label) -> Cut:
    stages = []
    one: _Label | None = label
    while one is not None:
        stages.append((one.begin, one.kind))
        one = one.behind
    begins, kinds = zip(*stages, strict=True)
    return Cut(begins, kinds)
