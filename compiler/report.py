"""What was decided, and what it costs: per island its tasks, memory and work; every transfer with the user's line."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from atoll.compiler.cost import cost_of
from atoll.compiler.entry import PATH, entry_function, text_attribute
from atoll.compiler.errors import PlanError
from atoll.compiler.functions import argument_attributes, arguments_of, body_of, functions_in, operations_in
from atoll.compiler.graph import bytes_of
from atoll.compiler.homes import replaced_arguments
from atoll.compiler.locations import place
from atoll.compiler.mesh_types import island_of, local_type
from atoll.compiler.mlir import ir, mpmd
from atoll.compiler.plan_marks import NOT_FOLLOWED, TRAFFIC, TRAFFIC_BOUND, integer_attribute, stages_of
from atoll.compiler.quantities import MEMORY, amount_text
from atoll.compiler.tasks import code_name, mesh_name
from atoll.compiler.topology import Topology
from atoll.compiler.tracebacks import caller
from atoll.runtime.program import Buffer, Free, IslandProgram, Program, Receive, Run


@dataclass(frozen=True)
class IslandReport:
    """One island.

    input_bytes, peak_bytes: on each of its devices, of arguments and of all values at the worst moment; what a task
        needs beside them while it runs is XLA's affair.
    cost: floating-point operations, counted from shapes; an element of anything else counts as one.
    """

    name: str
    tasks: tuple[str, ...]
    input_bytes: int
    peak_bytes: int
    cost: int


@dataclass(frozen=True)
class TransferReport:
    """One value that crosses. where: the user's line that makes it, or the argument it is."""

    source: str
    target: str
    bytes: int
    where: str


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
class Report:
    """Prints as text for people; `to_json` has the same for programs."""

    topology: str
    plan: str
    stages: int
    islands: tuple[IslandReport, ...]
    transfers: tuple[TransferReport, ...]
    links: tuple[LinkReport, ...]
    shared: tuple[SharedArgument, ...]
    # `island: axis` for shardings over an axis that an island has not, or that does not divide a value evenly there.
    not_followed: tuple[str, ...]
    fragments: int
    # What crosses between stages, and that no choice of stages for what the plan leaves open has less than; None for a
    # module that was written by hand from phase `staged` on.
    traffic: int | None
    traffic_at_least: int | None

    @classmethod
    def of(cls, module: ir.Module, program: Program) -> "Report":
        """The report on a module at phase `scheduled` and the program emitted from it.

        PlanError if an island has not the memory for its values.
        """
        costs = _costs(module)
        attributes = module.operation.attributes
        topology = Topology.parse(program.topology)
        islands = tuple(_island(program, island, costs[island.name]) for island in program.islands)
        _check_memory(topology, islands)
        transfers = tuple(map(_transfer, operations_in(entry_function(module), mpmd.TransferOp)))
        return cls(
            topology=program.topology,
            plan=program.plan,
            stages=stages_of(module),
            islands=islands,
            transfers=transfers,
            links=tuple(_links(topology, transfers)),
            shared=tuple(_shared(module)),
            not_followed=tuple(ir.StringAttr(one).value for one in ir.ArrayAttr(attributes[NOT_FOLLOWED]))
            if NOT_FOLLOWED in attributes
            else (),
            fragments=len(program.codes),
            traffic=integer_attribute(module.operation, TRAFFIC),
            traffic_at_least=integer_attribute(module.operation, TRAFFIC_BOUND),
        )

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """What `to_json` wrote."""
        content = json.loads(text)
        return cls(
            islands=tuple(IslandReport(**{**one, "tasks": tuple(one["tasks"])}) for one in content.pop("islands")),
            transfers=tuple(TransferReport(**one) for one in content.pop("transfers")),
            links=tuple(LinkReport(**one) for one in content.pop("links")),
            shared=tuple(SharedArgument(**{**one, "islands": tuple(one["islands"])}) for one in content.pop("shared")),
            not_followed=tuple(content.pop("not_followed")),
            **content,
        )

    def __str__(self) -> str:
        return "\n\n".join(
            "\n".join(lines)
            for lines in (
                self._head(),
                self._island_rows(),
                self._sharding_rows(),
                self._shared_rows(),
                self._transfer_rows(),
            )
            if lines
        )

    def _sharding_rows(self) -> list[str]:
        return [
            f"replicated on {island}, which cannot divide some value over axis {axis}"
            for island, _, axis in (one.partition(": ") for one in self.not_followed)
        ]

    def _head(self) -> list[str]:
        first, *rest = self.topology.splitlines()
        lines = [f"topology  {first}", *(f"          {line}" for line in rest)]
        return [*lines, f"plan      {self.plan}", f"stages    {self.stages}, {self.fragments} different fragments"]

    def _island_rows(self) -> list[str]:
        total = sum(island.cost for island in self.islands) or 1
        rows = [f"{'island':<12}{'arguments':>12}{'peak':>12}{'cost':>12}{'share':>8}   tasks"]
        for one in self.islands:
            share = f"{100 * one.cost / total:.0f}%"
            sizes = f"{_bytes_text(one.input_bytes):>12}{_bytes_text(one.peak_bytes):>12}{_count_text(one.cost):>12}"
            rows.append(f"{one.name:<12}{sizes}{share:>8}   {' '.join(one.tasks) or '(empty: no stage)'}")
        return rows

    def _shared_rows(self) -> list[str]:
        rows = [
            f"{one.path:<28}{_bytes_text(one.bytes):>12}   "
            f"lives on {one.home}, {one.why}; sent to {', '.join(one.islands[1:])}"
            for one in self.shared
        ]
        return ["arguments that several islands use", *rows] if rows else []

    def _transfer_rows(self) -> list[str]:
        if not self.transfers:
            return ["nothing crosses between islands"]
        rows = [f"{'transfer':<28}{'bytes':>12}   made at"]
        rows += [_row(one.source, one.target, one.bytes, one.where) for one in self.transfers]
        rows += ["", f"{'link':<28}{'bytes':>12}   each step, over"]
        for one in self.links:
            default = " (assumed: the topology does not say)" if one.is_default else ""
            rows.append(_row(one.source, one.target, one.bytes, one.text + default))
        if self.traffic is None or self.traffic_at_least is None:
            return rows
        gap = self.traffic - self.traffic_at_least
        verdict = "the least possible" if not gap else f"at most {_bytes_text(gap)} above the least possible"
        what = f"{_bytes_text(self.traffic)} cross between stages: {verdict} for the operations the plan leaves open"
        return [*rows, "", what]


