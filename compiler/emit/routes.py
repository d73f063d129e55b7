"""How each value of a program crosses between islands, and the tasks that divide it otherwise for that."""

from typing import NamedTuple

from atoll.compiler.emit.codes import Codes
from atoll.compiler.emit.resharding import Crossing, End, crossing
from atoll.compiler.emit.stream import Reshard, buffer_of_type
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import to_bytecode
from atoll.compiler.module.mesh_types import island_of, local_type, spec_of_type
from atoll.compiler.task_name import RESHARD, TaskName
from atoll.compiler.topology.topology import Topology
from atoll.runtime.program import Buffer, Code

_Value = ir.Value[ir.Type]


class Route(NamedTuple):
    """How a value crosses. arrives: the buffer that receives it; sent, received: the tasks of either island, if any."""

    sent: Reshard | None
    arrives: Buffer
    received: Reshard | None

    def of(self, microbatch: int, loop: int | None) -> "Route":
        """The same in a loop, by the number that it has in names."""
        sent, received = (
            one and one._replace(task=one.task._replace(microbatch=microbatch, loop=loop))
            for one in (self.sent, self.received)
        )
        return Route(sent, self.arrives, received)


class Routes:
    """The routes of a module's values, and the codes of their tasks."""

    def __init__(self, topology: Topology, codes: Codes) -> None:
        self._topology = topology
        self._codes = codes
        self._found: dict[tuple[_Value, _Value], Route] = {}
        self._tasks: dict[tuple[_Value, Buffer], TaskName] = {}

    def route(self, source: _Value, target: _Value) -> Route:
        """How a value goes to the island where it is another value of the IR."""
        key = source, target
        if key not in self._found:
            crosses = crossing_of(source.type, target.type, self._topology)
            leaves, comes = (_buffer(one, spec_of_type(one.type)) for one in key)
            sent, arrives = _buffer(source, crosses.sent), _buffer(target, crosses.received)
            self._found[key] = Route(
                self._reshard(source, leaves, sent, sent), arrives, self._reshard(target, arrives, comes, arrives)
            )
        return self._found[key]

    def _reshard(self, value: _Value, before: Buffer, after: Buffer, crosses: Buffer) -> Reshard | None:
        """The task of one island; those for one value in one division have one name."""
        if before == after:
            return None
        task = self._tasks.setdefault((value, crosses), TaskName(RESHARD, len(self._tasks)))
        element = str(ir.RankedTensorType(local_type(value.type)).element_type)
        return Reshard(task, self._codes.number(reshard_code, before, after, element), after)


def crossing_of(source: ir.Type, target: ir.Type, topology: Topology) -> Crossing:
    """How a value of one type goes to the island of the other."""
    axes = {island.name: tuple((axis.name, axis.size) for axis in island.axes) for island in topology.islands}
    sender, receiver = (End(axes[island_of(one)], spec_of_type(one)) for one in (source, target))
    return crossing(sender, receiver, tuple(ir.RankedTensorType(local_type(source)).shape))


def reshard_code(before: Buffer, after: Buffer, element: str, context: ir.Context) -> Code:
    """A value -> the same in another division: what the buffers say, XLA does."""
    assert before.shape == after.shape
    type_ = f"tensor<{''.join(f'{size}x' for size in before.shape)}{element}>"
    text = f"func.func public @main(%value: {type_}) -> {type_} {{ return %value : {type_} }}"
    return Code("reshard", to_bytecode(ir.Module.parse(text, context)), (after,))


def _buffer(value: _Value, spec: tuple[tuple[str, ...], ...]) -> Buffer:
    return buffer_of_type(local_type(value.type), spec)
