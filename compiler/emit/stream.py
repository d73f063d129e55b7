"""The instruction stream of one island, as it grows while a program is emitted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from atoll.compiler.export.signature import dtype_of
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.memories import Memories
from atoll.compiler.module.mesh_types import local_type, spec_of_type
from atoll.compiler.module.shardings import Spec
from atoll.compiler.task_name import TaskName
from atoll.runtime.program import Buffer, Count, Free, Instruction, Receive, Run, Send

_Value = ir.Value[ir.Type]

# In place of the number of a microbatch, for a value that is the same for all of them.
ALL = -1
# A value of the IR, and the microbatch that it is of.
Name = tuple[_Value, int]


def buffer_of_type(tensor: ir.Type, spec: Spec, on_host: bool = False) -> Buffer:
    ranked = ir.RankedTensorType(tensor)
    return Buffer(tuple(ranked.shape), dtype_of(ranked.element_type), spec, on_host)


class Reshard(NamedTuple):
    """A task that divides a value differently. buffer: what it makes of the value."""

    task: TaskName
    code: int
    buffer: Buffer


class Expected(NamedTuple):
    """What will come from an island. reshard: the task that divides it as it is needed here, if it comes otherwise."""

    source: str
    tag: int
    arrives: Buffer
    reshard: Reshard | None


@dataclass
class Stream:
    """What an island does in a step, in order, and which buffer has which value."""

    name: str
    memories: Memories
    buffers: list[Buffer] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    numbers: dict[Name, int] = field(default_factory=dict)
    expected: dict[Name, Expected] = field(default_factory=dict)  # sent to here, not yet received
    # What makes values that nothing has asked for yet: run when one is asked for, which is as late as possible.
    pending: dict[Name, Callable[[], None]] = field(default_factory=dict)
    resharded: dict[tuple[int, Buffer], int] = field(default_factory=dict)  # of a buffer, in another division
    tags: int = 0

    def define(self, name: Name) -> int:
        """A new buffer for a value that the island has from here on."""
        value, _ = name
        on_host = self.memories.is_on_host(value)
        self.numbers[name] = self._new(buffer_of_type(local_type(value.type), spec_of_type(value.type), on_host))
        return self.numbers[name]

    def buffer_of(self, name: Name) -> int:
        """The buffer of a value, which is received or made first if it has not been yet."""
        if name in self.pending:
            self.pending[name]()
        if name in self.expected:
            source, tag, arrives, reshard = self.expected.pop(name)
            number = self.receive(arrives, source, tag)
            self.numbers[name] = number if reshard is None else self._reshard(number, reshard)
        return self.numbers[name]

    def count(self, name: Name) -> int:
        """The buffer with the number of a microbatch."""
        if name not in self.numbers:
            self.instructions.append(Count(self.define(name), name[1]))
        return self.numbers[name]

    def run(self, task: str, code: int, inputs: Sequence[int], outputs: Sequence[Name]) -> None:
        self.instructions.append(Run(task, code, tuple(inputs), tuple(map(self.define, outputs))))

    def run_on(self, task: str, code: int, inputs: Sequence[int], outputs: Sequence[Buffer]) -> list[int]:
        """Run a task whose results are not values of the IR; returns the numbers of their buffers."""
        made = [self._new(one) for one in outputs]
        self.instructions.append(Run(task, code, tuple(inputs), tuple(made)))
        return made

    def receive(self, buffer: Buffer, source: str, tag: int) -> int:
        """Receive what is not a value of the IR."""
        number = self._new(buffer)
        self.instructions.append(Receive(number, source, tag))
        return number

    def _new(self, buffer: Buffer) -> int:
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def new_tag(self) -> int:
        """A tag that no other send from here has."""
        self.tags += 1
        return self.tags - 1

    def send(self, name: Name, target: str, tag: int, reshard: Reshard | None = None) -> None:
        """Send a value, in another division if asked for."""
        number = self.buffer_of(name)
        self.send_buffer(number if reshard is None else self._reshard(number, reshard), target, tag)

    def _reshard(self, number: int, reshard: Reshard) -> int:
        """A buffer in another division; made once, as several islands may get the value in that division."""
        key = number, reshard.buffer
        if key not in self.resharded:
            (self.resharded[key],) = self.run_on(str(reshard.task), reshard.code, [number], [reshard.buffer])
        return self.resharded[key]

    def send_buffer(self, number: int, target: str, tag: int) -> None:
        self.instructions.append(Send(number, target, tag))

    def expect(self, name: Name, expected: Expected) -> None:
        self.expected[name] = expected

    def finished(self, results: set[tuple[str, int]], donated: set[tuple[str, int]]) -> tuple[Instruction, ...]:
        """The stream with every buffer given up at its last use: donated to the task if it can take it, else freed."""
        kept = {buffer for name, buffer in results if name == self.name}
        last = {buffer: number for number, one in enumerate(self.instructions) for buffer in _used(one)}
        ending = []
        for number, one in enumerate(self.instructions):
            used_last = [buffer for buffer in _used(one) if last[buffer] == number]
            never_used = [buffer for buffer in _made(one) if buffer not in last]
            ending.append([buffer for buffer in (*used_last, *never_used) if buffer not in kept])
        positions = self._donated_positions(ending, donated)
        stream: list[Instruction] = []
        for one, ends in zip(self.instructions, ending, strict=True):
            taken: tuple[int, ...] = ()
            if isinstance(one, Run):
                taken = tuple(one.inputs[position] for position in positions[one.code])
                one = Run(one.task, one.code, one.inputs, one.outputs, taken)
            stream.append(one)
            freed = tuple(buffer for buffer in dict.fromkeys(ends) if buffer not in taken)
            if freed:
                stream.append(Free(freed))
        return tuple(stream)

    def _donated_positions(
        self, ending: Sequence[Sequence[int]], donated: set[tuple[str, int]]
    ) -> dict[int, tuple[int, ...]]:
        """For each code, the inputs that are donated: the same for all tasks that run it, as it is compiled once."""
        arguments = set(range(len(self.buffers))) - {buffer for one in self.instructions for buffer in _made(one)}
        counters = {one.buffer for one in self.instructions if isinstance(one, Count)}  # every step takes the same
        lent = counters | {buffer for buffer in arguments if (self.name, buffer) not in donated}
        runs: dict[int, Run] = {}
        free: dict[int, set[int]] = {}
        for one, ends in zip(self.instructions, ending, strict=True):
            if isinstance(one, Run):
                # XLA refuses a call that donates a buffer and takes it by another input as well.
                own = {buffer for buffer in ends if buffer not in lent and one.inputs.count(buffer) == 1}
                here = {position for position, buffer in enumerate(one.inputs) if buffer in own}
                runs.setdefault(one.code, one)
                free.setdefault(one.code, here).intersection_update(here)
        return {code: self._reused(sorted(free[code]), run) for code, run in runs.items()}

    def _reused(self, free: Sequence[int], run: Run) -> tuple[int, ...]:
        """The free positions whose memory an output can take over; each output takes over that of one input."""
        wanted = [self.buffers[output] for output in run.outputs]
        taken = []
        for position in free:
            buffer = self.buffers[run.inputs[position]]
            if buffer in wanted:
                wanted.remove(buffer)
                taken.append(position)
        return tuple(taken)


# The streams of one replica, by the names of its islands in the IR: those of the first replica.
ReplicaStreams = Mapping[str, Stream]


def _used(one: Instruction) -> tuple[int, ...]:
    match one:
        case Run():
            return one.inputs
        case Send():
            return (one.buffer,)
        case _:
            return ()


def _made(one: Instruction) -> tuple[int, ...]:
    match one:
        case Run():
            return one.outputs
        case Receive() | Count():
            return (one.buffer,)
        case _:
            return ()
