"""What was decided, and what it costs: per island its tasks, memory and work; every transfer with the user's line."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atoll.compiler.cost.task_costs import StageCost, task_costs
from atoll.compiler.emit.bundles import ExchangeCost, bundles_of
from atoll.compiler.emit.routes import crossing_of
from atoll.compiler.errors import PlanError, UsageError
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, body_of
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.graph import bytes_of, iterations_of
from atoll.compiler.module.homes import replaced_arguments
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import PATH
from atoll.compiler.module.mesh_types import island_of, local_type, spec_of_type
from atoll.compiler.module.notes import Note
from atoll.compiler.module.noting import notes_of
from atoll.compiler.module.planned import segments_of, stages_of, topology_of
from atoll.compiler.module.replicas import replicas_of, twins_of
from atoll.compiler.module.tasks import (
    OWN_SHARE,
    dataflow_functions,
    is_exchange,
    loop_of_call,
    microbatch_name,
    transfers_in,
)
from atoll.compiler.replicas.exchange import bytes_sent, messages, seconds
from atoll.compiler.replicas.speed import speed_between
from atoll.compiler.report.abbreviation import folded
from atoll.compiler.report.buffers import BufferGroup, groups_of, rolled_task
from atoll.compiler.report.chips import ChipReport, CodeReport
from atoll.compiler.report.contents import (
    ExchangeReport,
    IslandReport,
    LinkReport,
    ReportContents,
    SharedArgument,
    TransferReport,
)
from atoll.compiler.report.gantt import report_svg
from atoll.compiler.report.kept import kept_by_island
from atoll.compiler.report.measurement import Measurement
from atoll.compiler.report.prediction import Prediction, calls_of_functions
from atoll.compiler.report.report_text import report_text
from atoll.compiler.report.step_parts import predictions
from atoll.compiler.report.whole_step import WholeStep
from atoll.compiler.text.notebook import preformatted
from atoll.compiler.text.quantities import MEMORY, amount_text, enough_text
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import caller
from atoll.runtime.program import IslandProgram, Program, Run, Send
from atoll.runtime.program_memory import argument_bytes, host_peak_bytes, peak_bytes


@dataclass(frozen=True)
class Report(ReportContents):
    """Prints as text for people; `to_json` has the same for programs, and `svg` draws the tasks in time."""

    @classmethod
    def of(cls, module: ir.Module, program: Program) -> "Report":
        """The report on a module at phase `scheduled` and the program emitted from it.

        PlanError if an island does not have the memory for its values.
        """
        functions = calls_of_functions(module)
        costs = task_costs(module, functions)
        topology = Topology.parse(program.topology)
        replicas = replicas_of(module)
        twins = twins_of(topology, replicas)
        cost_of = {name: costs[first] for first, names in twins.items() for name in names}
        kept = kept_by_island(module)
        kept_by = {name: kept[first] for first, names in twins.items() for name in names}
        islands = tuple(
            _island(program, island, cost_of[island.name], kept_by[island.name]) for island in program.islands
        )
        _check_memory(topology, islands)
        transfers = tuple(
            _transfer(transfer, times, topology) for function, times in functions for transfer in transfers_in(function)
        )
        pipeline, whole = predictions(module)
        return cls(
            topology=program.topology,
            plan=program.plan,
            stages=stages_of(module),
            segments=segments_of(module),
            islands=islands,
            transfers=transfers,
            links=tuple(_links(topology, program)),
            shared=tuple(_shared(module)),
            notes=notes_of(module),
            fragments=len(program.codes),
            buffers=tuple(group for island in program.islands for group in groups_of(program, island)),
            pipeline=pipeline,
            whole_step=whole,
            replicas=replicas,
            exchanges=tuple(_exchanges(module, twins)),
        )

    def to_json(self) -> str:
        notes = [one.to_data() for one in self.notes]
        return json.dumps({**dataclasses.asdict(self), "notes": notes}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """What `to_json` wrote."""
        try:
            content = json.loads(text)
        except (TypeError, ValueError) as error:
            raise UsageError(f"the text is no report: {error}", remedy="give what to_json returned") from None
        content |= {name: tuple(_made(kind, one) for one in content[name]) for name, kind in _TABLES.items()}
        pipeline, whole, measured = (content.pop(name) for name in ("pipeline", "whole_step", "measured"))
        if pipeline is not None:
            stages = tuple(_made(StageCost, one) for one in pipeline.pop("stages"))
            exchanges = tuple(_made(ExchangeCost, one) for one in pipeline.pop("exchanges"))
            pipeline = _made(Prediction, {**pipeline, "stages": stages, "exchanges": exchanges})
        return cls(
            notes=tuple(map(Note.from_data, content.pop("notes"))),
            pipeline=pipeline,
            whole_step=None if whole is None else WholeStep.of(**whole),
            measured=None if measured is None else Measurement.of(**measured),
            **content,
        )

    def __str__(self) -> str:
        return report_text(self)

    def _repr_html_(self) -> str:
        return self.svg() + preformatted(str(self))

    def svg(self) -> str:
        """A picture of the tasks in time: predicted, and below it as measured in the last step that was traced."""
        return report_svg(self)


_TABLES = {
    "islands": IslandReport,
    "transfers": TransferReport,
    "links": LinkReport,
    "shared": SharedArgument,
    "buffers": BufferGroup,
    "exchanges": ExchangeReport,
    "chips": ChipReport,
    "codes": CodeReport,
}


def _made(kind: type[Any], fields: dict[str, Any]) -> Any:  # noqa: ANN401 (an object of that kind)
    """The object of which `dataclasses.asdict` made the fields, which has tuples where JSON has lists."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def _island(program: Program, island: IslandProgram, cost: int, kept: int) -> IslandReport:
    tasks = [rolled_task(one) for one in island.instructions if isinstance(one, Run)]
    return IslandReport(
        name=island.name,
        tasks=folded(tasks),
        input_bytes=argument_bytes(program, island),
        peak_bytes=peak_bytes(program, island),
        host_bytes=host_peak_bytes(program, island),
        cost=cost,
        kept_bytes=kept,
    )


