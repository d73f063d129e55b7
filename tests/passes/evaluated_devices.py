"""Runs `shard_map` by numpy: a thread for each device, which does what that device does and meets the others where they
exchange what they have."""

import itertools
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy
from atoll.compiler.mlir.bindings import ir, sdy
from atoll.compiler.module.shardings import name_of_mesh, spec_of
from evaluated_reading import UnknownError, shape_of, whole

Array = numpy.ndarray
Axes = dict[str, int]

_HERE = threading.local()
_GROUPS = re.compile(r'axis_ref<name = "([^"]*)">')


@dataclass
class _Meeting:
    """Where the devices of a mesh exchange what they have."""

    axes: Axes
    barrier: threading.Barrier
    brought: dict[int, Array] = field(default_factory=dict)

    def all_of(self, own: Array) -> dict[int, Array]:
        """What every device has brought."""
        self.brought[_HERE.device] = own
        self.barrier.wait()
        found = dict(self.brought)
        self.barrier.wait()  # nobody brings the next before everybody has looked
        return found


def manual(operation: ir.Operation) -> Callable[[Callable[..., list[Array]], list[Array]], list[Array]]:
    """A function of what one device does with its parts, and of the whole operands."""
    ins, outs = (list(sdy.TensorShardingPerValueAttr(operation.attributes[name]).shardings) for name in _SHARDINGS)
    axes = _mesh(operation, name_of_mesh((ins + outs)[0]))
    named = re.findall(r'"([^"]*)"', str(operation.attributes["manual_axes"]))
    if set(named) != set(axes):
        raise UnknownError("a shard_map over some axes")
    block = operation.regions[0].blocks[0]
    taken = [_Places(axes, spec_of(one), shape_of(value)) for one, value in zip(ins, block.arguments, strict=True)]
    returned = block.operations[-1].operation.operands
    given = [_Places(axes, spec_of(one), shape_of(value)) for one, value in zip(outs, returned, strict=True)]
    shapes = [(shape_of(one), one.type) for one in operation.results]

    def run(part: Callable[..., list[Array]], operands: list[Array]) -> list[Array]:
        count = len(list(_devices(axes)))
        meeting = _Meeting(axes, threading.Barrier(count))

        def on(device: int) -> list[Array]:
            _HERE.device, _HERE.meeting = device, meeting
            try:
                with numpy.errstate(all="ignore"):  # each thread has its own
                    return part([one[place.of(device)] for place, one in zip(taken, operands, strict=True)])
            except BaseException:
                meeting.barrier.abort()
                raise

        with ThreadPoolExecutor(count) as devices:
            parts = [devices.submit(on, device) for device in range(count)]
        # By the devices' order; but what one fails of comes before that the others then meet nobody.
        found = [one.result() for one in sorted(parts, key=_meets_nobody)]
        results = [numpy.empty(shape, one.dtype) for (shape, _), one in zip(shapes, found[0], strict=True)]
        # Of devices that have the same part the first one's counts, as it does for XLA.
        for device in reversed(range(count)):
            for result, place, one in zip(results, given, found[device], strict=True):
                result[place.of(device)] = one
        return results

    return run


def _meets_nobody(part: Future[list[Array]]) -> bool:
    return isinstance(part.exception(), threading.BrokenBarrierError)


_SHARDINGS = ("in_shardings", "out_shardings")


def _mesh(operation: ir.Operation, name: str) -> Axes:
    around = operation
    while around.parent is not None:
        around = around.parent
    for one in around.regions[0].blocks[0].operations:
        if isinstance(one, sdy.MeshOp) and ir.StringAttr(one.attributes["sym_name"]).value == name:
            axes = map(sdy.MeshAxisAttr, sdy.MeshAttr(one.attributes["mesh"]).axes)
            return {axis.name: axis.size for axis in axes}
    raise UnknownError(f"the mesh {name}")


def _devices(axes: Axes) -> Sequence[tuple[int, ...]]:
    """For each device where it is along each axis."""
    return list(itertools.product(*(range(size) for size in axes.values())))


