"""What carries out the instructions of an island's stream: for each of them a function, made before there is a step.

What can be known before is known by then, so that a task is a call of its executable and a few writes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from atoll.runtime.failure import Failure, reason, task_failure
from atoll.runtime.frame import Frame
from atoll.runtime.mailbox import Mailbox
from atoll.runtime.messages import Offer, Value
from atoll.runtime.program import Count, Free, IslandProgram, Program, Receive, Run, Send
from atoll.runtime.program_memory import Bytes, total
from atoll.runtime.ready_task import ReadyTask
from atoll.runtime.site import Site
from atoll.runtime.transport import Transport

Act = Callable[[Frame], Any]

# What an act gives if the island has to stop: there is no room for a task, or another thread carries it out.
STOP = object()


@dataclass(frozen=True, eq=False)
class Acts:
    """Of one program on one island. Whoever carries them out has the turn to enqueue work on its devices.

    number: of the program. tasks: by index of the instruction. mailbox: where what comes is kept.
    sizes: of each buffer.
    """

    number: int
    program: Program
    island: IslandProgram
    tasks: Mapping[int, ReadyTask]
    transport: Transport
    site: Site
    mailbox: Mailbox
    sizes: Sequence[Bytes]

    @property
    def name(self) -> str:
        return self.island.name

    def every(self) -> list[Act]:
        """One for each instruction. What carries out a send gives what arrives; a task, whether it has to `STOP`."""
        own = self._own_buffers()
        return [self._act(index, own) for index in range(len(self.island.instructions))]

    def _act(self, index: int, own: frozenset[int]) -> Act:
        match self.island.instructions[index]:
            case Run():
                return self._run(self.tasks[index])
            case Count() as count:
                return self._count(count)
            case Send() as send:
                return self._send(send)
            case Receive() as receive:
                return self._receive(receive)
            case Free(buffers):
                return self._free(buffers) if own.issuperset(buffers) else lambda frame: frame.drop(buffers)

    def _own_buffers(self) -> frozenset[int]:
        """Buffers whose bytes are the step's alone: an argument may be the store's, and a result becomes so."""
        made: set[int] = set()
        for one in self.island.instructions:
            if isinstance(one, Run):
                made.update(one.outputs)
            elif isinstance(one, (Receive, Count)):
                made.add(one.buffer)
        return frozenset(made - self.program.kept[self.name].keys())

    def _run(self, task: ReadyTask) -> Act:
        token, call, window = task.token, task.executable.call, self.site.window
        take, give, pending, size = _taking(task.run.inputs), self.giving(task), window.pending, window.size

        def act(frame: Frame) -> object:
            # What `has_room` says at once in most cases is asked here: a call of Python's is a good part of a task.
            if (window.is_awaited or len(pending) >= size) and not window.has_room():
                return STOP
            arguments = take(frame.values)
            if frame.failed and (failure := next((one for one in arguments if isinstance(one, Failure)), None)):
                give(frame, [failure] * len(task.run.outputs))
                return None
            results = call(*arguments)
            pending.append((frame.record, task, results[token]))
            give(frame, results)
            return None

        return act

    def giving(self, task: ReadyTask) -> Callable[[Frame, Sequence[Value]], None]:
        """What puts what a task returned where it belongs, and forgets what it has taken over."""
        outputs, donated, published = task.run.outputs, task.run.donated, task.published
        add = self.site.store.adding(task.size)

        def give(frame: Frame, results: Sequence[Value]) -> None:
            values = frame.values
            for number in donated:
                del values[number]
            # Not strict: a task without outputs still has one result, the token.
            for number, result in zip(outputs, results, strict=False):
                values[number] = result
            add()
            if published:
                frame.publish(published)

        def give_one(frame: Frame, results: Sequence[Value]) -> None:
            frame.values[output] = results[0]
            add()

        if len(outputs) == 1 and not donated and not published:
            [output] = outputs
            return give_one
        return give

    def _count(self, count: Count) -> Act:
        return lambda frame: frame.set(count.buffer, self.transport.counter(self.name, count.buffer, count.microbatch))

    def _send(self, send: Send) -> Act:
        move, size = self.transport.routes[self.name, send.to, send.tag]
        link = self.name, send.to

        def act(frame: Frame) -> Value:
            """Hand a value to the link. A failure is handed on as it is."""
            value = frame.values[send.buffer]
            if not isinstance(value, Failure):
                value = move(value)
                frame.record.count(link, size)
            self._deliver(frame, send, value)
            return value

        return act

    def _deliver(self, frame: Frame, send: Send, value: Value) -> None:
        self.site.deliver(Offer(self.number, frame.record.step, send.to, self.name, send.tag, value))

    def _receive(self, receive: Receive) -> Act:
        buffer, source, tag = receive.buffer, receive.source, receive.tag
        take, is_published = self.mailbox.take, buffer in self.program.kept[self.name]
        add = self.site.store.adding(self.sizes[buffer])

        def act(frame: Frame) -> None:
            offer = take((frame.record.step, source, tag))
            assert offer is not None
            value = frame.values[buffer] = offer.take()
            add()
            if isinstance(value, Failure):
                frame.failed = True
            if is_published:
                frame.publish((buffer,))

        return act

    def _free(self, buffers: Sequence[int]) -> Act:
        """Forget buffers that are the step's own, whose bytes are known."""
        remove = self.site.store.removing(total(self.sizes[number] for number in buffers))

        def act(frame: Frame) -> None:
            values = frame.values
            for number in buffers:
                del values[number]
            remove()

        return act

    def fail(self, frame: Frame, index: int, error: Exception) -> None:
        """Put failures where an instruction would have put values; all that needs them fails in the same way.

        The stream goes on: other islands wait for what it sends, and the memory has to be given up as always.
        """
        self.site.bear(error)
        frame.failed = True
        instruction = self.island.instructions[index]
        if isinstance(instruction, Run):
            failure = task_failure(self.program, self.name, index, reason(error))
            self.giving(self.tasks[index])(frame, [failure] * len(instruction.outputs))
        elif isinstance(instruction, Send):
            failure = self._failure(error, f"a value could not be sent to island {instruction.to} by")
            self._deliver(frame, instruction, failure)
        elif isinstance(instruction, Count):
            frame.set(instruction.buffer, self._failure(error, "a microbatch could not be counted on"))
        elif isinstance(instruction, Receive):
            failure = self._failure(error, f"nothing came from island {instruction.source} to")
            frame.set(instruction.buffer, failure)
            frame.publish((instruction.buffer,))

    def _failure(self, error: Exception, what: str) -> Failure:
        return Failure(f"{what} island {self.name}: {reason(error)}")


def _taking(numbers: Sequence[int]) -> Callable[[Mapping[int, Value]], Sequence[Value]]:
    """What takes the values with these numbers."""
    match numbers:
        case ():
            return lambda _: ()
        case (number,):
            return lambda values: (values[number],)
        case _:
            return itemgetter(*numbers)
