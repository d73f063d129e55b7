"""What a plan means on a topology. What it leaves open (`auto`) is decided here and nowhere else, but for two answers.

Those need more than a topology, and one pass finds each and writes it into the IR: how many segments are worthwhile
if replicas exchange sums (`cut-segments`), and which schedule is best for what the tasks cost (`order-tasks`). Until
then they are open.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

from atoll.compiler.errors import PlanError
from atoll.compiler.plan.plan import AUTO, MOST_STAGES, Plan
from atoll.compiler.plan.stage_text import StageText
from atoll.compiler.schedules.kinds import SCHEDULE_KINDS, Kind, kind_named, with_chunks
from atoll.compiler.schedules.schedule import Schedule
from atoll.compiler.tracebacks import caller

# The kinds that stand for an open schedule: if each island has one stage, and if islands have several.
_ONE_STAGE_EACH, _SEVERAL_EACH = "1f1b", "interleaved-1f1b"
_DIVIDING = ("microbatches", "replicas", "segments")  # the fields that divide the batch or the work of a stage
_CHOSEN = ("update", "offload")  # open until the planner decides them, which it does only for what it divides


@dataclass(frozen=True)
class ResolvedPlan(Plan):
    """A plan with every number filled in that can be known before the program is looked at; `resolved` makes it.

    It has properties that say which parts are still open, so that nobody compares with `auto`.
    """

    microbatches: int = 1
    replicas: int = 1

    @property
    def stage_count(self) -> int | None:
        """How many stages the schedule has; None if only a topology could tell, and there is none.

        None for a placement too, which takes the place of stages.
        """
        if isinstance(self.stages, int):
            return self.stages
        return None if self.scopes is None else len(self.scopes.stages)

    @cached_property
    def scopes(self) -> StageText | None:
        """The scopes that make the stages; None if the plan only says how many there are."""
        return None if isinstance(self.stages, int) or self.stages == AUTO else StageText.parse(self.stages)

    @property
    def segment_count(self) -> int:
        """How many segments a stage runs in: one as long as that is open."""
        return self.segments if isinstance(self.segments, int) else 1

    @property
    def has_open_segments(self) -> bool:
        """Whether `cut-segments` has yet to say in how many segments a stage runs."""
        return self.segments == AUTO

    @property
    def has_open_schedule(self) -> bool:
        """Whether `order-tasks` has yet to find the schedule; only then is it known what tasks cost."""
        return self.schedule == AUTO

    @property
    def has_open_update(self) -> bool:
        """Whether the planner may have replicas share the update; otherwise it is whole."""
        return self.update == AUTO

    @property
    def has_open_offload(self) -> bool:
        """Whether the planner may put something into the memory of the host; otherwise there is nothing."""
        return self.offload == AUTO

    def kind(self, chunks: int) -> Kind | None:
        """The kind of the schedule; None for one that the user wrote.

        chunks: the most stages that an island has; the kind that stands for an open schedule depends on it.
        """
        if isinstance(self.schedule, Schedule):
            return None
        if self.schedule != AUTO:
            return kind_named(self.schedule)
        return SCHEDULE_KINDS[_ONE_STAGE_EACH] if chunks == 1 else with_chunks(SCHEDULE_KINDS[_SEVERAL_EACH], chunks)


def resolved(plan: Plan, islands: int | None) -> ResolvedPlan:
    """The plan with everything decided that it leaves open; one that leaves nothing open stays as it is.

    islands: how many the topology has; None if there is none yet, and then the number of stages may stay open.
    """
    written = {one.name: getattr(plan, one.name) for one in fields(Plan)}
    if plan.microbatches == AUTO:
        if plan.per_microbatch and not isinstance(plan.schedule, Schedule):
            what = (
                "the plan has per_microbatch and leaves microbatches open, and the answer depends on how many there are"
            )
            raise PlanError(what, caller(), "write their number: microbatches=4")
        written["microbatches"] = plan.schedule.microbatches if isinstance(plan.schedule, Schedule) else 1
    if plan.replicas == AUTO:
        written["replicas"] = 1
    if plan.segments == AUTO and written["replicas"] == 1:
        written["segments"] = 1  # segments only help where replicas exchange sums
    if plan.stages == AUTO and plan.placement is None:
        if isinstance(plan.schedule, Schedule):
            written["stages"] = plan.schedule.stages
        elif islands is not None:
            written["stages"] = _stages(plan.schedule, islands_of_replica(islands, written["replicas"]))
    return ResolvedPlan(**written)


def islands_of_replica(islands: int, replicas: int) -> int:
    """How many islands each replica has."""
    return max(1, islands // replicas)


def _stages(schedule: str, islands: int) -> int:
    """One for each island and chunk."""
    chunks = 1 if schedule == AUTO else kind_named(schedule).chunks
    if islands * chunks > MOST_STAGES:
        what = f"the plan leaves the stages open, and {islands} islands with {chunks} each have {islands * chunks}"
        raise PlanError(what, caller(), f"write how many there are: at most {MOST_STAGES}")
    return islands * chunks


def filled_in(before: Plan, after: ResolvedPlan) -> dict[str, int | str]:
    """The parts that are open in one plan and decided in the other, each with what it is there."""
    return {
        one.name: getattr(after, one.name)
        for one in fields(Plan)
        if getattr(before, one.name) == AUTO != getattr(after, one.name)
    }


def as_asked(plan: Plan, filled: Mapping[str, int | str]) -> Plan:
    """The plan as somebody wrote it, before these parts were filled in: each is `auto` again, unless it was edited.

    But numbers of microbatches, replicas and segments are shown if there are several, as these make tasks that nobody
    asked for, and other sums; unless a schedule that is written says so. So is what was chosen with them: who makes the
    update, and what is on the host.
    """
    written = {one.name: getattr(plan, one.name) for one in fields(Plan)}
    reopened = {name: AUTO for name, value in written.items() if name in filled and filled[name] == value}
    usual = {"microbatches": plan.schedule.microbatches} if isinstance(plan.schedule, Schedule) else {}
    for name in _CHOSEN:
        reopened.pop(name, None)
    for name in _DIVIDING:
        if written[name] != usual.get(name, 1):
            reopened.pop(name, None)
    return Plan(**written | reopened)