@dataclass(frozen=True)
class _Places:
    """Which part of a value each device has."""

    axes: Axes
    spec: Sequence[Sequence[str]]
    part: tuple[int, ...]

    def of(self, device: int) -> tuple[slice, ...]:
        at = dict(zip(self.axes, _devices(self.axes)[device], strict=True))
        slices = []
        for names, size in zip(self.spec, self.part, strict=True):
            number = 0
            for name in names:
                number = number * self.axes[name] + at[name]
            slices.append(slice(number * size, (number + 1) * size))
        return tuple(slices)


def _group(operation: ir.Operation) -> Callable[[], list[int]]:
    """The devices that take part with this one, in order."""
    text = operation.attributes["replica_groups"]
    if isinstance(text, ir.DenseIntElementsAttr):
        rows = numpy.asarray(text).tolist()
        return lambda: next(row for row in rows if _HERE.device in row)
    along = _GROUPS.findall(str(text))

    def found() -> list[int]:
        axes, places = list(_HERE.meeting.axes), _devices(_HERE.meeting.axes)
        own = places[_HERE.device]
        beside = [n for n, at in enumerate(places) if all(a in along or at[i] == own[i] for i, a in enumerate(axes))]
        return sorted(beside, key=lambda n: [places[n][axes.index(name)] for name in along])

    return found


Exchange = Callable[[list[Array], Callable[..., list[Array]] | None], list[Array]]


def _reduced(operation: ir.Operation) -> Exchange:
    group = _group(operation)

    def run(operands: list[Array], combine: Callable[..., list[Array]] | None) -> list[Array]:
        return [_combined(_HERE.meeting.all_of(one), group(), combine) for one in operands]

    return run


def _combined(found: dict[int, Array], group: Sequence[int], combine: Callable[..., list[Array]] | None) -> Array:
    assert combine is not None
    total = found[group[0]]
    for device in group[1:]:
        (total,) = combine([total, found[device]])
    return total


def _scattered(operation: ir.Operation) -> Exchange:
    group, dimension = _group(operation), whole(operation, "scatter_dimension")

    def run(operands: list[Array], combine: Callable[..., list[Array]] | None) -> list[Array]:
        (own,), members = operands, group()
        total = _combined(_HERE.meeting.all_of(own), members, combine)
        return [numpy.split(total, len(members), dimension)[members.index(_HERE.device)]]

    return run


def _gathered(operation: ir.Operation) -> Exchange:
    group, dimension = _group(operation), whole(operation, "all_gather_dim")

    def run(operands: list[Array], _: Callable[..., list[Array]] | None) -> list[Array]:
        found = [_HERE.meeting.all_of(one) for one in operands]
        return [numpy.concatenate([one[device] for device in group()], dimension) for one in found]

    return run


def _exchanged(operation: ir.Operation) -> Exchange:
    group, count = _group(operation), whole(operation, "split_count")
    cut, joined = whole(operation, "split_dimension"), whole(operation, "concat_dimension")

    def run(operands: list[Array], _: Callable[..., list[Array]] | None) -> list[Array]:
        found, members = [_HERE.meeting.all_of(one) for one in operands], group()
        own = members.index(_HERE.device)
        return [
            numpy.concatenate([numpy.split(one[device], count, cut)[own] for device in members], joined)
            for one in found
        ]

    return run


def _permuted(operation: ir.Operation) -> Exchange:
    pairs = numpy.asarray(ir.DenseIntElementsAttr(operation.attributes["source_target_pairs"])).tolist()
    sources = {target: source for source, target in pairs}

    def run(operands: list[Array], _: Callable[..., list[Array]] | None) -> list[Array]:
        found = [_HERE.meeting.all_of(one) for one in operands]
        source = sources.get(_HERE.device)
        return [numpy.zeros_like(one[_HERE.device]) if source is None else one[source] for one in found]

    return run


def _number(_: ir.Operation) -> Exchange:
    return lambda _operands, _combine: [numpy.array(_HERE.device, "uint32")]


EXCHANGES: dict[str, Callable[[ir.Operation], Exchange]] = {
    "stablehlo.all_gather": _gathered,
    "stablehlo.all_reduce": _reduced,
    "stablehlo.all_to_all": _exchanged,
    "stablehlo.collective_permute": _permuted,
    "stablehlo.partition_id": _number,
    "stablehlo.reduce_scatter": _scattered,
}
