"""A model as a chain of layers, and the islands that it may be cut over. Numbers alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby

from atoll.compiler.schedules.costs import Costs, LinkCost

Table = tuple[tuple[float, ...], ...]  # for each kind of islands, for each layer
_TABLES = ("forward", "backward", "weight", "update", "state", "kept", "made")


@dataclass(frozen=True)
class Chain:
    """What each layer costs with one microbatch, on islands of each kind.

    forward, backward, weight: seconds of the forward task, of its backward to the inputs, and of the gradients of its
        weights.
    update: seconds of what follows the last microbatch.
    state: the bytes on each device that are there all the time: weights, what the optimizer keeps, sums.
    kept: the bytes on each device that a microbatch keeps from its forward task to its backward.
    made: the bytes on each device of results that take over no memory, once nothing of microbatches is kept.
    sent, returned: the bytes that cross between a layer and the one before it, forward and back; 0 for layer 0.
    beside: the seconds that any task takes beside the work of its layers, on islands of each kind.
    """

    forward: Table
    backward: Table
    weight: Table
    update: Table
    state: Table
    kept: Table
    made: Table
    sent: tuple[float, ...]
    returned: tuple[float, ...]
    beside: tuple[float, ...]

    @property
    def layers(self) -> int:
        return len(self.sent)

    @property
    def kinds(self) -> int:
        return len(self.forward)

    @cached_property
    def has_backward(self) -> bool:
        return any(map(any, self.backward)) or any(map(any, self.weight))

    def total(self, what: str, kind: int, begin: int, end: int) -> float:
        """The sum of one of the tables over the layers from `begin` up to `end`."""
        sums = self.sums[what][kind]
        return sums[end] - sums[begin]

    def needs(self, kind: int, begin: int, end: int, microbatches: int) -> float:
        """The most bytes on each device of these layers, if so many microbatches are kept at once."""
        kept = max(microbatches * self.total("kept", kind, begin, end), self.total("made", kind, begin, end))
        return self.total("state", kind, begin, end) + kept

    def task(self, kind: int, begin: int, end: int) -> float:
        """The seconds of all work of these layers with one microbatch, in whichever tasks it is done."""
        return self.tasks[kind][end] - self.tasks[kind][begin]

    def last_task(self, kind: int, begin: int, end: int) -> float:
        """The seconds of what follows the last microbatch, which is no task if there is nothing to do."""
        update = self.total("update", kind, begin, end)
        return update + self.beside[kind] if update else 0.0

    @cached_property
    def sums(self) -> dict[str, list[list[float]]]:
        """For each table and kind, the sum of all layers in front of each one."""
        return {name: [[0.0, *accumulate(row)] for row in getattr(self, name)] for name in _TABLES}

    @cached_property
    def tasks(self) -> list[list[float]]:
        """The same for all tasks of a microbatch together."""
        rows = zip(self.forward, self.backward, self.weight, strict=True)
        return [[0.0, *accumulate(map(sum, zip(*row, strict=True)))] for row in rows]

    @cached_property
    def least_tasks(self) -> list[float]:
        """What the layers in front of each one take at least, all on islands of one kind or each on its best."""
        kinds = range(self.kinds)
        best = (min(self.task(kind, one, one + 1) for kind in kinds) for one in range(self.layers))
        return [0.0, *accumulate(best)]


@dataclass(frozen=True)
class Pool:
    """Islands of one kind: how many, and the bytes that each of their devices has."""

    count: int
    memory: float = float("inf")


Links = Mapping[tuple[int, int], LinkCost]  # from one kind of islands to another


@dataclass(frozen=True)
class Cut:
    """Contiguous stages. begins: the first layer of each; kinds: the kind of its island."""

    begins: tuple[int, ...]
    kinds: tuple[int, ...]

    def ends(self, layers: int) -> tuple[int, ...]:
        return (*self.begins[1:], layers)


def merged(chain: Chain, most: int) -> tuple[Chain, tuple[int, ...]]:
    """The chain with at most so many layers, some of which are several in one; and the first layer of each.

    They are taken together in stretches of about the same work, each from where the least crosses.
    """
    if chain.layers <= most:
        return chain, tuple(range(chain.layers))
    sums, whole = chain.least_tasks, chain.least_tasks[-1] or 1.0
    stretches = groupby(range(chain.layers), key=lambda layer: int(sums[layer] / whole * most))
    begins = tuple(min(stretch, key=chain.sent.__getitem__) for _, stretch in stretches)
    ends = (*begins[1:], chain.layers)

    def together(what: str) -> Table:
        spans = list(zip(begins, ends, strict=True))
        return tuple(tuple(chain.total(what, kind, *span) for span in spans) for kind in range(chain.kinds))

    tables = {what: together(what) for what in _TABLES}
    sent, returned = (tuple(row[begin] for begin in begins) for row in (chain.sent, chain.returned))
    return Chain(**tables, sent=sent, returned=returned, beside=chain.beside), begins


def costs_of_cut(
    chain: Chain,
    cut: Cut,
    links: Links,
    stage_island: Sequence[int],
    at_once: float | None = None,
    *,
    splits_backward: bool = False,
) -> Costs:
    """What the stages of a cut cost, for the simulator; activations are in bytes.

    splits_backward: whether the gradients of weights are tasks of their own.
    """
    stages = list(zip(cut.kinds, cut.begins, cut.ends(chain.layers), strict=True))
    islands = max(stage_island) + 1
    update = [0.0] * islands
    for home, stage in zip(stage_island, stages, strict=True):
        update[home] += chain.last_task(*stage)
    ways = {
        (stage_island[one], stage_island[other]): links[cut.kinds[one], cut.kinds[other]]
        for first in range(len(stages) - 1)
        for one, other in ((first, first + 1), (first + 1, first))
        if stage_island[one] != stage_island[other]
    }

    def task(what: str, stage: tuple[int, int, int]) -> float:
        return chain.total(what, *stage) + chain.beside[stage[0]]

    return Costs(
        forward=tuple(task("forward", stage) for stage in stages),
        backward=tuple(task("backward", stage) for stage in stages),
        weight=tuple(task("weight", stage) if splits_backward else chain.total("weight", *stage) for stage in stages),
        update=tuple(update),
        activations=tuple(chain.total("kept", *stage) for stage in stages),
        links=ways,
        forward_bytes=tuple(chain.sent[begin] for begin in cut.begins[1:]),
        backward_bytes=tuple(chain.returned[begin] for begin in cut.begins[1:]),
        at_once=at_once,
    )
