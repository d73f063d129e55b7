"""Pass `keep-less`."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.marking import read_marks, write_marks
from atoll.compiler.module.marks import STAGE, SWEEP
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.cut.minimum_cut import NEVER, SINK, SOURCE, minimum_cut
from atoll.passes.stage.operations.cheap_operations import may_be_copied, sent_operands

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeepLess(Pass):
    """Move what only later sweeps of its stage use there, where that leaves less to keep until then.

    jax computes the factors of a derivative on the way forward, such as `1 - y * y` for `y = tanh(x)`, and keeps them
    for the way back. Where `y` is kept as well, its factor need not be. Only what is cheap is moved, so that each task
    still takes what a plan expects of it, and nothing is computed twice, so that no value is rounded in two ways.

    Requires: `order-sweeps` before.

          %y = tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %f = cosine %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %0 = multiply %d, %f {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
          %1 = dot_general %y, %0 {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
        ~~>
          %y = tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %f = cosine %y {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
          ...
    """

    def run(self, module: ir.Module) -> None:
        graph = Graph.of(module)
        uses = _Uses.of(graph, read_marks(graph, STAGE), read_marks(graph, SWEEP))
        fragments = defaultdict[tuple[int, int, int], list[int]](list)
        for index, (stage, sweep) in enumerate(zip(uses.stages, uses.sweeps, strict=True)):
            if stage is not None and sweep is not None:
                fragments[sweep, graph.region[index], stage].append(index)
        moved = 0
        for (sweep, region, stage), operations in sorted(fragments.items()):
            here = [index for index in operations if uses.sweeps[index] == sweep]
            later = _Choice(uses, frozenset(here), sweep, (region, stage)).later()
            # What has nothing left to do would be no task of the schedule any more.
            if len(later) < len(here):
                uses.move(later)
                moved += len(later)
        log.info("%d operations wait for the sweep that uses them", moved)
        write_marks(graph, SWEEP, uses.sweeps)


@dataclass
class _Uses:
    """Who takes what.

    sources: what must be at hand for each operation. users: for each value, the operations that need it at hand.
    leaves: the values that something else takes as well: a loop, or whoever calls @main.
    """

    graph: Graph
    stages: list[int | None]
    sweeps: list[int | None]
    sources: Sequence[Sequence[int]]
    users: list[list[int]]
    leaves: frozenset[int]

    @classmethod
    def of(cls, graph: Graph, stages: list[int | None], sweeps: list[int | None]) -> "_Uses":
        sources = sent_operands(graph)
        users: list[list[int]] = [[] for _ in graph.values]
        for index, stage in enumerate(stages):
            for value in sources[index] if stage is not None else ():
                users[value].append(index)
        carried = [one for loop in graph.loops for one in loop.carried]
        leaves = {value for one in carried for value in (one.initial, one.yielded)}.union(graph.returned)
        return cls(graph, stages, sweeps, sources, users, frozenset(leaves))

    @cached_property
    def changing(self) -> frozenset[int]:
        """What is another value once a later task has run."""
        return frozenset(one.argument for loop in self.graph.loops for one in loop.carried if not one.is_part)

    def place(self, index: int) -> tuple[int, int | None]:
        """Where an operation runs, whenever that is."""
        return self.graph.region[index], self.stages[index]

    def stays_anyway(self, value: int, region: int) -> bool:
        """Whether a value is there for as long as a region runs, whoever uses it."""
        producer = self.graph.producer[value]
        is_from_outside = (
            self.graph.times[value] == 1 if producer == ARGUMENT else self.graph.region[producer] != region
        )
        return is_from_outside or value in self.leaves

    def move(self, operations: Sequence[int]) -> None:
        """Let these run in the first sweep that uses them."""
        for index in sorted(operations, reverse=True):
            taking = (self.sweeps[user] for value in self.graph.results[index] for user in self.users[value])
            self.sweeps[index] = min(sweep for sweep in taking if sweep is not None)


@dataclass
class _Choice:
    """Which operations of a fragment run later. A minimum cut: they are the source's side, and what is kept is cut."""

    uses: _Uses
    fragment: frozenset[int]
    sweep: int
    where: tuple[int, int | None]
    places: dict[int, int] = field(default_factory=dict)  # in the network, of what may move
    size: int = 2

    def later(self) -> list[int]:
        """The operations that move; none, if nothing is gained by it."""
        for index in self._that_may_move():
            self.places[index] = self._new()
        edges = [edge for value in self._values() for edge in self._edges(value)]
        if all(start != SOURCE for start, *_ in edges):
            return []
        side = minimum_cut(self.size, edges).side
        return [index for index, place in self.places.items() if place in side]

    def _that_may_move(self) -> Iterator[int]:
        uses, staying = self.uses, set(self.fragment)
        for index in sorted(self.fragment, reverse=True):
            made = uses.graph.results[index]
            users = [user for value in made for user in uses.users[value]]
            if (
                may_be_copied(uses.graph.operations[index])
                and users
                and uses.leaves.isdisjoint(made)
                and uses.changing.isdisjoint(uses.sources[index])
                and all(uses.place(user) == self.where and user not in staying for user in users)
            ):
                staying.discard(index)
                yield index

    def _values(self) -> Iterable[int]:
        uses = self.uses
        return dict.fromkeys(value for one in self.places for value in (*uses.sources[one], *uses.graph.results[one]))

    def _edges(self, value: int) -> Iterator[tuple[int, int, int]]:
        """That a value costs its size if it is made now and used later, and that what is made later is used later."""
        uses = self.uses
        maker = self.places.get(uses.graph.producer[value])
        beside = [user for user in uses.users[value] if uses.place(user) == self.where]
        movable = [self.places[user] for user in beside if user in self.places]
        is_kept = any((uses.sweeps[user] or 0) > self.sweep for user in beside) or uses.stays_anyway(
            value, self.where[0]
        )
        size = uses.graph.sizes[value]
        if maker is not None:
            yield from ((maker, user, NEVER) for user in movable)
        if is_kept:
            if maker is not None:
                yield SOURCE, maker, size
            return
        wanted = self._new()
        yield wanted, SINK if maker is None else maker, size
        yield from ((user, wanted, NEVER) for user in movable)

    def _new(self) -> int:
        self.size += 1
        return self.size - 1
