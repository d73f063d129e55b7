"""What replicas exchange, read from phase `scheduled`: what one task completes, and how it crosses."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.emit.exchange_code import ExchangedArray, Shared
from atoll.compiler.emit.stream import buffer_of_type
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import body_of, operations_in
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.mesh_types import island_of, local_type, spec_of_type
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.replicas import replicas_of, twins_of
from atoll.compiler.module.tasks import (
    GATHER,
    OWN_SHARE,
    dataflow_functions,
    exchange_kind,
    exchange_share,
    exchanges_in,
    is_exchange,
    microbatch_call,
    microbatch_name,
    task_name,
)
from atoll.compiler.replicas.exchange import Summand, Unit, seconds, seconds_at_once, units_of
from atoll.compiler.replicas.speed import speed_between
from atoll.compiler.task_name import TaskName
from atoll.compiler.topology.topology import Topology

_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class Member:
    """A value that is exchanged.

    given: what each replica has; made: what each has then; kind: how the one becomes the other.
    share: the dimension along which one of the two is a share of the other; None if both are whole.
    """

    given: _Value
    made: _Value
    kind: str
    share: int | None

    @property
    def whole(self) -> ExchangedArray:
        return _array(self.made if self.kind == GATHER else self.given)

    @property
    def shared(self) -> Shared:
        """What it is if one of the two is a share."""
        assert self.share is not None
        return Shared(self.whole, _array(self.given if self.kind == GATHER else self.made), self.share)

    def summand(self, axes: Mapping[str, int]) -> Summand:
        """The numbers that decide how it crosses. axes: the sizes of those of its island."""
        buffer = self.whole.buffer
        arrays = [self.whole, *([] if self.share is None else [self.shared.share])]
        return Summand(
            shape=buffer.shape,
            dtype=buffer.dtype,
            itemsize=buffer.itemsize,
            kind=self.kind,
            parts=tuple(map(max, zip(*(one.parts(axes) for one in arrays), strict=True))),
            share=self.share,
        )


def _array(value: _Value) -> ExchangedArray:
    tensor = ir.RankedTensorType(local_type(value.type))
    return ExchangedArray(buffer_of_type(tensor, spec_of_type(value.type)), str(tensor.element_type))


@dataclass(frozen=True)
class Bundle:
    """What an island exchanges from one point on: all that a task has made, when it has run for the last time.

    island: that of the first replica, as the IR has it.
    task: None if no task makes it: an argument, a sum to which no task adds, or what another exchange makes.
    in_loop: whether it is what a loop over microbatches has summed up.
    begin: the exchange begins after the operation of `@main` that makes this value.
    """

    island: str
    task: TaskName | None
    in_loop: bool
    begin: _Value
    members: tuple[Member, ...]
    units: tuple[Unit, ...]

    @property
    def task_text(self) -> str | None:
        return None if self.task is None else str(self.task)


# What is exchanged together: the island, and what makes it.
_Key = tuple[object, ...]


def bundles_of(module: ir.Module) -> list[Bundle]:
    """What replicas exchange, except for results that nothing takes."""
    replicas, topology = replicas_of(module), topology_of(module)
    main, functions = entry_function(module), dataflow_functions(module)
    sums = _makers_of_sums(main, functions)
    takers = _first_takers(main)
    keys: dict[_Value, _Key] = {}
    groups: dict[_Key, list[Member]] = {}
    for number, exchange in enumerate(exchanges_in(main)):
        given, made = exchange.operation.operands[0], exchange.operation.results[0]
        if made not in takers:
            continue
        member = Member(given, made, exchange_kind(exchange), exchange_share(exchange))
        island, maker = island_of(given.type), given.owner
        # What is complete at the same moment crosses together, in fewer messages. So a bundle is an island and what
        # completes the value there.
        if member.kind == OWN_SHARE:  # nothing crosses, so what one task needs is cut only when that task runs
            key: _Key = (island, OWN_SHARE, takers[made])
        elif given in sums:
            key = (island, *sums[given])
        elif isinstance(maker, mpmd.FragmentCallOp):
            key = (island, task_name(maker))
        elif given in keys:  # what another exchange makes
            key = (island, keys[given])
        else:
            key = (island, None if isinstance(given, ir.BlockArgument) else number)
        keys[made] = key
        groups.setdefault(key, []).append(member)
    twins = twins_of(topology, replicas)
    return [_bundle(members, sums, twins, topology) for members in groups.values()]


def _bundle(
    members: Sequence[Member],
    sums: Mapping[_Value, tuple[int, TaskName | None]],
    twins: Mapping[str, tuple[str, ...]],
    topology: Topology,
) -> Bundle:
    first, names = members[0], twins[island_of(members[0].given.type)]
    axes = {axis.name: axis.size for island in topology.islands if island.name == names[0] for axis in island.axes}
    units = units_of([one.summand(axes) for one in members], len(names), speed_between(names, topology))
    task, is_sum, begin = None, first.given in sums, first.made
    maker = first.given.owner
    if is_sum:
        (_, task), begin = sums[first.given], first.given
    elif isinstance(maker, mpmd.FragmentCallOp) and first.kind != OWN_SHARE:
        task, begin = task_name(maker), first.given
    return Bundle(island=names[0], task=task, in_loop=is_sum, begin=begin, members=tuple(members), units=tuple(units))


def _makers_of_sums(
    main: func.FuncOp, functions: Mapping[str, func.FuncOp]
) -> dict[_Value, tuple[int, TaskName | None]]:
    """For each result of a loop the number of the loop, and the task of it that makes the result."""
    found: dict[_Value, tuple[int, TaskName | None]] = {}
    for number, loop in enumerate(operations_in(main, mpmd.ForOp)):
        *_, returning = body_of(functions[microbatch_name(loop)]).operations
        for result, yielded in zip(loop.operation.results, returning.operation.operands, strict=True):
            maker = yielded.owner
            found[result] = number, task_name(maker) if isinstance(maker, mpmd.FragmentCallOp) else None
    return found


def _first_takers(main: func.FuncOp) -> dict[_Value, int]:
    """For each value that anything in `@main` takes, the number of the operation that does so first.

    An exchange whose result nothing takes counts as taking nothing.
    """
    found: dict[_Value, int] = {}
    # Backwards, so that an earlier taker replaces a later one, and it is known of an exchange whether it has takers.
    for number, operation in reversed(list(enumerate(body_of(main).operations))):
        if is_exchange(operation) and operation.operation.results[0] not in found:
            continue
        taken = list(operation.operation.operands)
        if isinstance(operation, mpmd.ForOp):
            taken += list(microbatch_call(operation).operation.operands)
        found.update(dict.fromkeys(taken, number))
    return found


@dataclass(frozen=True)
class ExchangeCost:
    """What an island exchanges after a task.

    task: None if it is there from the start; seconds: how long the exchange takes.
    late: the part of them that begins only where something takes what is exchanged, after the loop.
    in_loop: whether a loop sums it up; otherwise it is exchanged among the tasks before, between or after the loops.
    """

    island: str
    task: str | None
    seconds: float
    in_loop: bool = True
    late: float = 0.0


def exchanges_of(module: ir.Module) -> tuple[ExchangeCost, ...]:
    """What the islands of the first replica exchange, bundle by bundle."""
    costs = (exchange_cost(module, bundle) for bundle in bundles_of(module))
    return tuple(cost for cost in costs if cost is not None)


def exchange_cost(module: ir.Module, bundle: Bundle) -> ExchangeCost | None:
    """What the exchange of a bundle takes; None if nothing crosses."""
    topology = topology_of(module)
    names = twins_of(topology, replicas_of(module))[bundle.island]
    speed = speed_between(names, topology)
    sizes: Counter[str] = Counter()
    late = 0.0
    for unit in bundle.units:
        sizes[unit.form] += unit.bytes
        at_once = seconds_at_once(unit.form, unit.bytes, len(names), speed)
        late += seconds(unit.form, unit.bytes, len(names), speed) - at_once
    if sizes.keys() == {OWN_SHARE}:
        return None
    # What is sent at once follows without a pause on others of its form; the rest comes unit by unit.
    begun = sum(seconds_at_once(form, size, len(names), speed) for form, size in sizes.items())
    return ExchangeCost(bundle.island, bundle.task_text, begun + late, bundle.in_loop, late)
