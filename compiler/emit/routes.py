"""How each value of a program crosses between islands, and the tasks that divide it differently on the way."""

from typing import NamedTuple

from atoll.compiler.emit.codes import Codes
from atoll.compiler.emit.resharding import Crossing, End, crossing
from atoll.compiler.emit.stream import Reshard, buffer_of_type
from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.functions import arguments_of, body_of
from atoll.compiler.mlir.ir_text import to_bytecode
from atoll.compiler.mlir.memory_kinds import DEVICE, HOST, annotate
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.memories import Memories
from atoll.compiler.module.mesh_types import island_of, local_type, spec_of_type
from atoll.compiler.module.shardings import Spec
from atoll.compiler.task_name import RESHARD, TaskName
from atoll.compiler.topology.topology import Topology
from atoll.runtime.program import Buffer, Code

_Value = ir.Value[ir.Type]


class Route(NamedTuple):
    """How a value crosses. arrives: the buffer that receives it; sent, received: a task of its sender or receiver."""

    sent: Reshard | None
    arrives: Buffer
    received: Reshard | None

    def of(self, microbatch: int, loop: int | None) -> "Route":
        """The same route for a microbatch of a loop. loop: its number, as task names have it."""
        sent, received = (
            one and one._replace(task=one.task._replace(microbatch=microbatch, loop=loop))
            for one in (self.sent, self.received)
        )
        return Route(sent, self.arrives, received)


class Routes:
    """The routes of a module's values, and the codes of their tasks."""

    def __init__(self, topology: Topology, codes: Codes, memories: Memories) -> None:
        self._topology = topology
        self._memories = memories
        self._codes = codes
        self._found: dict[tuple[_Value, _Value], Route] = {}
        self._tasks: dict[tuple[_Value, Buffer], TaskName] = {}

    def route(self, source: _Value, target: _Value) -> Route:
        """How a value gets to the island on which it is `target`, another value of the IR."""
        key = source, target
        if key not in self._found:
            crosses = crossing_of(source.type, target.type, self._topology)
            leaves, comes = (self._buffer(one, spec_of_type(one.type)) for one in key)
            sent, arrives = self._buffer(source, crosses.sent), self._buffer(target, crosses.received)
            self._found[key] = Route(
                self._reshard(source, leaves, sent, sent), arrives, self._reshard(target, arrives, comes, arrives)
            )
        return self._found[key]

    def _buffer(self, value: _Value, spec: Spec) -> Buffer:
        """A value in some division. The host's memory has it only in its own, as chips divide it differently."""
        on_host = spec == spec_of_type(value.type) and self._memories.is_on_host(value)
        return buffer_of_type(local_type(value.type), spec, on_host)

    def _reshard(self, value: _Value, before: Buffer, after: Buffer, crosses: Buffer) -> Reshard | None:
        """The task of one island, if the value has to change there. One value in one division has one task name."""
        if before == after:
            return None
        task = self._tasks.setdefault((value, crosses), TaskName(RESHARD, len(self._tasks)))
        element = str(ir.RankedTensorType(local_type(value.type)).element_type)
        return Reshard(task, self._codes.number(reshard_code, before, after, element), after)


def crossing_of(source: ir.Type, target: ir.Type, topology: Topology) -> Crossing:
    """How a value of one type gets to the island of the other."""
    axes = {island.name: tuple((axis.name, axis.size) for axis in island.axes) for island in topology.islands}
    sender, receiver = (End(axes[island_of(one)], spec_of_type(one)) for one in (source, target))
    return crossing(sender, receiver, tuple(ir.RankedTensorType(local_type(source)).shape))


def _move(function: func.FuncOp, kind: str) -> None:
    """Let the identity put what it is given into another memory."""
    (value,), (returning,) = arguments_of(function), body_of(function).operations
    with ir.InsertionPoint(returning):
        returning.operation.operands[0] = annotate(value, kind, function.location)


def reshard_code(before: Buffer, after: Buffer, element: str, context: ir.Context) -> Code:
    """The identity. The shardings of its input and its result differ, and XLA makes the one into the other."""
    assert before.shape == after.shape
    type_ = f"tensor<{''.join(f'{size}x' for size in before.shape)}{element}>"
    text = f"func.func public @main(%value: {type_}) -> {type_} {{ return %value : {type_} }}"
    module = ir.Module.parse(text, context)
    if before.on_host != after.on_host:
        _move(entry_function(module), HOST if after.on_host else DEVICE)
    return Code("reshard", to_bytecode(module), (after,))
