"""The rows of the table: the programs of the most promising proposals are made, and their reports predict the step."""

import json
from collections.abc import Sequence
from dataclasses import replace

from atoll.compiler.cost.devices import capacity_of, stated_operations
from atoll.compiler.errors import AtollError
from atoll.compiler.plan.plan import SHARDED, WHOLE, Plan
from atoll.compiler.planner.known import Known, Target, Told
from atoll.compiler.planner.proposals import Proposal, without_links
from atoll.compiler.planner.ranking import LAYERS, PROGRAM, PlanRow, what_is_gained
from atoll.compiler.report.report import Report
from atoll.compiler.report.step_parts import parts_of_step
from atoll.compiler.topology.topology import Topology

# How many rows there are; of how many the program is made at least, and for how many that is tried at the most; and up
# to how many stages, with their segments, and to how many islands: with more that takes long.
_SHOWN, _MADE, _TRIED, _MOST_STAGES, _MOST_ISLANDS = 6, 4, 12, 16, 16
# Beside a plan that is too large to be made so many are made, unless they are said to take this much longer.
_MADE_BESIDE, _NEAR = 2, 1.15
# With so many microbatches the automatic cut is tried where nothing else fits.
_MICROBATCHES = (1, 4, 16)


def rows_of(program: Target, known: Known, ranked: Sequence[Proposal], told: Told) -> list[PlanRow]:
    """The best plans, fastest first. What layers cost leads to them, and what the report predicts decides.

    Programs are made in the order of what layers say, after the plan that leaves the program whole, until no other is
    said to take less than the best of them does. What is only said never comes before what was made, unless it has too
    many stages to be made.
    """
    made: list[PlanRow] = []
    said: list[PlanRow] = []
    large: list[PlanRow] = []
    taken: set[str | tuple[int, ...]] = set()
    tried = 0
    for one in sorted(ranked, key=lambda one: not _is_whole(one)):
        plans = [plan for plan in one.plans(known.model) if str(plan) not in taken]
        # Without a loop over microbatches there is no order of tasks to choose.
        is_again = one.parts == 1 and one.candidate.cut.begins in taken
        taken.update((*map(str, plans), *([one.candidate.cut.begins] if one.parts == 1 else [])))
        if not plans or is_again:
            continue
        is_promising = len(made) < _MADE or one.seconds < min(row.step for row in made)
        # Beside plans that are too large to be made, a few of those that are not say enough.
        is_promising &= not large or (one.seconds <= _NEAR * large[0].step and tried < _MADE_BESIDE)
        if _is_soon_made(one) and is_promising and tried < _TRIED:
            tried += 1
            told(f"making the program of {plans[0]}")
            options = [row for plan in plans if (row := _of_program(program, known, plan)) is not None]
            made += sorted(options, key=lambda row: row.step)[:1]
        elif len(said) + len(large) < _SHOWN:
            (said if _is_soon_made(one) else large).append(_of_layers(known, one, plans[-1]))
        else:
            break
    return [*sorted([*made, *large], key=lambda row: row.step), *said][:_SHOWN]


def rows_of_automatic_cut(program: Target, known: Known, told: Told) -> list[PlanRow]:
    """What the automatic cut makes of all islands, which leaves those empty that have room for nothing.

    Proposals have a layer on each island that they use, and use the first of the topology: so none of them may fit.
    """
    stages = len(program.topology.islands)
    counts = [one for one in _MICROBATCHES if known.batch and known.batch % one == 0] if known.is_cut else [1]
    found = []
    for microbatches in counts:
        plan = Plan(stages=stages, microbatches=microbatches, schedule="1f1b", replicas=1)
        told(f"making the program of {plan}")
        found.append(_of_program(program, known, plan))
    return sorted((row for row in found if row is not None), key=lambda row: row.step)


def _is_whole(one: Proposal) -> bool:
    """Whether the program stays as it is, on one island."""
    return one.parts == 1 and len(one.candidate.cut.begins) == 1


