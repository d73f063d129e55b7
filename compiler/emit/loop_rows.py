"""What each island of a replica does in a loop over microbatches: the tasks of its row, and what these send."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from atoll.compiler.emit.exchange_streams import ExchangeWriter
from atoll.compiler.emit.loop_body import LoopBody
from atoll.compiler.emit.stream import ALL, Name, ReplicaStreams, Reshard, Stream
from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.module.mesh_types import island_of
from atoll.compiler.module.tasks import code_name
from atoll.compiler.task_name import TaskName

_Value = ir.Value[ir.Type]


class Leaving(NamedTuple):
    """How a value is sent: with which tag, and in another division if there is a task for that."""

    tag: int
    reshard: Reshard | None


@dataclass(kw_only=True)
class LoopRow:
    """What one island of a replica does in a loop.

    streams: those of the replica.
    leaving: how each value that the loop sends leaves, by the name that it comes with.
    codes: the number of the code of each fragment.
    begins: for each task the exchanges that begin when it has run for the last time.
    """

    island: str
    streams: ReplicaStreams
    replica: int
    body: LoopBody
    leaving: Mapping[Name, Leaving]
    codes: Mapping[str, int]
    begins: Mapping[TaskName | None, Sequence[ExchangeWriter]]
    _sent: set[Name] = field(default_factory=set)

    @property
    def stream(self) -> Stream:
        return self.streams[self.island]

    @property
    def first(self) -> int:
        """The number of the replica's first microbatch."""
        return self.replica * self.body.microbatches

    def follow(self) -> None:
        stream, body = self.stream, self.body
        for parameter, begin in body.sums.items():
            if island_of(parameter.type) == self.island:
                stream.numbers[parameter, ALL] = stream.buffer_of((begin, ALL))
        self._send_ahead()
        row = body.order.get(self.island, ())
        last = {task.task: position for position, task in enumerate(row)}
        for position, task in enumerate(row):
            self._run(body.calls[task.task], self.first + task.microbatch, str(task))
            if last[task.task] == position:
                self._end_sums(task.task)
        self._end_sums(None)
        for result, ending in body.results.items():
            if island_of(result.type) == self.island and ending.sum is None:
                for microbatch in self._microbatches:
                    stream.numbers[result, microbatch] = stream.numbers[body.name(ending.yielded, microbatch)]

    @property
    def _microbatches(self) -> range:
        return range(self.first, self.first + self.body.microbatches)

    def _end_sums(self, task: TaskName | None) -> None:
        """Give the sums that a task has made for the last time their buffers, and exchange them with other replicas."""
        stream, body = self.stream, self.body
        for result, ending in body.results.items():
            if ending.sum is not None and island_of(result.type) == self.island and body.maker(ending.yielded) == task:
                stream.numbers[result, ALL] = stream.numbers[ending.sum, ALL]
        for exchange in self.begins.get(task, ()):
            exchange.begin(self.replica)

    def _run(self, call: mpmd.FragmentCallOp, microbatch: int, task: str) -> None:
        stream, body = self.stream, self.body
        operands, results = list(call.operation.operands), list(call.operation.results)
        inputs = [self._buffer(operand, microbatch) for operand in operands]
        stream.run(task, self.codes[code_name(call)], inputs, [(result, microbatch) for result in results])
        for result in results:
            if result in body.carries:
                stream.numbers[body.carries[result], ALL] = stream.numbers[result, microbatch]
        for value in (*operands, *results):
            self._send(value, microbatch)

    def _buffer(self, value: _Value, microbatch: int) -> int:
        """The buffer in which a value of the loop's function is for a microbatch."""
        if value in self.body.counters:
            return self.stream.count((value, microbatch))
        return self.stream.buffer_of(self.body.name(value, microbatch))

    def _send(self, value: _Value, microbatch: int) -> None:
        """Send a value, once, to where the loop sends it."""
        for transfer in self.body.transfers_of.get(value, ()):
            if (transfer.result, microbatch) not in self._sent:
                self._sent.add((transfer.result, microbatch))
                target = self.streams[island_of(transfer.result.type)].name
                name = self.body.name(value, microbatch)
                self.stream.send(name, target, *self.leaving[transfer.result, microbatch])

    def _send_ahead(self) -> None:
        """Send, ahead of all tasks, what the loop takes and other islands may need before a task here does."""
        for value in self.body.sent_ahead:
            if island_of(value.type) == self.island:
                for microbatch in self._microbatches:
                    self._send(value, microbatch)
