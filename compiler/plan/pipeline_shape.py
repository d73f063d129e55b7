"""What a plan says of the pipeline before any order is decided: stages, microbatches, and which island runs what.

A schedule's kind and its map from stage to island are settled here, so that stages can be placed; the order of tasks
comes last, when it is known which tasks there are.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from atoll.compiler.errors import PlanError
from atoll.compiler.plan.resolved_plan import ResolvedPlan
from atoll.compiler.schedules.kinds import Kind
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.schedules.segments import in_segments
from atoll.compiler.task_name import BACKWARD, WEIGHT, TaskName
from atoll.compiler.tracebacks import caller

# A loop that goes forward, or forward and backward, perhaps with the weights' gradients apart: what schedules are for.
PIPELINES = ("F", "FB", "FBW")


@dataclass(frozen=True)
class PipelineShape:
    """islands: how many the topology has for one replica; those that the stages do not suffice for stay empty.

    The plan speaks of stages as a schedule has them. Where they run in segments, each of these is a stage of the
    program: `stages`, `stage_island`, `split_stages` and `schedule` are about those.
    """

    plan: ResolvedPlan
    islands: int

    @property
    def microbatches(self) -> int:
        return self.plan.microbatches

    @property
    def segments(self) -> int:
        """In how many segments a stage runs."""
        return self.plan.segment_count

    @property
    def in_one_segment(self) -> "PipelineShape":
        """The same with stages that run in one piece."""
        return replace(self, plan=replace(self.plan, segments=1))

    @property
    def planned_stages(self) -> int:
        """How many stages there are, however many segments they have; with a placement one for each island."""
        return self.islands if self.plan.stage_count is None else self.plan.stage_count

    @property
    def stages(self) -> int:
        return self.planned_stages * self.segments

    @property
    def used(self) -> int:
        """How many islands have a stage."""
        return min(self.islands, self.planned_stages)

    @property
    def stage_island(self) -> tuple[int, ...]:
        """The island of each stage: as the schedule has them; else they go round, so that several may share one."""
        return tuple(island for island in self._planned_islands for _ in range(self.segments))

    @property
    def _planned_islands(self) -> tuple[int, ...]:
        kind = self.kind
        if self.plan.placement is None and kind is not None and self.used * kind.chunks == self.planned_stages:
            return kind.stage_island(self.used)
        if self.plan.placement is None and isinstance(self.plan.schedule, Schedule):
            return self._fitting(self.plan.schedule).stage_island
        return tuple(stage % self.islands for stage in range(self.planned_stages))

    @property
    def is_even(self) -> bool:
        """Whether every island that has a stage has as many."""
        return self.planned_stages % self.used == 0

    @property
    def kind(self) -> Kind | None:
        """The kind of the schedule; None for one that the user wrote."""
        return self.plan.kind(chunks=-(-self.planned_stages // self.used))

    @property
    def split_stages(self) -> frozenset[int]:
        """The stages that have weight tasks beside backward tasks: one that the user wrote may split some alone."""
        if isinstance(self.plan.schedule, Schedule):
            return in_segments(self.plan.schedule, self.segments).split_stages
        # The best one is found later, and may be one of these.
        splits = self.is_even if self.plan.has_open_schedule else self.kind is not None and self.kind.splits_backward
        return frozenset(range(self.stages)) if splits else frozenset()

    def schedule(self) -> Schedule:
        """The schedule of the microbatches; PlanError if the plan asks for one that does not fit its stages."""
        if isinstance(self.plan.schedule, Schedule):
            return in_segments(self._fitting(self.plan.schedule), self.segments)
        kind = self.kind
        assert kind is not None
        if self.used * kind.chunks != self.planned_stages:
            islands = f"{self.used} island{'s' if self.used > 1 else ''}"
            if self.plan.has_open_schedule:
                what = f"{self.planned_stages} stages go unevenly round {islands}, and there is no schedule for that"
                fewer, more = (self.used * chunks for chunks in (kind.chunks - 1, kind.chunks))
                raise PlanError(what, caller(), f"cut into {fewer} or {more} stages")
            what = f"schedule {kind.name} has {kind.chunks} stages an island, and the plan has "
            what += f"{self.planned_stages} on {islands}"
            raise PlanError(what, caller(), f"cut into {self.used * kind.chunks} stages, or take another schedule")
        try:
            return in_segments(kind.build(self.used, self.microbatches), self.segments)
        except PlanError as error:
            raise replace(error, where=caller()) from None

    def schedule_of(self, kinds: str, tasks: Collection[TaskName]) -> Schedule:
        """The plan's schedule, for a loop with sweeps of these kinds and with these tasks: `F0`, `B0`."""
        schedule = self.schedule()
        if BACKWARD not in kinds:
            return schedule.forward_only()
        if not schedule.has_backward:
            what = f"schedule {schedule.name} has no backward tasks, and the function has"
            raise PlanError(what, caller(), "take another schedule")
        return schedule.whole_backward(
            [stage for stage in range(schedule.stages) if TaskName(WEIGHT, stage) not in tasks]
        )

    def _fitting(self, schedule: Schedule) -> Schedule:
        sizes = (
            ("islands", schedule.islands, self.used),
            ("stages", schedule.stages, self.planned_stages),
            ("microbatches", schedule.microbatches, self.microbatches),
        )
        for name, wanted, given in sizes:
            if wanted != given:
                what = f"schedule {schedule.name} is for {wanted} {name}, and here are {given}"
                raise PlanError(what, caller(), f"write a schedule for {given} {name}, or change the plan")
        return schedule