def _row(source: str, target: str, size: int, text: str) -> str:
    return f"{source + ' -> ' + target:<28}{_bytes_text(size):>12}   {text}"


def _costs(module: ir.Module) -> Counter[str]:
    """The cost of the tasks of each island."""
    functions = functions_in(module)
    cost = {
        name: sum(map(cost_of, body_of(function).operations)) for name, function in functions.items() if name != "main"
    }
    costs: Counter[str] = Counter()
    for call in operations_in(entry_function(module), mpmd.FragmentCallOp):
        costs[mesh_name(call)] += cost[code_name(call)]
    return costs


def _island(program: Program, island: IslandProgram, cost: int) -> IslandReport:
    inputs = {number for one in program.inputs for name, number in one.places if name == island.name}
    sizes = [_bytes_on_device(buffer, dict(island.axes)) for buffer in island.buffers]
    return IslandReport(
        name=island.name,
        tasks=tuple(one.task for one in island.instructions if isinstance(one, Run)),
        input_bytes=sum(sizes[number] for number in inputs),
        peak_bytes=_peak(island, inputs, sizes),
        cost=cost,
    )


def _bytes_on_device(buffer: Buffer, sizes: dict[str, int]) -> int:
    return buffer.bytes // prod(sizes[axis] for axes in buffer.spec for axis in axes)


def _peak(island: IslandProgram, inputs: set[int], sizes: list[int]) -> int:
    """The most bytes that are alive at once."""
    live = peak = sum(sizes[number] for number in inputs)
    for one in island.instructions:
        match one:
            case Run():
                # What is donated is taken over by an output of its size.
                live += sum(sizes[number] for number in one.outputs)
                live -= sum(sizes[number] for number in one.donated)
            case Receive():
                live += sizes[one.buffer]
            case Free():
                live -= sum(sizes[number] for number in one.buffers)
        peak = max(peak, live)
    return peak


def _check_memory(topology: Topology, islands: tuple[IslandReport, ...]) -> None:
    """PlanError for the first island whose values do not fit the limit that the topology sets."""
    for island, found in zip(topology.islands, islands, strict=True):
        if island.memory is not None and found.peak_bytes > island.memory:
            limit = amount_text(island.memory, MEMORY)
            what = f"a device of island {island.name} has {limit} and needs at least {_bytes_text(found.peak_bytes)}"
            remedy = "cut into more stages, or give the island more devices and shardings over them"
            raise PlanError(what, caller(), remedy)


def _links(topology: Topology, transfers: tuple[TransferReport, ...]) -> Iterator[LinkReport]:
    """The links that are used, each direction by itself."""
    total: Counter[tuple[str, str]] = Counter()
    for one in transfers:
        total[one.source, one.target] += one.bytes
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
    for number, (argument, marks) in enumerate(zip(arguments_of(main), argument_attributes(main), strict=True)):
        islands = [island_of(value.type) for value in _copies(argument)]
        if len(islands) > 1:
            why = "where its new value is made" if maker_of.get(number) == islands[0] else "where it is used first"
            size = bytes_of(local_type(argument.type))
            yield SharedArgument(text_attribute(marks, PATH) or "", islands[0], tuple(islands), size, why)


def _copies(value: ir.Value[ir.Type]) -> list[ir.Value[ir.Type]]:
    """A value, and what transfers make of it."""
    found = [value]
    for one in found:  # grows
        owners = [use.owner for use in one.uses]
        found += [owner.result for owner in owners if isinstance(owner, mpmd.TransferOp)]
    return found


def _transfer(transfer: mpmd.TransferOp) -> TransferReport:
    source, target = transfer.operation.operands[0].type, transfer.operation.results[0].type
    where = place(transfer.location) or str(transfer.location).removeprefix("loc(").removesuffix(")").strip('"')
    return TransferReport(island_of(source), island_of(target), bytes_of(local_type(source)), where)


def _bytes_text(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def _count_text(count: int) -> str:
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)
