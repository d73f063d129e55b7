"""The parts of a model that are not cut: the layers of the planner's chain."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from atoll.compiler.batch_rules.counted_loop import CountedLoop
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.locations import name_stack
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.scopes import read_scope
from atoll.passes.stage.cut.even_cut import even_cut
from atoll.passes.stage.cut.forward_part import forward_part
from atoll.passes.stage.cut.homes import alike
from atoll.passes.stage.cut.recomputed import recomputed_stretches
from atoll.passes.stage.cut.work import owners_of
from atoll.passes.stage.layers.choice import layer_loops
from atoll.passes.stage.layers.steps import Steps

# How many stretches of even work have a place to cut each: plans get hardly better by more.
_MOST = 128


@dataclass(frozen=True)
class Parts:
    """Where the forward part may be cut.

    places: the steps before which it may be. crossing: the bytes that then cross.
    """

    steps: Steps
    places: tuple[int, ...]
    crossing: tuple[float, ...]

    @classmethod
    def of(cls, module: ir.Module, graph: Graph, places: tuple[int, ...] | None = None) -> "Parts":
        """places: what to take, if there are such steps, instead of the places where least crosses."""
        forward = forward_part(graph)
        inside = set(forward)
        found = layer_loops(module, graph)
        loops = {index: one for index, one in found.items() if index in inside and isinstance(one, CountedLoop)}
        steps = Steps(graph, forward, loops)
        crossing = steps.sent()
        if places is None or any(place >= len(steps) for place in places):
            owners = owners_of(graph, forward)
            work, closed = steps.work(owners), steps.inside(recomputed_stretches(graph, owners))
            # The places of the automatic cut: inside of blocks only where these are too large for so many islands.
            counts = _divisors(len(topology_of(module).islands))
            found_places = {
                place for parts in counts for place in even_cut(work, crossing, closed, alike(parts)).places
            }
            places = tuple(_fewest(sorted(found_places), work, crossing, _scopes(steps)))
        return cls(steps, places, tuple(crossing[place] for place in places))

    @property
    def count(self) -> int:
        return len(self.places) + 1

    def of_operation(self, index: int) -> list[int]:
        """The parts of a forward operation, once for each of its steps; a loop over layers is in several."""
        return [bisect_right(self.places, step) for step in self.steps.of(index)]

    def names(self) -> tuple[tuple[tuple[str, ...], ...], ...]:
        """For each part the scopes of its operations, and for layers of a loop its scope with their numbers."""
        found: list[dict[tuple[str, ...], None]] = [{} for _ in range(self.count)]
        for index in self.steps.forward:
            path = read_scope(name_stack(self.steps.graph.operations[index].location)).path
            parts = self.of_operation(index)
            loop = self.steps.loops.get(index)
            for number, part in enumerate(parts):
                layer = number // 2 if loop is not None else 0
                if loop is not None and loop.is_reverse:
                    layer = loop.iterations - 1 - layer
                found[part][(*path, str(layer)) if loop is not None and path else path] = None
        return tuple(tuple(one) for one in found)


def _divisors(count: int) -> list[int]:
    """The numbers of islands that one of several replicas may have; at least one of them is more than one."""
    return [one for one in range(2, count + 1) if count % one == 0] or [2]


def _fewest(
    places: Sequence[int], work: Sequence[float], crossing: Sequence[float], scopes: Sequence[tuple[str, ...]]
) -> list[int]:
    """In each of many stretches of even work the place where least crosses, best where a scope ends; none where there
    is no work on one side."""
    sums = [0.0, *accumulate(work)]
    inside = [place for place in places if 0 < sums[place] < sums[-1]]
    stretches = groupby(inside, key=lambda place: int(sums[place] / sums[-1] * _MOST))
    return [
        min(stretch, key=lambda place: (crossing[place], scopes[place - 1][:1] == scopes[place][:1]))
        for _, stretch in stretches
    ]


def _scopes(steps: Steps) -> list[tuple[str, ...]]:
    """The scope of each step."""
    scopes: list[tuple[str, ...]] = [()] * len(steps)
    for index in steps.forward:
        path = read_scope(name_stack(steps.graph.operations[index].location)).path
        for step in steps.of(index):
            scopes[step] = path
    return scopes
