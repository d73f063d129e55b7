"""What a plan means on a topology: here, and nowhere else, what it leaves open (`auto`) is decided.

Two answers need more than that, and each is the work of one pass, which writes it into the IR: how many segments are
worth it where replicas exchange sums (`cut-segments`), and which schedule is best for what the tasks cost
(`order-tasks`). Until then they are open.
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

# The kinds that stand for a schedule that is open: where islands have one stage each, and where they have several.
_ONE_STAGE_EACH, _SEVERAL_EACH = "1f1b", "interleaved-1f1b"


@dataclass(frozen=True)
class ResolvedPlan(Plan):
    """A plan with every number in its place that can be known before any code is seen; `resolved` makes it.

    Which parts are open yet is asked for by name; nobody compares with `auto`.
    """

    microbatches: int = 1
    replicas: int = 1

    @property
    def stage_count(self) -> int | None:
        """How many stages there are, as the schedule has them; None without a topology that would tell.

        None for a placement too, which stands instead of stages.
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
        """In how many segments a stage runs: one as long as that is open."""
        return self.segments if isinstance(self.segments, int) else 1

    @property
    def has_open_segments(self) -> bool:
        """Whether `cut-segments` has yet to say in how many segments a stage runs."""
        return self.segments == AUTO

    @property
    def has_open_schedule(self) -> bool:
        """Whether `order-tasks` is to find the schedule: only there is it known what tasks cost."""
        return self.schedule == AUTO

    def kind(self, chunks: int) -> Kind | None:
        """The kind of the schedule; None for one that the user wrote.

        chunks: how many stages an island has, at the most: what an open schedule makes its choice by.
        """
        if isinstance(self.schedule, Schedule):
            return None
        if self.schedule != AUTO:
            return kind_named(self.schedule)
        return SCHEDULE_KINDS[_ONE_STAGE_EACH] if chunks == 1 else with_chunks(SCHEDULE_KINDS[_SEVERAL_EACH], chunks)


def resolved(plan: Plan, islands: int | None) -> ResolvedPlan:
    """The plan with what it leaves open decided; a plan that leaves nothing open stays what it is.

    islands: how many the topology has; None where there is none yet, and the number of stages stays open.
    """
    written = {one.name: getattr(plan, one.name) for one in fields(Plan)}
    if plan.microbatches == AUTO:
        written["microbatches"] = plan.schedule.microbatches if isinstance(plan.schedule, Schedule) else 1
    if plan.replicas == AUTO:
        written["replicas"] = 1
    if plan.segments == AUTO and written["replicas"] == 1:
        written["segments"] = 1  # they are there for what replicas exchange
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


def filled_in(before: Plan, after: ResolvedPlan) -> dict[str, int]:
    """The parts that are open in one plan and decided in the other, with what they are there."""
    return {
        one.name: getattr(after, one.name)
        for one in fields(Plan)
        if getattr(before, one.name) == AUTO != getattr(after, one.name)
    }


def as_asked(plan: Plan, filled: Mapping[str, int]) -> Plan:
    """The plan that somebody wrote, of which these parts were filled in: each is `auto` again, unless it was edited.

    In how many segments stages run is told where there are several, as they are tasks that nobody asked for.
    """
    written = {one.name: getattr(plan, one.name) for one in fields(Plan)}
    reopened = {name: AUTO for name, value in written.items() if name in filled and filled[name] == value}
    if plan.segments != 1:
        reopened.pop("segments", None)
    return Plan(**written | reopened)
