"""An island of a running program: carries out what its worker says, on whichever thread calls it."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import jax
from atoll.compiler.errors import AtollError
from atoll.runtime.program import Count, Free, IslandProgram, Program, Receive, Run, Send
from atoll.runtime.ready_task import ReadyTask
from atoll.runtime.step import Step, reason, task_error
from atoll.runtime.store import Failure, Feed, Frame, Held, Store, Use, Value
from atoll.runtime.trace import Trace
from atoll.runtime.transport import Message, Transport, Turn
from atoll.runtime.waiting import overdue
from atoll.runtime.window import Window
from atoll.runtime.worker import Arrive, Begin, Carry, Event, GiveUp, Worker

Call = tuple[Callable[[Any], None], Any]  # a method of an island, and its argument


# What an instruction gives that is carried out beside the island's thread: the island goes on once it is back.
_AWAY = object()


@dataclass(frozen=True)
class Order:
    """What the controller asks an island for: a step, its arguments here and the outputs to fill.

    trace: where it records what it does, if the step is traced.
    """

    step: Step
    feeds: dict[int, Any]  # an array on this island's devices, or a Feed; emptied when the step begins
    outputs: Mapping[int, Held]
    trace: Trace | None


@dataclass
class RunningIsland:
    """The worker of one island with all that it acts on.

    It never waits, as its thread carries other islands too: what it cannot do yet, it does when it is called again.
    Only its thread calls it. What takes its time within the call goes to a thread beside that; until that is back, the
    island carries out nothing else, so that its devices get their work in the order of its stream.
    """

    program: Program
    island: IslandProgram
    tasks: Mapping[int, ReadyTask]  # by index of the instruction
    transport: Transport
    turn: Turn
    store: Store
    window: Window
    patience: float
    wake: Callable[[], None] = field(init=False)  # has `go_on` called soon; for any thread
    later: Callable[[Call], None] = field(init=False)  # makes a call once those under way have returned
    post: Callable[[Call], None] = field(init=False)  # has its thread make a call; for any thread
    aside: Callable[[Callable[[], None]], None] = field(init=False)  # makes a call beside its thread
    _mailbox: dict[tuple[int, str, int], Any] = field(default_factory=dict)
    _orders: dict[int, Order] = field(default_factory=dict)  # by step; those that have not begun
    _carries: deque[Carry] = field(default_factory=deque)  # what is to be carried out
    _index: int = 0  # the next instruction
    _frame: Frame | None = None  # of the step that is carried out, or whose arguments are loaded
    _trace: Trace | None = None  # of that step
    _busy: int = 0  # nanoseconds of this step, up to when the island last paused
    _resumed: int = 0  # when it last went on
    _paused: float = 0.0  # when it last could not go on, in seconds
    _is_away: bool = False  # whether an instruction is carried out beside its thread

    def __post_init__(self) -> None:
        self._worker = Worker(self.island.instructions)
        self._acts = [self._act(index) for index in range(len(self.island.instructions))]
        self._traced_acts = [self._traced_act(index) for index in range(len(self._acts))]

    @property
    def name(self) -> str:
        return self.island.name

    @cached_property
    def is_short(self) -> bool:
        """Whether each of its tasks takes its device less time than a message to another thread."""
        return all(task.executable.is_short for task in self.tasks.values())

    # What its thread calls.

    def order(self, order: Order) -> None:
        """Ask for a step; steps come in the order of their numbers, and one that comes twice is carried out once."""
        if order.step.number > self._worker.begun:
            self._orders[order.step.number] = order
        if self._frame is None:
            self.go_on()

    def arrive(self, message: Message) -> None:
        """Take a value from another island."""
        step, source, tag = message.step, message.source, message.tag
        if self._worker.is_past(step, source, tag):  # a failure stands in its place already
            return
        self._mailbox[step, source, tag] = message.take()
        self.go_on(Arrive(step, source, tag))

    def go_on(self, event: Event | None = None) -> None:
        """Carry out all that can be carried out: up to a value that is not here, or an execution without room."""
        self._resumed = time.perf_counter_ns()
        if event is not None:
            self._carries += self._worker.handle(event)
        if self._is_away:
            return
        while self._carry_out() and self._begin():
            pass
        now = time.perf_counter_ns()
        self._busy += now - self._resumed
        self._paused = now * 1e-9

    @property
    def is_idle(self) -> bool:
        """Whether it has done all that it was asked for."""
        return self._frame is None and not self._orders

    @property
    def is_full(self) -> bool:
        """Whether it waits for its devices to end an earlier task, which no message announces."""
        return bool(self._carries) and not self._is_away

    @property
    def is_watched(self) -> bool:
        """Whether it waits for what may never come. What is carried out beside its thread may take any time."""
        return not self.is_idle and not self._is_away

    @property
    def left(self) -> float:
        """How many seconds it goes on waiting, if nothing happens."""
        return self._paused + self.patience - time.perf_counter()

    def give_up(self) -> None:
        """Go on without what has not come in time; whatever needs it fails."""
        if self.is_full:
            self.window.give_up()
            self.go_on()
        elif self._worker.awaited is not None:
            self.go_on(GiveUp())
        elif self._frame is not None:
            order = self._orders[self._worker.begun + 1]
            self._load_one(self._frame, order.feeds, late=True)
            self.go_on()

    def _carry_out(self) -> bool:
        """Carry out instructions; whether it has come to the end of a step, or is in none."""
        # The results of short tasks are small: looking after each at once costs more than their memory is worth.
        tasks, window, eager = self.tasks, self.window, not self.is_short
        while self._carries:
            carry, frame = self._carries[0], self._frame
            assert frame is not None
            acts = self._acts if self._trace is None else self._traced_acts
            for index in range(self._index, carry.stop):
                if index in tasks and not window.has_room(eager=eager):
                    self._index = index
                    return False
                try:
                    if index == carry.lost:
                        raise overdue("a value has not come from another island", self.patience)
                    if acts[index](frame) is _AWAY:
                        self._index = index + 1
                        return False
                except Exception as error:
                    self._fail(frame, index, error)
            self._index = carry.stop
            self._carries.popleft()
            if carry.last:
                self._close(frame)
        return self._worker.awaited is None

    # The beginning and the end of a step.

    def _begin(self) -> bool:
        """Begin the next step that was asked for, if its arguments are here."""
        number = self._worker.begun + 1
        if number not in self._orders:
            return False
        order = self._orders[number]
        if self._frame is None:
            self.store.begin_step()
            self._frame, self._trace = Frame(order.step, order.outputs), order.trace
        frame = self._frame
        while order.feeds:
            if not self._load_one(frame, order.feeds):
                return False
        # An argument that is passed through is an output from the start: no instruction makes it.
        for buffer in frame.outputs.keys() & frame.values.keys():
            self._publish(frame, buffer)
        del self._orders[number]
        self._carries += self._worker.handle(Begin(number))
        return True

    def _load_one(self, frame: Frame, feeds: dict[int, Any], *, late: bool = False) -> bool:
        """Load an argument of a step and take it out of the feeds; False if it is not here yet."""
        number, feed = feeds.popitem()
        if isinstance(feed, Feed) and not late and not feed.is_ready(self.wake):
            feeds[number] = feed
            return False
        try:
            self._load(frame, number, feed)
        except Exception as error:
            self._set(frame, number, self._failure(error, "an argument could not be brought to"))
        return True

    def _load(self, frame: Frame, number: int, feed: Any) -> None:  # noqa: ANN401 (a jax.Array or a Feed)
        if not isinstance(feed, Feed):
            self._set(frame, number, feed)
            return
        held, value = feed.held, feed.held.value
        if value is None:
            raise overdue(f"island {held.origin.island} has not started to compute a value", self.patience)
        here = self.transport.sharding(self.island.name, number)
        taken = feed.use is Use.TAKE and held.is_free
        if taken:
            held.empty()  # first, or its bytes would count twice for a moment, and so in the peak
        if isinstance(value, Failure) or (value.sharding == here and feed.use is Use.BORROW):
            frame.values[number] = value
            frame.borrowed[number] = held
            frame.feeds[number] = feed
            frame.failed |= isinstance(value, Failure)
        elif value.sharding == here:
            self._set(frame, number, value if taken else self._copy(value))
        else:
            if value.sharding.device_set & here.device_set:
                # `device_put` may share what is on a device already; the caller keeps that, and a task may donate this.
                value = self._copy(value)
            began = time.perf_counter_ns()
            with self.turn:
                value = self.transport.fetch(frame.step, held.origin.island, self.island.name, number, value)
            self._set(frame, number, value)
            if self._trace is not None and held.origin.island != self.island.name:
                self._trace.fetched(self.island.name, held.origin.island, number, began, frame, value)

    def _copy(self, value: jax.Array) -> jax.Array:
        with self.turn:
            return jax.numpy.copy(value)

    def _close(self, frame: Frame) -> None:
        self._drop(frame, list(frame.values))
        now = time.perf_counter_ns()
        busy, self._busy, self._resumed = self._busy + now - self._resumed, 0, now
        self._frame, self._trace, self._index = None, None, 0
        # Told later: whoever waits for the end may count on the memory being free, and the callers of this method still
        # have values on their stack.
        self.later((self._tell_end, (frame.step, busy, self.store.live, self.store.peak)))

    def _tell_end(self, report: tuple[Step, int, int, int]) -> None:
        step, *numbers = report
        step.end(self.name, *numbers)

    # The instructions.

    def _act(self, index: int) -> Callable[[Frame], Any]:
        """What carries out an instruction, or has it carried out beside the island's thread."""
        act = self._own_act(index)
        is_long = index in self.tasks and self.tasks[index].executable.calls_python
        return partial(self._go_aside, index, act) if is_long else act

    def _traced_act(self, index: int) -> Callable[[Frame], Any]:
        """The same in a step that is traced, where whoever carries it out waits for what it does."""
        act = self._own_act(index)
        if isinstance(self.island.instructions[index], (Free, Count)):
            return act
        return partial(self._go_aside, index, partial(self._traced, index, act))

    def _traced(self, index: int, act: Callable[[Frame], Any], frame: Frame) -> None:
        assert self._trace is not None
        self._trace.carry_out(self.island, index, act, frame)

    def _go_aside(self, index: int, act: Callable[[Frame], Any], frame: Frame) -> object:
        self._is_away = True
        self.aside(partial(self._beside, index, act, frame))
        return _AWAY

    def _beside(self, index: int, act: Callable[[Frame], Any], frame: Frame) -> None:
        """On the other thread: carry out an instruction, and tell that it is done."""
        began, failed = time.perf_counter_ns(), None
        try:
            act(frame)
        except Exception as error:
            failed = error
        self.post((self._come_back, (index, frame, failed, time.perf_counter_ns() - began)))

    def _come_back(self, told: tuple[int, Frame, Exception | None, int]) -> None:
        index, frame, failed, nanoseconds = told
        self._is_away = False
        self._busy += nanoseconds
        if failed is not None:
            self._fail(frame, index, failed)
        self.go_on()

    def _own_act(self, index: int) -> Callable[[Frame], Any]:
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

    def _run(self, task: ReadyTask, frame: Frame) -> None:
        values, run = frame.values, task.run
        arguments = list(map(values.__getitem__, run.inputs))
        if frame.failed and (failure := next((one for one in arguments if isinstance(one, Failure)), None)):
            self._set_outputs(task, frame, [failure] * len(run.outputs))
            return
        with self.turn:
            results = task.executable.call(*arguments)
        self.window.add(frame.step, task.index, results[task.token], may_fail=not self.is_short)
        self._set_outputs(task, frame, results)

    def _set_outputs(self, task: ReadyTask, frame: Frame, results: Sequence[Value]) -> None:
        values, run = frame.values, task.run
        for number in run.donated:
            del values[number]
        # Not strict: a task without outputs still has one result, the token.
        for number, result in zip(run.outputs, results, strict=False):
            values[number] = result
        self.store.add(task.size)
        for number in task.published:
            self._publish(frame, number)

    def _count(self, count: Count, frame: Frame) -> None:
        self._set(frame, count.buffer, self.transport.counter(self.island.name, count.buffer, count.microbatch))

    def _send(self, send: Send, frame: Frame) -> Value:
        return self.transport.send(frame.step, self.island.name, send.to, send.tag, frame.values[send.buffer])

    def _receive(self, receive: Receive, frame: Frame) -> None:
        number = receive.buffer
        self._set(frame, number, self._mailbox.pop((frame.step.number, receive.source, receive.tag)))
        if number in frame.outputs:
            self._publish(frame, number)

    def _free(self, free: Free, frame: Frame) -> None:
        self._drop(frame, free.buffers)

    def _fail(self, frame: Frame, index: int, error: Exception) -> None:
        """Put failures where an instruction would have put values; all that needs them fails in the same way.

        The stream goes on: other islands wait for what it sends, and the memory has to be given up as always.
        """
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

    def _drop(self, frame: Frame, numbers: Sequence[int]) -> None:
        values, borrowed, sizes, size = frame.values, frame.borrowed, self.store.sizes, 0
        for number in numbers:
            del values[number]
            if number in borrowed:
                del borrowed[number]
                frame.feeds.pop(number, None)
            else:
                size += sizes[number]
        self.store.remove(size)

    def _publish(self, frame: Frame, number: int) -> None:
        """Give an output to whoever waits for it; from now on its bytes count with the `Held`, not with the frame."""
        held, borrowed = frame.outputs[number], frame.borrowed.get(number)
        if borrowed is None:
            held.fill(frame.values[number], self.store.sizes[number])
            frame.borrowed[number] = held
        else:
            held.rest_on(borrowed, frame.values[number])