def _is_soon_made(one: Proposal) -> bool:
    """Whether its program has few stages on few islands."""
    stages, islands = len(one.candidate.cut.begins), len(one.candidate.setting.homes)
    return stages * one.segments <= _MOST_STAGES and islands * one.replicas <= _MOST_ISLANDS


def _of_layers(known: Known, one: Proposal, plan: Plan) -> PlanRow:
    simulation = one.candidate.simulation
    islands = range(len(one.candidate.setting.homes))
    tasks = [sum(task.end - task.start for task in simulation.tasks if task.island == home) for home in islands]
    busy = max(task + end - begin for task, (begin, end) in zip(tasks, simulation.updates, strict=True))
    return PlanRow(
        plan=str(plan),
        source=LAYERS,
        step=one.seconds,
        busy=busy,
        links=max(0.0, one.candidate.seconds - without_links(one.candidate)),
        exchange=max(0.0, one.seconds - one.candidate.seconds),
        bubble=1 - (1 - simulation.bubble) * simulation.makespan / one.seconds if one.seconds else 0.0,
        memory=max(one.candidate.memory),
        sent=one.sent,
        mfu=_mfu(known, plan, one.seconds),
        hfu=None,
    )


def without_its_way(program: Target, known: Known, row: PlanRow, told: Told) -> str:
    """What a plan would be if replicas shared no update, and nothing waited on the host.

    Empty if it is so, or if its program is too large to be made.
    """
    plan = Plan.parse(row.plan)
    ways = [f"update={plan.update}"] if plan.update == SHARDED else []
    ways += [f"offload={json.dumps(plan.offload)}"] if plan.on_host else []
    if not ways or row.source == LAYERS:
        return ""
    usual, way = replace(plan, update=WHOLE, offload=""), " and ".join(ways)
    told(f"making the program of {usual}")
    try:
        report = program.lowered(usual).report()
    except AtollError as refusal:
        return f"without {way} {refusal.what}"
    return what_is_gained(way, row, _of_report(report, known, usual), _limit_that_is_passed(report, program.topology))


def _of_program(program: Target, known: Known, plan: Plan) -> PlanRow | None:
    """What the report of the program says; None if no such program can be made, or if it needs too much memory."""
    try:
        report = program.lowered(plan).report()
    except AtollError:
        return None
    return None if _limit_that_is_passed(report, program.topology) is not None else _of_report(report, known, plan)


def _limit_that_is_passed(report: Report, topology: Topology) -> int | None:
    """The memory of a device that has too little of it; None if all have enough, as far as is known."""
    for island, used in zip(topology.islands, report.islands, strict=True):
        limit = capacity_of(island)
        if limit is not None and used.peak_bytes > limit:
            return limit
    return None


def _of_report(report: Report, known: Known, plan: Plan) -> PlanRow:
    islands = known.topology.islands
    parts = parts_of_step(report.pipeline, report.whole_step, known.topology)
    cost = sum(island.cost for island in report.islands)
    peak = stated_operations(islands)
    return PlanRow(
        plan=str(plan),
        source=PROGRAM,
        step=parts.step,
        busy=parts.busy,
        links=parts.links,
        exchange=parts.exchange,
        bubble=parts.bubble,
        memory=max(island.peak_bytes for island in report.islands),
        sent=sum(link.bytes for link in report.links),
        mfu=_mfu(known, plan, parts.step),
        hfu=None if peak is None else cost / (parts.step * peak),
    )


def _mfu(known: Known, plan: Plan, step: float) -> float | None:
    peak = stated_operations(known.topology.islands)
    if peak is None or not step:
        return None
    parts = int(plan.microbatches) * int(plan.replicas)
    forward = known.model.operations((known.batch or 1) / parts) * parts
    return forward * (3 if known.model.one.costs.has_backward else 1) / (step * peak)
