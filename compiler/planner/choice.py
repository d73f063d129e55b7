"""Into how many microbatches and replicas a batch is divided where the plan leaves that open, and who updates what.

Every program asks whose plan does, so no programs are made for it, as `atoll plan` makes them: it is counted what
layers cost, they are cut as evenly as the automatic cut has them, and the simulator says what a step takes. All islands
are used, as it is for the user to say which there are.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from math import inf

from atoll.compiler.cost.update_way import UpdateWay
from atoll.compiler.errors import AtollError
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.plan.pipeline_shape import PipelineShape
from atoll.compiler.plan.plan import SHARDED, WHOLE, Plan
from atoll.compiler.plan.resolved_plan import ResolvedPlan, islands_of_replica, resolved
from atoll.compiler.planner.candidates import Setting, automatic
from atoll.compiler.planner.measuring import cut_batch, measured
from atoll.compiler.planner.model import Model
from atoll.compiler.planner.proposals import Proposal, on_replicas
from atoll.compiler.planner.settings import divisions, settings_of
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, Kind, with_chunks
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import first_line

# The kinds of schedules that stand for the order that is searched, with one stage on each island and with several.
_STRAIGHT, _IN_CHUNKS = ("1f1b", "gpipe", "zb-h1", "zb-h2"), ("interleaved-1f1b", "interleaved-zb")
# Layers are counted with about so many parts.
_COUNTED_WITH = 8
# With more stages than this the first of them alone does, as tables of tasks get long.
_MANY = 16
# A step that takes so much longer than the shortest is as good: fewer parts have fewer tasks and larger products.
_AS_GOOD = 1.05


@dataclass(frozen=True)
class Choice:
    """What was chosen, and the predicted seconds of a step.

    update, offload: as in a plan, and as there where that does not leave them open or nothing is gained.
    undivided: those of a step with one microbatch and one replica; None if it is not known to fit the memory.
    """

    replicas: int
    microbatches: int
    seconds: float
    undivided: float | None
    update: str = Plan.update
    offload: str = Plan.offload


class NoChoiceError(Exception):
    """There is nothing to choose. Its text is a clause that says why."""


@dataclass(frozen=True)
class BatchDivision:
    """What is to be divided. program: at phase `stablehlo`, with a batch; plan: as it was asked for; devices: how many
    divide the batch."""

    program: bytes
    batch: int
    topology: Topology
    plan: Plan
    devices: int = 1

    def chosen(self, replicas: Collection[int]) -> Choice:
        """The division with the shortest step of those that are proved, with one of these numbers of replicas."""
        sizes = [one for one in divisions(self.topology, self.batch, self.devices) if one[0] in replicas]
        numbers = sorted({many * microbatches for many, microbatches, _ in sizes} - {1})
        if not numbers:
            raise NoChoiceError(f"the batch of {self.batch} is not to be divided")
        try:
            model = self._counted(min(numbers, key=lambda one: abs(one - _COUNTED_WITH)), replicas)
        except AtollError as error:
            raise NoChoiceError(f"the batch cannot be cut: {first_line(error)}") from None
        if model.one.loops > 1:
            raise NoChoiceError(f"more would go over the stages {model.one.loops} times, as examples need all others")
        found = self._options(model, sizes)
        if not found and self._open.has_open_offload and model.offload:
            found = self._options(model, sizes, is_offloaded=True)
        undivided = min((one.seconds for one in found if one.parts == 1), default=None)
        for one in _fastest_first(found) if found else self._smallest_first(model, sizes):
            if self._is_proved(model, one):
                return self._choice(model, one, undivided)
        raise NoChoiceError("the stages of the plan go unevenly round the islands")

    @property
    def _open(self) -> ResolvedPlan:
        """The plan, which tells what it leaves open."""
        return resolved(self.plan, None)

    def _choice(self, model: Model, one: Proposal, undivided: float | None) -> Choice:
        setting, plan = one.candidate.setting, self.plan
        return Choice(
            replicas=one.replicas,
            microbatches=setting.microbatches,
            seconds=one.seconds,
            undivided=undivided,
            update=SHARDED if setting.way.is_shared else plan.update,
            offload=model.offload if setting.way.is_offloaded else plan.offload,
        )

    def _counted(self, parts: int, replicas: Collection[int]) -> Model:
        """What layers cost with so many parts and with the whole batch: each count takes about a quarter of the time in
        which the program is made."""
        sharing = [one for one in replicas if one > 1 and self.plan.update != WHOLE]
        part = measured(self.program, self.topology, parts, plan=self.plan, replicas=sharing)
        whole = measured(self.program, self.topology, 1, part, self.plan)
        return Model.of(self.topology, part, whole, whole)

    def _ways(self, replicas: int, is_offloaded: bool) -> list[UpdateWay]:
        """How so many replicas may be updated by what the plan says."""
        shared = {1} if self._open.has_open_update or self.plan.update == WHOLE else set()
        shared |= {replicas} if self.plan.update != WHOLE else set()
        return [UpdateWay(one, is_offloaded) for one in sorted(shared)]

    def _options(
        self, model: Model, sizes: list[tuple[int, int, float]], *, is_offloaded: bool = False
    ) -> list[Proposal]:
        return [
            on_replicas(model, one, replicas)
            for replicas, setting in settings_of(model, sizes, lambda one: self._ways(one, is_offloaded))
            for one in automatic(*self._cut_over(setting, replicas))
        ]

    def _smallest_first(self, model: Model, sizes: list[tuple[int, int, float]]) -> list[Proposal]:
        """Where nothing is said to fit the memory, what needs the least of it: the cut may still do better."""
        unlimited = replace(model, limits=(inf,) * len(model.forms))
        return sorted(self._options(unlimited, sizes), key=lambda one: (max(one.candidate.memory), one.parts))

    def _cut_over(self, setting: Setting, replicas: int) -> tuple[Setting, list[Kind]]:
        """The islands that the plan's stages take, and the schedules that time them; none if these cannot."""
        islands = len(self.topology.islands)
        plan = resolved(replace(self.plan, microbatches=setting.microbatches, replicas=replicas), islands)
        shape = PipelineShape(plan, islands_of_replica(islands, replicas))
        if not shape.is_even or shape.kind is None:
            return setting, []
        chunks = shape.planned_stages // shape.used
        kinds = self._kinds(shape.kind, chunks) if setting.chain.has_backward else [SCHEDULE_KINDS["forward-only"]]
        used = min(shape.used, setting.chain.layers) if chunks == 1 else shape.used
        return setting.with_islands(used), [one for one in kinds if one.chunks == chunks]

    def _kinds(self, kind: Kind, chunks: int) -> list[Kind]:
        if not resolved(self.plan, None).has_open_schedule:
            return [kind]
        if chunks > 1:
            return [with_chunks(SCHEDULE_KINDS[name], chunks) for name in _IN_CHUNKS]
        many = len(self.topology.islands) > _MANY
        return [SCHEDULE_KINDS[name] for name in _STRAIGHT[: 1 if many else None]]

    def _is_proved(self, model: Model, one: Proposal) -> bool:
        """Whether the batch can be cut so. What was counted can be; other numbers, and replicas, may be refused."""
        microbatches = one.candidate.setting.microbatches
        if one.parts == 1:
            return True
        if one.replicas == 1 and self.batch / microbatches == model.one.examples:
            return True
        plan = replace(self.plan, microbatches=microbatches, replicas=one.replicas)
        try:
            cut_batch(parse_text(self.program), self.topology, plan)
        except AtollError:
            return False
        return True


def _fastest_first(found: list[Proposal]) -> Iterator[Proposal]:
    """Of each division the best. First that with the fewest parts among those that are about as fast as the fastest; of
    these one whose update is whole, as callers then find all of the state on every replica."""
    left = found
    while left:
        limit = _AS_GOOD * min(one.seconds for one in left)
        near = (one for one in left if one.seconds <= limit)
        best = min(near, key=lambda one: (one.parts, one.candidate.setting.way.is_shared, one.seconds))
        yield best
        left = [one for one in left if _division(one) != _division(best)]


def _division(one: Proposal) -> tuple[int, int, UpdateWay]:
    return one.replicas, one.candidate.setting.microbatches, one.candidate.setting.way
