"""What replicas exchange, read from phase `scheduled`: the sums that one task completes, and how they cross."""

from collections import Counter
from dataclasses import dataclass

from atoll.compiler.entry import entry_function, text_attribute
from atoll.compiler.exchange import Speed, Summand, Unit, seconds, slowest, units_of
from atoll.compiler.exchange_code import Array
from atoll.compiler.functions import body_of, operations_in
from atoll.compiler.mesh_types import island_of, local_type, spec_of_type
from atoll.compiler.mlir import ir, mpmd
from atoll.compiler.plan_marks import topology_of
from atoll.compiler.replicas import replicas_of, twins_of
from atoll.compiler.stream import buffer_of_type
from atoll.compiler.tasks import EXCHANGE, dataflow_functions, exchanges_in, microbatch_name, task_name
from atoll.compiler.topology import Topology

_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class Sum:
    """result: of the loop, for one replica; total: what it is when all have exchanged it."""

    result: _Value
    total: _Value
    kind: str

    @property
    def array(self) -> Array:
        tensor = ir.RankedTensorType(local_type(self.total.type))
        return Array(buffer_of_type(tensor, spec_of_type(self.total.type)), str(tensor.element_type))

    @property
    def summand(self) -> Summand:
        buffer = self.array.buffer
        return Summand(buffer.shape, buffer.dtype, buffer.itemsize, self.kind, tuple(map(bool, buffer.spec)))


@dataclass(frozen=True)
class Bundle:
    """The sums of an island that are complete when a task of a loop has run for the last time.

    island: that of the first replica, as the IR has it. task: None if no task of the loop makes them.
    """

    island: str
    task: str | None
    sums: tuple[Sum, ...]
    units: tuple[Unit, ...]


def bundles_of(module: ir.Module) -> list[list[Bundle]]:
    """For each loop over microbatches what replicas exchange of it."""
    replicas, topology = replicas_of(module), topology_of(module)
    main, functions = entry_function(module), dataflow_functions(module)
    totals = {one.operation.operands[0]: one for one in exchanges_in(main)}
    twins = twins_of(topology, replicas)
    found: list[list[Bundle]] = []
    for loop in operations_in(main, mpmd.ForOp):
        *_, returning = body_of(functions[microbatch_name(loop)]).operations
        groups: dict[tuple[str, str | None], list[Sum]] = {}
        for result, yielded in zip(loop.operation.results, returning.operation.operands, strict=True):
            if result not in totals:
                continue
            exchange = totals[result]
            kind = text_attribute(exchange.operation.attributes, EXCHANGE) or ""
            maker = yielded.owner
            task = task_name(maker) if isinstance(maker, mpmd.FragmentCallOp) else None
            groups.setdefault((island_of(result.type), task), []).append(Sum(result, exchange.result, kind))
        found.append(
            [
                Bundle(island, task, tuple(sums), _units(sums, twins[island], topology))
                for (island, task), sums in groups.items()
            ]
        )
    return found


def _units(sums: list[Sum], twins: tuple[str, ...], topology: Topology) -> tuple[Unit, ...]:
    return tuple(units_of([one.summand for one in sums], len(twins), speed_between(twins, topology)))


@dataclass(frozen=True)
class Exchange:
    """What an island exchanges behind a task.

    task: None if it is there from the start; seconds: how long the exchange takes.
    """

    island: str
    task: str | None
    seconds: float


def exchanges_of(module: ir.Module) -> tuple[Exchange, ...]:
    """What the islands of the first replica exchange, bundle by bundle."""
    topology = topology_of(module)
    twins = twins_of(topology, replicas_of(module))
    found = []
    for bundle in (one for bundles in bundles_of(module) for one in bundles):
        names = twins[bundle.island]
        speed = speed_between(names, topology)
        sizes: Counter[str] = Counter()
        for unit in bundle.units:  # those of one form follow each other without a pause
            sizes[unit.form] += unit.bytes
        takes = sum(seconds(form, size, len(names), speed) for form, size in sizes.items())
        found.append(Exchange(bundle.island, bundle.task, takes))
    return tuple(found)


def speed_between(twins: tuple[str, ...], topology: Topology) -> Speed:
    """Of the slowest link between islands that exchange something."""
    links = [topology.link(one, other) for one in twins for other in twins if one < other]
    return slowest((float(link.bandwidth), link.latency * 1e-9) for link in links)
