"""Finds the best plan for a program: what its layers cost, proposals, and the programs of the best of these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

from atoll.compiler.cost.devices import capacity_of, stated_operations
from atoll.compiler.errors import AtollError, CompileError, PlanError
from atoll.compiler.lowered import Lowered
from atoll.compiler.mlir.ir_text import parse_text
from atoll.compiler.plan.plan import Plan
from atoll.compiler.planner.measuring import Measured, batch_size, measured
from atoll.compiler.planner.model import Model
from atoll.compiler.planner.proposals import Proposal, Proposals, proposals, without_links
from atoll.compiler.planner.ranking import LAYERS, PROGRAM, PlanRow, Ranking, what_binds, why_first
from atoll.compiler.report.report import Report
from atoll.compiler.report.step_parts import parts_of_pipeline
from atoll.compiler.text.quantities import bytes_text
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import caller, first_line

# How many plans the table has; of how many the program is made, for how many that is tried, and up to how many stages,
# with their segments: with more that takes long.
_SHOWN, _MADE, _TRIED, _MOST_STAGES = 6, 3, 8, 16
# The sizes of microbatches with which layers are counted: the batch in so many parts, as near as there is such a size.
_COUNTED_WITH = (2, 8)

Told = Callable[[str], None]


class Target(Protocol):
    """A program that has no plan yet."""

    @property
    def topology(self) -> Topology:
        """The islands."""

    def exported(self) -> bytes:
        """Its module, before any pass has asked for a plan."""

    def lowered(self, plan: Plan) -> Lowered:
        """The program for a plan."""


@dataclass(frozen=True)
class _Program:
    """What is known of a program: its chain, for as many microbatches as it takes."""

    model: Model
    batch: int | None
    notes: tuple[str, ...]

    @property
    def is_cut(self) -> bool:
        return not self.notes


def best_plans(program: Target, told: Told = lambda _: None) -> Ranking:
    """The best plans for a program on its topology; PlanError if none fits the memory of the islands."""
    known = _known(program, told)
    found = _proposed(known, told)
    if not found.ranked:
        raise _nothing_fits(known)
    limited = any(limit < inf for limit in known.model.memory)
    best = found.ranked[0].seconds
    faster = _proposed(_without_limits(known), told, best).ranked if limited else ()
    rows = _rows(program, known, found, told)
    if not rows:
        raise _nothing_fits(known)
    return Ranking(
        topology=str(program.topology),
        plans=tuple(rows),
        bound=min(found.bound, rows[0].step),
        tried=found.tried,
        why=why_first(tuple(rows)),
        binds=what_binds(rows[0], faster[0].seconds * rows[0].step / best if faster else None),
        notes=known.notes,
    )


def _proposed(known: _Program, told: Told, below: float = inf) -> Proposals:
    return proposals(known.model, known.batch, known.is_cut, told, below)


def _known(program: Target, told: Told) -> _Program:
    told("counting what layers cost")
    exported = program.exported()
    batch = batch_size(parse_text(exported))
    sizes = [one for one in range(2, (batch or 0) + 1) if (batch or 0) % one == 0]
    notes: tuple[str, ...] = ()
    if batch is None:
        notes = ("one microbatch and one replica, as no argument has the batch",)
    elif not sizes:
        notes = (f"one microbatch and one replica, as the batch of {batch} is not to be divided",)
    if not notes:
        chosen = dict.fromkeys(min(sizes, key=lambda one: abs(one - wanted)) for wanted in _COUNTED_WITH)
        try:
            counted = [measured(exported, program.topology, one) for one in chosen]
            return _Program(_model(program.topology, counted), batch, ())
        except CompileError as error:
            notes = (f"one microbatch and one replica, as the batch cannot be cut: {first_line(error)}",)
    return _Program(_model(program.topology, [measured(exported, program.topology, 1)]), batch, notes)


def _model(topology: Topology, counted: Sequence[Measured]) -> Model:
    return Model.of(topology, counted[0], counted[-1])


def _rows(program: Target, known: _Program, found: Proposals, told: Told) -> list[PlanRow]:
    """The rows of the table: first as layers say, then the best of them as their programs say."""
    rows: list[PlanRow] = []
    made = tried = 0
    taken: set[str] = set()
    for one in found.ranked:
        if len(rows) >= _SHOWN:
            break
        plans = [plan for plan in one.plans(known.model) if str(plan) not in taken]
        taken.update(map(str, plans))
        if made < _MADE and tried < _TRIED and plans and _is_soon_made(one):
            told(f"making the program of {plans[0]}")
            options = [row for plan in plans if (row := _of_program(program, known, one, plan)) is not None]
            made, tried = made + bool(options), tried + 1
        else:
            options = [_of_layers(known, one, plans[-1])] if plans else []
        rows += sorted(options, key=lambda row: row.step)[:1]
    return sorted(rows, key=lambda row: row.step)


def _is_soon_made(one: Proposal) -> bool:
    """Whether its program has few stages, and goes over microbatches: only then a report predicts it."""
    stages = len(one.candidate.cut.begins) * one.segments
    return stages <= _MOST_STAGES and one.replicas * one.candidate.setting.microbatches > 1


def _of_layers(known: _Program, one: Proposal, plan: Plan) -> PlanRow:
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
        mfu=_mfu(known, one, one.seconds),
        hfu=None,
    )


def _of_program(program: Target, known: _Program, one: Proposal, plan: Plan) -> PlanRow | None:
    """What the report of the program says; None if no such program can be made, or if it needs too much memory."""
    try:
        report = program.lowered(plan).report()
    except AtollError:
        return None
    islands = program.topology.islands
    for island, used in zip(islands, report.islands, strict=True):
        limit = capacity_of(island)
        if limit is not None and used.peak_bytes > limit:
            return None
    return _of_report(known, one, plan, report, program.topology)


def _of_report(known: _Program, one: Proposal, plan: Plan, report: Report, topology: Topology) -> PlanRow | None:
    pipeline = report.pipeline
    if pipeline is None:
        return _of_layers(known, one, plan)
    parts = parts_of_pipeline(pipeline, topology)
    cost = sum(island.cost for island in report.islands)
    peak = stated_operations(topology.islands)
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
        mfu=_mfu(known, one, pipeline.step),
        hfu=None if peak is None else cost / (pipeline.step * peak),
    )


def _mfu(known: _Program, one: Proposal, step: float) -> float | None:
    peak = stated_operations(known.model.topology.islands)
    if peak is None or not step:
        return None
    setting = one.candidate.setting
    microbatches = setting.microbatches * one.replicas
    forward = known.model.operations((known.batch or 1) / microbatches) * microbatches
    return forward * (3 if setting.chain.has_backward else 1) / (step * peak)


def _without_limits(known: _Program) -> _Program:
    return replace(known, model=replace(known.model, limits=(inf,) * len(known.model.forms)))


def _nothing_fits(known: _Program) -> PlanError:
    """With the arithmetic: what the whole model needs, and what there is."""
    model = known.model
    chain = model.chain(1.0 if known.batch is not None and known.is_cut else float(known.batch or 1))
    kinds, layers = range(chain.kinds), range(chain.layers)
    state, kept = (max(chain.total(name, kind, 0, chain.layers) for kind in kinds) for name in ("state", "kept"))
    there, most = sum(model.memory[home] for home in model.homes), max(model.memory)
    least = max(min(chain.state[kind][one] + chain.kept[kind][one] for kind in kinds) for one in layers)
    needs = [bytes_text(round(one)) for one in (state, kept, least)]
    what = f"no plan fits: all layers together take {needs[0]} of a device for parameters, sums and what the optimizer "
    what += f"keeps, and {needs[1]} for the smallest microbatch; "
    if least > most:
        what += f"one of them alone takes {needs[2]}, and a device has {bytes_text(round(most))}"
    elif there < inf:
        what += f"one device of each of the {len(model.homes)} islands together have {bytes_text(round(there))}"
    else:
        fewest = bytes_text(round(min(model.memory)))
        what += f"no cut that was tried leaves few enough of them to an island of which a device has {fewest}"
    return PlanError(what, caller(), "take more or larger islands, or shardings that divide more over their devices")
