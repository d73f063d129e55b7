"""The thread of an island: carries out what its worker says. All of its I/O is here."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
from atoll.compiler.errors import AtollError
from atoll.runtime.fragment import Executable
from atoll.runtime.program import Count, Free, IslandProgram, Program, Receive, Run, Send
from atoll.runtime.step import Step, reason, task_error
from atoll.runtime.store import Failure, Feed, Frame, Held, Store, Use, Value, overdue
from atoll.runtime.transport import Transport, Turn
from atoll.runtime.window import Window
from atoll.runtime.worker import Arrive, Begin, Carry, Event, GiveUp, Worker

# What `_next` may return besides orders and messages.
_STOP, _LATE = object(), object()


@dataclass(frozen=True)
class Order:
    """What the controller asks an island for: a step, its arguments here and the outputs to fill."""

    step: Step
    feeds: dict[int, Any]  # an array on this island's devices, or a Feed; emptied when the step begins
    outputs: Mapping[int, Held]


@dataclass(frozen=True)
class Task:
    """A `Run` made ready."""

    index: int
    executable: Executable
    run: Run
    size: int  # bytes of its outputs
    token: int | None  # which output tells when it has ended
    published: tuple[int, ...]  # those of its outputs that are the step's


@dataclass
class IslandThread:
    """The worker of one island with all that it acts on."""

    program: Program
    island: IslandProgram
    tasks: Mapping[int, Task]  # by index of the instruction
    transport: Transport
    turn: Turn
    store: Store
    window: Window
    patience: float
    _inbox: "queue.SimpleQueue[Any]" = field(default_factory=queue.SimpleQueue)
    _mailbox: dict[tuple[int, str, int], Any] = field(default_factory=dict)
    _orders: dict[int, Order] = field(default_factory=dict)
    _frame: Frame | None = None
    _busy: int = 0  # nanoseconds of this step, up to when the island last waited
    _resumed: int = 0  # when it last stopped waiting

    def __post_init__(self) -> None:
        self._worker = Worker(self.island.instructions)
        self._acts = [self._act(index) for index in range(len(self.island.instructions))]
        self.transport.connect(self.island.name, self._inbox.put)
        self._thread = threading.Thread(target=self._work, name=f"atoll {self.island.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def post(self, order: Order) -> None:
        """Ask for a step; steps come in the order of their numbers, and one that comes twice is carried out once."""
        self._inbox.put(order)

    def stop(self) -> None:
        """Let the thread end, once it has carried out what it was asked for."""
        self._inbox.put(_STOP)

    def join(self) -> None:
        self._thread.join(self.patience)

    def _work(self) -> None:
        stopped = False
        while not stopped or self._worker.awaited is not None:
            message = self._next()
            if message is _STOP:
                stopped = True  # what was begun comes to its end
                continue
            self._resumed = time.perf_counter_ns()
            event = self._event(message)
            del message  # it would keep its arrays alive
            for carry in self._worker.handle(event):
                self._carry_out(carry)
            self._busy += time.perf_counter_ns() - self._resumed

    def _next(self) -> Any:  # noqa: ANN401 (an Order, a message of the transport, _LATE or _STOP)
        """What happens next. As long as executions are under way, looks now and then which have ended."""
        start, pause = time.monotonic(), 0.001
        while True:
            self.window.retire_ready()
            left = None if self._worker.awaited is None else start + self.patience - time.monotonic()
            if left is not None and left <= 0:
                return _LATE
            try:
                return self._inbox.get(timeout=pause if len(self.window) else left)
            except queue.Empty:
                pause = min(2 * pause, 0.05)

    def _event(self, message: Any) -> Event:  # noqa: ANN401 (as above)
        if message is _LATE:
            return GiveUp()
        if isinstance(message, Order):
            if message.step.number > self._worker.begun:
                self._orders[message.step.number] = message
            return Begin(message.step.number)
        step, source, tag, value = message
        if not self._worker.is_past(step, source, tag):
            self._mailbox[step, source, tag] = value
        return Arrive(step, source, tag)

    def _carry_out(self, carry: Carry) -> None:
        if self._frame is None:
            self._frame = self._open(self._orders.pop(carry.step))
        frame = self._frame
        for index in range(carry.start, carry.stop):
            try:
                if index == carry.lost:
                    raise overdue("a value has not come from another island", self.patience)
                self._acts[index](frame)
            except Exception as error:
                self._fail(frame, index, error)
        if carry.last:
            self._close(frame)

    # The begin and the end of a step.

    def _open(self, order: Order) -> Frame:
        """Load the arguments of a step. Steps that came before have been enqueued, here at least."""
        self.store.begin_step()
        frame = Frame(order.step, order.outputs)
        while order.feeds:
            number, feed = order.feeds.popitem()
            try:
                self._load(frame, number, feed)
            except Exception as error:
                self._set(frame, number, self._failure(error, "an argument could not be brought to"))
        for number in frame.outputs.keys() & frame.values.keys():
            self._publish(frame, number)
        return frame

    def _load(self, frame: Frame, number: int, feed: Any) -> None:  # noqa: ANN401 (a jax.Array or a Feed)
        if not isinstance(feed, Feed):
            self._set(frame, number, feed)
            return
        held, value = feed.held, feed.held.get(self.patience)
        here = self.transport.sharding(self.island.name, number)
        taken = feed.use is Use.TAKE and held.is_free(self.patience)
        if taken:
            held.empty()  # before its bytes are counted here
        if isinstance(value, Failure) or (value.sharding == here and feed.use is Use.BORROW):
            frame.values[number] = value
            frame.borrowed[number] = held
            frame.feeds[number] = feed
            frame.failed |= isinstance(value, Failure)
        elif value.sharding == here:
            self._set(frame, number, value if taken else self._copy(value))
        else:
            if value.sharding.device_set & here.device_set:
                value = self._copy(value)  # or a part of it could be shared with what the caller keeps
            with self.turn:
                value = self.transport.fetch(frame.step, held.origin.island, self.island.name, number, value)
            self._set(frame, number, value)

    def _copy(self, value: jax.Array) -> jax.Array:
        with self.turn:
            return jax.numpy.copy(value)

    def _close(self, frame: Frame) -> None:
        for number in list(frame.values):
            self._drop(frame, number)
        busy, self._busy = self._busy + time.perf_counter_ns() - self._resumed, 0
        self._resumed = time.perf_counter_ns()
        self._frame = None
        frame.step.end(self.island.name, busy, self.store.live, self.store.peak)

    # The instructions.

    def _act(self, index: int) -> Callable[[Frame], None]:
        """What carries out an instruction."""
        match self.island.instructions[index]:
            case Run():
                return partial(self._run, self.tasks[index])
            case Count() as count:
                return partial(self._count, count)
            case Send() as send:
                return partial(self._send, send)
            case Receive() as receive:
                return partial(self._receive, receive)
            case Free() as free:
                return partial(self._free, free)

    def _run(self, task: Task, frame: Frame) -> None:
        values, run = frame.values, task.run
        arguments = [values[number] for number in run.inputs]
        failure = next((one for one in arguments if isinstance(one, Failure)), None) if frame.failed else None
        if failure is not None:
            self._set_outputs(task, frame, [failure] * len(run.outputs))
            return
        self.window.make_room()
        with self.turn:
            results = task.executable(*arguments)
        if task.token is not None:
            self.window.add(frame.step, task.index, results[task.token])
        self._set_outputs(task, frame, results)

    def _set_outputs(self, task: Task, frame: Frame, results: Sequence[Value]) -> None:
        values, run = frame.values, task.run
        for number in run.donated:
            self._drop(frame, number)
        for number, result in zip(run.outputs, results, strict=True):
            values[number] = result
        self.store.add(task.size)
        for number in task.published:
            self._publish(frame, number)

    def _count(self, count: Count, frame: Frame) -> None:
        self._set(frame, count.buffer, self.transport.counter(self.island.name, count.buffer, count.microbatch))

    def _send(self, send: Send, frame: Frame) -> None:
        self.transport.send(frame.step, self.island.name, send.to, send.tag, frame.values[send.buffer])

    def _receive(self, receive: Receive, frame: Frame) -> None:
        number = receive.buffer
        self._set(frame, number, self._mailbox.pop((frame.step.number, receive.source, receive.tag)))
        if number in frame.outputs:
            self._publish(frame, number)

    def _free(self, free: Free, frame: Frame) -> None:
        for number in free.buffers:
            self._drop(frame, number)

    def _fail(self, frame: Frame, index: int, error: Exception) -> None:
        """Put failures where an instruction would have put values; all that needs them fails alike."""
        frame.failed = True
        instruction = self.island.instructions[index]
        if isinstance(instruction, Run):
            failure = Failure(task_error(self.program, self.island.name, index, error.with_traceback(None)))
            self._set_outputs(self.tasks[index], frame, [failure] * len(instruction.outputs))
        elif isinstance(instruction, Send):
            failure = self._failure(error, f"a value could not be sent to island {instruction.to} by")
            self.transport.send(frame.step, self.island.name, instruction.to, instruction.tag, failure)
        elif isinstance(instruction, Count):
            self._set(frame, instruction.buffer, self._failure(error, "a microbatch could not be counted on"))
        elif isinstance(instruction, Receive):
            failure = self._failure(error, f"nothing came from island {instruction.source} to")
            self._set(frame, instruction.buffer, failure)
            if instruction.buffer in frame.outputs:
                self._publish(frame, instruction.buffer)

    def _failure(self, error: Exception, what: str) -> Failure:
        made = AtollError(f"{what} island {self.island.name}: {reason(error)}")
        made.__cause__ = error.with_traceback(None)  # the frames would keep arrays alive
        return Failure(made)

    # Values.

    def _set(self, frame: Frame, number: int, value: Value) -> None:
        frame.values[number] = value
        frame.failed |= isinstance(value, Failure)
        self.store.add(self.store.sizes[number])

    def _drop(self, frame: Frame, number: int) -> None:
        del frame.values[number]
        if frame.borrowed.pop(number, None) is None:
            self.store.remove(self.store.sizes[number])
        else:
            frame.feeds.pop(number, None)

    def _publish(self, frame: Frame, number: int) -> None:
        """Give an output to whoever waits for it; from now on its bytes are counted there."""
        held, borrowed = frame.outputs[number], frame.borrowed.get(number)
        if borrowed is None:
            held.fill(frame.values[number], self.store.sizes[number])
            frame.borrowed[number] = held
        else:
            held.rest_on(borrowed, frame.values[number])
