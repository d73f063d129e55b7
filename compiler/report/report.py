"""What was decided, and what it costs: per island its tasks, memory and work; every transfer with the user's line."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atoll.compiler.emit.bundles import Exchange, bundles_of
from atoll.compiler.emit.routes import crossing_of
from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.attributes import integer_attribute, text_attribute
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, body_of
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.graph import bytes_of, iterations_of
from atoll.compiler.module.homes import replaced_arguments
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marking import texts_of
from atoll.compiler.module.marks import (
    JOINED,
    NOT_FOLLOWED,
    NOT_SHARED,
    PATH,
    TRAFFIC,
    TRAFFIC_BOUND,
    WHOLE_BATCH,
    WHOLE_LOOPS,
)
from atoll.compiler.module.mesh_types import island_of, local_type, spec_of_type
from atoll.compiler.module.planned import segments_of, stages_of, topology_of
from atoll.compiler.module.replicas import replicas_of, twins_of
from atoll.compiler.module.task_costs import StageCost, task_costs
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
from atoll.compiler.report.buffers import BufferGroup, argument_bytes, groups_of, peak_bytes, task_of_stage
from atoll.compiler.report.measurement import Measurement
from atoll.compiler.report.prediction import Prediction, calls_of_functions, predict
from atoll.compiler.text.quantities import MEMORY, amount_text
from atoll.compiler.topology.topology import Topology
from atoll.compiler.tracebacks import caller
from atoll.runtime.program import IslandProgram, Program, Run, Send


@dataclass(frozen=True)
class IslandReport:
    """One island.

    tasks: in the order in which it runs them, without the numbers of microbatches, and folded where they repeat
        themselves: `8 x (F0 B0)`.
    input_bytes, peak_bytes: on each of its devices, of arguments and of all values at the worst moment; what a task
        needs beside them while it runs is XLA's affair.
    array_peak_bytes: the same for whole arrays, however many devices hold a part or a copy: what `.stats().peak_bytes`
        counts, if the caller keeps nothing on the island that the step does not return or take over.
    cost: floating-point operations, counted from shapes; an element of anything else counts as one.
    """

    name: str
    tasks: tuple[str, ...]
    input_bytes: int
    peak_bytes: int
    array_peak_bytes: int
    cost: int


@dataclass(frozen=True)
class TransferReport:
    """One value that crosses, once for each microbatch if it stands in the loop over them.

    bytes: of one crossing; times: how many there are in a step.
    where: the user's line that makes it, or the argument it is.
    resharded: the islands that divide it otherwise, before it is sent or when it has come.
    """

    source: str
    target: str
    bytes: int
    where: str
    times: int = 1
    resharded: tuple[str, ...] = ()


@dataclass(frozen=True)
class LinkReport:
    """A link that is used. text: its bandwidth and latency; is_default: the topology does not write it."""

    source: str
    target: str
    bytes: int
    text: str
    is_default: bool


@dataclass(frozen=True)
class SharedArgument:
    """An argument that several islands use. home: where it lives; why: what made that the choice."""

    path: str
    home: str
    islands: tuple[str, ...]
    bytes: int
    why: str


@dataclass(frozen=True)
class ExchangeReport:
    """What an island exchanges with its twins in other replicas when a task has run for the last time.

    islands: they, in the order of the replicas. task: `None` if no task makes it.
    form: `direct`, `ring` or `tree`; `scatter` if each gets its share of the sums, `gather` if shares are joined.
    sums, bytes: how many values, and how large they are together: on each island, or of shares in all.
    messages, sent: what each island sends in all, and the bytes of it; in a tree at the most.
    chunk: how many bytes are worth a message; smaller sums are packed.
    seconds: what it should take.
    in_loop: whether a loop over microbatches sums it up; else a task makes it that stands outside of loops.
    """

    islands: tuple[str, ...]
    task: str | None
    form: str
    sums: int
    bytes: int
    messages: int
    sent: int
    chunk: int
    seconds: float
    in_loop: bool = True


@dataclass(frozen=True)
class Report:
    """Prints as text for people; `to_json` has the same for programs, and `svg` draws the tasks in time."""

    topology: str
    plan: str
    stages: int
    segments: int
    islands: tuple[IslandReport, ...]
    transfers: tuple[TransferReport, ...]
    links: tuple[LinkReport, ...]
    shared: tuple[SharedArgument, ...]
    # `island: axis` for shardings over an axis that an island has not, or that does not divide a value evenly there.
    not_followed: tuple[str, ...]
    # What is computed for the whole batch, though a microbatch needs only its block; the loops that
    # no cut goes through, and why; and the stacks of layers that are split, and yet needed whole.
    whole_batch: tuple[str, ...]
    whole_loops: tuple[str, ...]
    joined: tuple[str, ...]
    not_shared: tuple[str, ...]
    fragments: int
    # What crosses between stages, and that no choice of stages for what the plan leaves open has less than; None for a
    # module that was written by hand from phase `staged` on.
    traffic: int | None
    traffic_at_least: int | None
    # Every buffer of every island, those that live alike together.
    buffers: tuple[BufferGroup, ...]
    # None for a program without a loop over microbatches, or with one that no schedule is for.
    pipeline: Prediction | None
    # How many replicas there are. `transfers`, `shared` and `traffic` are of one of them; `links` of all.
    replicas: int = 1
    exchanges: tuple[ExchangeReport, ...] = ()
    # The last step that was traced; None if none was.
    measured: Measurement | None = None

    @classmethod
    def of(cls, module: ir.Module, program: Program) -> "Report":
        """The report on a module at phase `scheduled` and the program emitted from it.

        PlanError if an island has not the memory for its values.
        """
        functions = calls_of_functions(module)
        costs = task_costs(module, functions)
        topology = Topology.parse(program.topology)
        replicas = replicas_of(module)
        twins = twins_of(topology, replicas)
        cost_of = {name: costs[first] for first, names in twins.items() for name in names}
        islands = tuple(_island(program, island, cost_of[island.name]) for island in program.islands)
        _check_memory(topology, islands)
        transfers = tuple(
            _transfer(transfer, times, topology) for function, times in functions for transfer in transfers_in(function)
        )
        return cls(
            topology=program.topology,
            plan=program.plan,
            stages=stages_of(module),
            segments=segments_of(module),
            islands=islands,
            transfers=transfers,
            links=tuple(_links(topology, program)),
            shared=tuple(_shared(module)),
            not_followed=texts_of(module, NOT_FOLLOWED),
            whole_batch=texts_of(module, WHOLE_BATCH),
            whole_loops=texts_of(module, WHOLE_LOOPS),
            joined=texts_of(module, JOINED),
            not_shared=texts_of(module, NOT_SHARED),
            fragments=len(program.codes),
            traffic=integer_attribute(module.operation, TRAFFIC),
            traffic_at_least=integer_attribute(module.operation, TRAFFIC_BOUND),
            buffers=tuple(group for island in program.islands for group in groups_of(program, island)),
            pipeline=predict(module),
            replicas=replicas,
            exchanges=tuple(_exchanges(module, twins)),
        )

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """What `to_json` wrote."""
        content = json.loads(text)
        content |= {name: tuple(_made(kind, one) for one in content[name]) for name, kind in _TABLES.items()}
        pipeline, measured = content.pop("pipeline"), content.pop("measured")
        if pipeline is not None:
            stages = tuple(_made(StageCost, one) for one in pipeline.pop("stages"))
            exchanges = tuple(_made(Exchange, one) for one in pipeline.pop("exchanges"))
            pipeline = _made(Prediction, {**pipeline, "stages": stages, "exchanges": exchanges})
        return cls(
            not_followed=tuple(content.pop("not_followed")),
            pipeline=pipeline,
            measured=None if measured is None else Measurement.of(**measured),
            **content,
        )

    def __str__(self) -> str:
        # Imported here, as they draw and write what is declared above.
        from atoll.compiler.report.report_text import report_text

        return report_text(self)

    def svg(self) -> str:
        """A picture of the tasks in time: predicted, and below it as measured in the last step that was traced.

        UsageError if there is neither.
        """
        from atoll.compiler.report.gantt import report_svg

        return report_svg(self)


_TABLES = {
    "islands": IslandReport,
    "transfers": TransferReport,
    "links": LinkReport,
    "shared": SharedArgument,
    "buffers": BufferGroup,
    "exchanges": ExchangeReport,
}


def _made(kind: type[Any], fields: dict[str, Any]) -> Any:  # noqa: ANN401 (an object of that kind)
    """The object of which `dataclasses.asdict` made the fields, which has tuples where JSON has lists."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def _island(program: Program, island: IslandProgram, cost: int) -> IslandReport:
    tasks = [task_of_stage(one.task) for one in island.instructions if isinstance(one, Run)]
    return IslandReport(
        name=island.name,
        tasks=folded(tasks),
        input_bytes=argument_bytes(program, island),
        peak_bytes=peak_bytes(program, island),
        array_peak_bytes=peak_bytes(program, island, whole=True),
        cost=cost,
    )


def _check_memory(topology: Topology, islands: tuple[IslandReport, ...]) -> None:
    """PlanError for the first island whose values do not fit the limit that the topology sets."""
    for island, found in zip(topology.islands, islands, strict=True):
        if island.memory is not None and found.peak_bytes > island.memory:
            limit, needed = amount_text(island.memory, MEMORY), bytes_text(found.peak_bytes)
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
            yield ExchangeReport(
                islands,
                bundle.task,
                form,
                sum(len(unit.members) for unit in units),
                sum(unit.bytes for unit in units),
                sum(messages(unit.form, len(islands)) for unit in units),
                sum(bytes_sent(unit.form, unit.bytes, len(islands)) for unit in units),
                round(speed.chunk),
                seconds(form, sum(unit.bytes for unit in units), len(islands), speed),
                bundle.in_loop,
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
        yield LinkReport(source, target, size, text, is_default=link not in topology.links)


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
            size = bytes_of(local_type(argument.type)) * max(times for _, times in copies)
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
    return TransferReport(island_of(source), island_of(target), bytes_of(local_type(source)), where, times, resharded)


def bytes_text(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
