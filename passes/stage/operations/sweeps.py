"""In which sweep each operation runs, for the stages that operations have."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.scopes import Role
from atoll.compiler.module.slots import slot, sweep_from
from atoll.passes.stage.operations.cheap_operations import sent_operands
from atoll.passes.stage.operations.roles import roles_of

# A role's operations begin in this sweep, and come later only if what they need comes later.
_FIRST_SWEEP = {Role.FORWARD: 0, Role.BACKWARD: 1, Role.REMATERIALISED: 1, Role.UPDATE: 2}
# A loop over microbatches holds the forward and the backward part. What is neither, such as the count of right
# answers, comes as early as it can, so that it takes no sweep of its own; and so does all that stands around the loop.
_FIRST_SWEEP_IN_LOOP = {**_FIRST_SWEEP, Role.UPDATE: 0}
_FIRST_SWEEP_AROUND_LOOP = dict.fromkeys(Role, 0)


@dataclass(frozen=True)
class Sweeps:
    """What decides the sweep of each operation, besides its stage.

    first: the earliest sweep in which it may begin.
    producers: for each operation, those of its region whose values it takes.
    is_behind: whether an operation is an exchange of what a fragment makes: it is no part of that fragment, and what
        takes its result runs in a later one.
    """

    first: tuple[int, ...]
    producers: tuple[tuple[int, ...], ...]
    is_behind: tuple[bool, ...]

    @classmethod
    def of(cls, graph: Graph) -> "Sweeps":
        by_region = _first_sweeps(graph)
        first = (by_region[region][role] for region, role in zip(graph.region, roles_of(graph), strict=True))
        sent = sent_operands(graph)
        producers = tuple(_producers_beside(graph, index, sources) for index, sources in enumerate(sent))
        return cls(tuple(first), producers, tuple(exchanges_behind(graph)))

    def least(self, index: int, stage: int, slots: Sequence[int], stages: Sequence[int | None], count: int) -> int:
        """The first sweep in which an operation can run on a stage, if those before it run in those slots."""
        least = slot(stage, self.first[index], count)
        for producer in self.producers[index]:
            least = max(least, slots[producer] + (stages[producer] != stage or self.is_behind[producer]))
        return sweep_from(stage, least, count)

    def run(self, stages: Sequence[int | None], count: int) -> list[int | None]:
        """The sweep of each operation; None for one without a stage."""
        slots = [0] * len(stages)
        sweeps: list[int | None] = [None] * len(stages)
        for index, stage in enumerate(stages):
            if stage is not None:
                sweeps[index] = sweep = self.least(index, stage, slots, stages, count)
                slots[index] = slot(stage, sweep, count)
        return sweeps

    def pulled_back(self, stages: Sequence[int | None], may_move: Sequence[bool], count: int) -> list[int | None]:
        """The stages, changed for operations that may move and would need a third sweep: these go to where the backward
        sweep has come to, which is the earliest stage of what they take from it."""
        moved, slots = list(stages), [0] * len(stages)
        for index, stage in enumerate(stages):
            if stage is None:
                continue
            sweep = self.least(index, stage, slots, moved, count)
            if sweep > 1 and may_move[index]:
                behind = [one for one in self.producers[index] if slots[one] >= count]
                moved[index] = stage = min((moved[one] or 0 for one in behind), default=stage)
                sweep = self.least(index, stage, slots, moved, count)
            slots[index] = slot(stage, sweep, count)
        return moved

    def pushed_on(self, stages: Sequence[int | None], may_move: Sequence[bool], count: int) -> list[int | None]:
        """The stages, changed for forward operations that may move and for which another one has to wait until a third
        sweep: these go on to the last stage of what they take, so that they need not wait for the backward sweep."""
        sweeps, late = self.run(stages, count), [False] * len(stages)
        for index in reversed(range(len(stages))):
            if late[index] or (sweeps[index] or 0) > 1:
                for one in self.producers[index]:
                    late[one] |= self.first[one] == 0 and (sweeps[one] or 0) > 0
        moved = list(stages)
        for index, stage in enumerate(stages):
            if stage is not None and late[index] and may_move[index]:
                moved[index] = max([stage, *(moved[one] or 0 for one in self.producers[index])])
        return moved

    def drawn_on(self, stages: Sequence[int | None], may_move: Sequence[bool], count: int) -> list[int | None]:
        """The stages, changed for backward operations that may move and for which one of a later stage has to wait
        until a third sweep, such as a gradient by the labels alone, which the first stage has: these go on to the last
        stage that takes them, where the backward sweep begins sooner."""
        sweeps, moved, wanted = self.run(stages, count), list(stages), [0] * len(stages)
        for index in reversed(range(len(stages))):
            stage = stages[index]
            if stage is None:
                continue
            if self.first[index] == 1 and may_move[index]:
                moved[index] = max(stage, wanted[index])
            if (sweeps[index] or 0) > 1 or moved[index] != stage:
                for one in self.producers[index]:
                    wanted[one] = max(wanted[one], moved[index] or 0)
        return moved

    def in_segments(
        self, stages: Sequence[int | None], planned: Sequence[int | None], segments: int
    ) -> list[int | None]:
        """A segment of its planned stage for each operation, so that it takes no more sweeps than the planned stages
        do.

        `stages` are the segments that are wished for. What takes a value of the same planned stage in the same sweep
        goes into the segment where that value is made, or into one that runs later.
        """
        count = 1 + max((plan for plan in planned if plan is not None), default=0)
        sweeps, found = self.run(planned, count), list(stages)
        for index, (stage, plan, sweep) in enumerate(zip(stages, planned, sweeps, strict=True)):
            if stage is None or plan is None or sweep is None:
                continue
            later = max if sweep % 2 == 0 else min
            first, last = plan * segments, (plan + 1) * segments - 1
            segment = min(max(stage, first), last)
            for one in self.producers[index]:
                if (planned[one], sweeps[one]) == (plan, sweep):
                    segment = later(segment, found[one] or 0)
            found[index] = segment
        return found


def _producers_beside(graph: Graph, index: int, sources: Iterable[int]) -> tuple[int, ...]:
    """Of the operations that make some values, those in the region of another one."""
    producers = (graph.producer[value] for value in sources)
    return tuple(one for one in producers if one != ARGUMENT and graph.region[one] == graph.region[index])


def exchanges_behind(graph: Graph) -> list[bool]:
    """Which operations are exchanges of what is made in their own region."""
    return [
        is_exchange and any(_is_beside(graph, value, index) for value in graph.operands[index])
        for index, is_exchange in enumerate(graph.is_exchange)
    ]


def _is_beside(graph: Graph, value: int, index: int) -> bool:
    producer = graph.producer[value]
    return producer != ARGUMENT and graph.region[producer] == graph.region[index]


def _first_sweeps(graph: Graph) -> list[Mapping[Role, int]]:
    """For each region the first sweep of each role."""
    if not graph.loops:
        return [_FIRST_SWEEP]
    around, inside = _FIRST_SWEEP_AROUND_LOOP, _FIRST_SWEEP_IN_LOOP
    return [around, *(one for _ in graph.loops for one in (inside, around))]