def _check_memory(topology: Topology, islands: tuple[IslandReport, ...]) -> None:
    """PlanError for the first island whose values do not fit the limit that the topology sets."""
    for island, found in zip(topology.islands, islands, strict=True):
        if island.memory is not None and found.peak_bytes > island.memory:
            limit, needed = amount_text(island.memory, MEMORY), enough_text(found.peak_bytes, island.memory, MEMORY)
            what = f"a device of island {island.name} has {limit} and needs at least {needed}"
            remedy = "cut into more stages, or give the island more devices and shardings over them"
            raise PlanError(what, caller(), remedy)


def _exchanges(module: ir.Module, twins: Mapping[str, tuple[str, ...]]) -> Iterator[ExchangeReport]:
    topology = topology_of(module)
    for bundle in bundles_of(module):
        islands = twins[bundle.island]
        speed = speed_between(islands, topology)
        crossing = (unit.form for unit in bundle.units if unit.form != OWN_SHARE)
        for form in dict.fromkeys(crossing):
            units = [unit for unit in bundle.units if unit.form == form]
            size = sum(unit.bytes for unit in units)
            yield ExchangeReport(
                islands=islands,
                task=bundle.task_text,
                form=form,
                sums=sum(len(unit.members) for unit in units),
                bytes=size,
                messages=sum(messages(unit.form, len(islands)) for unit in units),
                sent=sum(bytes_sent(unit.form, unit.bytes, len(islands)) for unit in units),
                chunk=round(speed.chunk),
                seconds=seconds(form, size, len(islands), speed),
                in_loop=bundle.in_loop,
            )


def _links(topology: Topology, program: Program) -> Iterator[LinkReport]:
    """The links that are used, each direction by itself."""
    total: Counter[tuple[str, str]] = Counter()
    for island in program.islands:
        for one in island.instructions:
            if isinstance(one, Send):
                total[island.name, one.to] += island.buffers[one.buffer].bytes
    for (source, target), size in total.items():
        link = topology.link(source, target)
        text = str(link).partition(" : ")[2]
        yield LinkReport(source, target, size, text, is_default=topology.others is None and link not in topology.links)


def _shared(module: ir.Module) -> Iterator[SharedArgument]:
    """The arguments that are sent on from where they live."""
    main = entry_function(module)
    *_, terminator = body_of(main).operations
    makers = [island_of(value.type) for value in terminator.operands]
    maker_of = {argument: makers[result] for argument, result in replaced_arguments(module)}
    functions, replicas = dataflow_functions(module), replicas_of(module)
    for number, (argument, marks) in enumerate(zip(arguments_of(main), argument_attributes(main), strict=True)):
        copies = _copies(argument, functions, replicas)
        islands = list(dict.fromkeys(island_of(value.type) for value, _ in copies))
        if len(islands) > 1:
            why = "where its new value is made" if maker_of.get(number) == islands[0] else "where it is used first"
            sent = max(times for copy, times in copies if isinstance(copy.owner, mpmd.TransferOp))
            size = bytes_of(local_type(argument.type)) * sent
            yield SharedArgument(text_attribute(marks, PATH) or "", islands[0], tuple(islands), size, why)


def _copies(
    value: ir.Value[ir.Type], functions: dict[str, func.FuncOp], replicas: int
) -> list[tuple[ir.Value[ir.Type], int]]:
    """A value and what transfers make of it, and how often: a batch argument is sent on in the loop, part by part."""
    found = [(value, 1)]
    for one, times in found:  # grows
        for use in one.uses:
            owner = use.owner
            if isinstance(owner, mpmd.TransferOp) and not is_exchange(owner):
                found.append((owner.result, times))
            elif isinstance(owner, mpmd.CallOp):
                loop = loop_of_call(owner)
                parameter = arguments_of(functions[microbatch_name(loop)])[use.operand_number]
                found.append((parameter, iterations_of(loop) // replicas))
    return found


def _transfer(transfer: mpmd.TransferOp, times: int, topology: Topology) -> TransferReport:
    source, target = transfer.operation.operands[0].type, transfer.operation.results[0].type
    where = place(transfer.location) or str(transfer.location).removeprefix("loc(").removesuffix(")").strip('"')
    crosses, ends = crossing_of(source, target, topology), (source, target)
    changed = (crosses.sent != spec_of_type(source), crosses.received != spec_of_type(target))
    resharded = tuple(island_of(one) for one, is_changed in zip(ends, changed, strict=True) if is_changed)
    return TransferReport(
        source=island_of(source),
        target=island_of(target),
        bytes=bytes_of(local_type(source)),
        where=where,
        times=times,
        resharded=resharded,
    )
