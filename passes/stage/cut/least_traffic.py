"""Labels nodes so that the least crosses between labels. Pure: numbers in, numbers out.

Each *value* is a set of nodes, its producer and consumers, and costs its weight for every label beyond the first that
its nodes have, as it is sent once to each. With two labels this is a minimum cut, and the answer is the best there is.
With more it is the multiway-cut problem, which is hard; moves that may relabel any number of nodes at once (Boykov,
Veksler and Zabih, "Fast approximate energy minimization via graph cuts", 2001) come near, and the bound says how near.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from atoll.passes.stage.cut.minimum_cut import NEVER, SINK, SOURCE, minimum_cut


@dataclass(frozen=True)
class Value:
    weight: int
    nodes: tuple[int, ...]


@dataclass(frozen=True)
class Labelling:
    labels: tuple[int, ...]
    traffic: int
    lower_bound: int  # no labelling has less traffic


def least_traffic(
    fixed: Sequence[int | None], values: Sequence[Value], kept: Sequence[int | None] | None = None
) -> Labelling:
    """The labels of all nodes; those in `fixed` keep theirs. A label that `fixed` lacks is not given: it would gain
    nothing.

    kept: `fixed`, and labels that more nodes keep for another reason than traffic. The bound takes those for free.
    """
    values = _that_can_cross(values)
    labels = cheap_labels(fixed if kept is None else kept, values)
    return Labelling(tuple(labels), traffic(labels, values), _lower_bound(fixed, values))


def cheap_labels(fixed: Sequence[int | None], values: Sequence[Value]) -> list[int]:
    """The labels alone, without a bound for how good they are."""
    values = _that_can_cross(values)
    labels = _first_labels(fixed, values)
    best = traffic(labels, values)
    used = _used(fixed)
    is_better = len(used) > 1
    while is_better:
        is_better = False
        for label in used:
            moved = _expand(labels, fixed, values, label)
            if (cost := traffic(moved, values)) < best:
                labels, best, is_better = moved, cost, True
    return labels


def _that_can_cross(values: Iterable[Value]) -> list[Value]:
    return [value for value in values if value.weight and len(value.nodes) > 1]


def _used(fixed: Iterable[int | None]) -> list[int]:
    return sorted({label for label in fixed if label is not None})


def traffic(labels: Sequence[int], values: Iterable[Value]) -> int:
    """What crosses under a labelling."""
    crossings = ((value.weight, len({labels[node] for node in value.nodes}) - 1) for value in values if value.nodes)
    return sum(weight * times for weight, times in crossings)


def _first_labels(fixed: Sequence[int | None], values: Sequence[Value]) -> list[int]:
    """A start: labels spread from the fixed nodes to their neighbours, the heaviest value deciding."""
    labels = list(fixed)
    around: list[list[Value]] = [[] for _ in fixed]
    for value in values:
        for node in value.nodes:
            around[node].append(value)
    frontier = [node for node, label in enumerate(fixed) if label is not None]
    while frontier:
        reached = dict.fromkeys(
            other for node in frontier for value in around[node] for other in value.nodes if labels[other] is None
        )
        votes = {node: _vote(labels, around[node]) for node in reached}
        for node, label in votes.items():
            labels[node] = label
        frontier = list(reached)
    return [0 if label is None else label for label in labels]


def _vote(labels: Sequence[int | None], values: Iterable[Value]) -> int:
    weights: Counter[int] = Counter()
    for value in values:
        for label in {labels[node] for node in value.nodes}:
            if label is not None:
                weights[label] += value.weight
    return max(weights, key=lambda label: (weights[label], -label))


def _expand(labels: list[int], fixed: Sequence[int | None], values: Sequence[Value], target: int) -> list[int]:
    """The best labelling in which every free node keeps its label or takes the target's."""
    network = _Network(labels, fixed, target)
    for value in values:
        groups: dict[int, list[int]] = {}
        for node in value.nodes:
            groups.setdefault(labels[node], []).append(node)
        if len(groups) == 1 and target in groups:
            continue
        for label, nodes in groups.items():
            if label != target:
                network.add_cost_if_any_keeps(value.weight, nodes)
        network.add_cost_if_any_takes(value.weight, value.nodes)
    return network.cheapest()


def _lower_bound(fixed: Sequence[int | None], values: Sequence[Value]) -> int:
    """Half of what it takes to separate each label from all others: a value with k labels is in k of these cuts, and
    costs k - 1, which is at least k / 2."""
    isolating, used = 0, _used(fixed)
    for label in used if len(used) > 1 else ():
        sides = [None if one is None else int(one == label) for one in fixed]
        network = _Network([side or 0 for side in sides], sides, 1)
        for value in values:
            network.add_cost_if_any_keeps(value.weight, value.nodes)
            network.add_cost_if_any_takes(value.weight, value.nodes)
        network.cheapest()
        # A value pays for the side of the label and for the other side; one of the two is free.
        isolating += max(0, network.at_least - sum(value.weight for value in values))
    return -(-isolating // 2)


class _Network:
    """A flow network whose cuts are the ways to take the target's label or to keep one's own.

    The source's side takes, the sink's side keeps. A value adds an auxiliary node for each cost it may cause.
    """

    def __init__(self, labels: list[int], fixed: Sequence[int | None], target: int) -> None:
        self.labels = labels
        self.target = target
        self.place: dict[int, int] = {}
        self.always_takes = [label == target for label in labels]
        self.is_fixed = [one is not None for one in fixed]
        self.size = 2
        self.edges: list[tuple[int, int, int]] = []
        self.unavoidable = 0  # what the fixed nodes alone cost
        self.at_least = 0  # no cut costs less; known after `cheapest`

    def add_cost_if_any_keeps(self, weight: int, nodes: Iterable[int]) -> None:
        """Cost the weight, unless all of the nodes take the target's label."""
        places = {self._place(node) for node in nodes} - {SOURCE}
        if SINK in places or not places:  # the fixed nodes alone decide whether it is paid
            self.unavoidable += weight if places else 0
            return
        extra = self._new()
        self.edges.append((SOURCE, extra, weight))
        self.edges += [(extra, place, NEVER) for place in places]

    def add_cost_if_any_takes(self, weight: int, nodes: Iterable[int]) -> None:
        """Cost the weight, unless all of the nodes keep their labels."""
        places = {self._place(node) for node in nodes} - {SINK}
        if SOURCE in places or not places:
            self.unavoidable += weight if places else 0
            return
        extra = self._new()
        self.edges.append((extra, SINK, weight))
        self.edges += [(place, extra, NEVER) for place in places]

    def cheapest(self) -> list[int]:
        """The labels that the minimum cut stands for."""
        self.at_least = self.unavoidable
        if not self.edges:
            return list(self.labels)
        found = minimum_cut(self.size, self.edges)
        self.at_least += found.at_least
        labels = list(self.labels)
        for node, place in self.place.items():
            if place in found.side:
                labels[node] = self.target
        return labels

    def _place(self, node: int) -> int:
        if self.always_takes[node]:
            return SOURCE
        if self.is_fixed[node]:
            return SINK
        if node not in self.place:
            self.place[node] = self._new()
        return self.place[node]

    def _new(self) -> int:
        self.size += 1
        return self.size - 1
