"""A program on an island: carries out what its worker says, on whichever thread calls it."""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from atoll.runtime.failure import Failure, reason, task_failure
from atoll.runtime.fed import Fed
from atoll.runtime.feeding import Feeding
from atoll.runtime.frame import Frame
from atoll.runtime.loading import load_sent, load_stored
from atoll.runtime.mailbox import Mailbox
from atoll.runtime.messages import Coming, GoesWithout, Offer, Order, Stored, Value, argument_of, argument_tag
from atoll.runtime.program import Count, Free, IslandProgram, Program, Receive, Run, Send
from atoll.runtime.ready_task import ReadyTask
from atoll.runtime.record import Record
from atoll.runtime.recorder import Waits, carry_out
from atoll.runtime.site import AHEAD, Call, Site, not_brought
from atoll.runtime.trace import Cause, ForArgument, ForRoom, ForStep, ForValue
from atoll.runtime.transport import Transport
from atoll.runtime.waiting import overdue
from atoll.runtime.worker import Arrive, Begin, Carry, Event, Worker

# What an instruction gives that is carried out beside the island's thread: the island goes on once it is back.
_AWAY = object()


@dataclass
class RunningIsland:
    """The worker of one program on one island with all that it acts on.

    It never waits, as its thread carries other islands too: what it cannot do yet, it does when it is called again.
    Only its thread calls it. What takes its time within the call goes to a thread beside that; until that is back, the
    island carries out nothing else, so that its devices get their work in the order of its stream.

    number: of the program. tell_end: is called when the last instruction of a step was carried out.
    post: has its thread make a call; for any thread. aside: makes a call beside its thread.
    mailbox: where what comes is kept.
    """

    number: int
    program: Program
    island: IslandProgram
    tasks: Mapping[int, ReadyTask]  # by index of the instruction
    transport: Transport
    site: Site
    patience: float
    tell_end: Callable[[Record], None]
    post: Callable[[Call], None]
    aside: Callable[[Callable[[], None]], None]
    mailbox: Mailbox
    _orders: dict[int, tuple[Order, bool]] = field(default_factory=dict)  # by step, and whether it is traced
    _carries: deque[Carry] = field(default_factory=deque)  # what is to be carried out
    _index: int = 0  # the next instruction
    _frame: Frame | None = None  # of the step that is carried out, or whose arguments are loaded
    _feeds: dict[int, Any] = field(default_factory=dict)  # the arguments of that step that are to be loaded
    _is_traced: bool = False
    _busy: int = 0  # nanoseconds of this step, up to when the island last paused
    _resumed: int = 0  # when it last went on
    _paused: float = 0.0  # when it last could not go on, in seconds
    _is_away: bool = False  # whether an instruction is carried out beside its thread

    def __post_init__(self) -> None:
        self._worker = Worker(self.island.instructions)
        self._sizes = [buffer.bytes for buffer in self.island.buffers]
        self._waits = Waits(self.name)
        self.feeding = Feeding(self.number, self.program, self.transport, self.site, self.post, self.arrive)
        count = range(len(self.island.instructions))
        self._acts = [self._act(index) for index in count]
        self._traced_acts = [self._traced_act(index) for index in count]

    @property
    def name(self) -> str:
        return self.island.name

    # What its thread calls.

    def order(self, step: int, order: Order, *, traced: bool) -> None:
        """Ask for a step; they come in the order of their numbers."""
        self.site.reserve(order)
        self._orders[step] = order, traced
        self.feeding.begin(step, order.feeds)
        self.site.queue(self)

    def arrive(self, offer: Offer) -> None:
        """Take a value from another island."""
        key = offer.step, offer.source, offer.tag
        if self._is_past(*key):  # a failure stands in its place already
            return
        self.mailbox.put(offer)
        self.go_on(None if offer.tag < 0 else Arrive(*key))

    def go_without(self, told: GoesWithout) -> None:
        """Another process of the island goes without a value. From any thread: its own may wait for that process."""
        if self.mailbox.refuse(told):
            self.post((self.go_on, None if told.tag < 0 else Arrive(told.step, told.source, told.tag)))

    def _is_past(self, step: int, source: str, tag: int) -> bool:
        if tag >= 0:
            return self._worker.is_past(step, source, tag)
        loading = self._frame is not None and self._frame.record.step == step
        return step <= self._worker.begun or (loading and argument_of(tag) not in self._feeds)

    def lose(self, islands: Collection[str], failure: Failure) -> None:
        """Nothing comes from these islands any more; the failure stands in place of it."""
        self.mailbox.lose(islands, failure)
        self.go_on()

    def go_on(self, event: Event | None = None) -> None:
        """Carry out all that can be carried out: up to a value that is not here, or an execution without room."""
        self._resumed = time.perf_counter_ns()
        if event is not None:
            self._carries += self._worker.handle(event)
        if self._is_away:
            return
        while (self._carry_out() and self._begin()) or self._pass_lost():
            pass
        now = time.perf_counter_ns()
        self._busy += now - self._resumed
        self._paused = now * 1e-9
        if self._is_traced or self._frame is None:
            step = self._worker.begun + 1 if self._frame is None else self._frame.record.step
            record = self._frame.record if self._is_traced and self._frame is not None else None
            self._waits.note(self._cause(), step, record, self._resumed, now)

    def _pass_lost(self) -> bool:
        """Go on to where it takes a failure, if it waits for a value of an island that was lost; whether it does."""
        awaited = None if self._carries else self._worker.awaited
        if awaited is None or not self.mailbox.is_lost(awaited[1]):
            return False
        self._carries += self._worker.handle(Arrive(*awaited))
        return True

    def _cause(self) -> Cause | None:
        """What it waits for; None while an instruction is carried out beside its thread."""
        if self._is_away:
            return None
        if self._carries:
            return ForRoom(self._index, AHEAD)
        if self._worker.awaited is not None:
            return ForValue(*self._worker.awaited[1:])
        if self._frame is None:
            return ForStep()
        return ForArgument(*self._awaited)

    @property
    def _awaited(self) -> tuple[int, str]:
        """The argument that is next, and where it comes from."""
        number, feed = next(reversed(self._feeds.items()))
        return number, feed.name if isinstance(feed, Fed) else feed.source

    @property
    def is_full(self) -> bool:
        """Whether it waits for its devices to end an earlier task, which no message announces."""
        return bool(self._carries) and not self._is_away

    @property
    def is_watched(self) -> bool:
        """Whether it waits for what may never come. What is carried out beside its thread may take any time."""
        return self._frame is not None and not self._is_away

    @property
    def left(self) -> float:
        """How many seconds it goes on waiting, if nothing happens."""
        return self._paused + self.patience - time.perf_counter()

    @property
    def waits_for(self) -> str:
        """What it is doing, for messages."""
        if self._frame is None:
            return "has nothing to do" if self.site.is_idle else "has to end steps of other programs first"
        if self._is_away:
            return f"is carrying out instruction {self._index - 1} of step {self._frame.record.step}"
        if self._carries:
            return f"waits for its devices to end one of {len(self.site.window)} tasks"
        if (awaited := self._worker.awaited) is not None:
            return f"waits in step {awaited[0]} for a value of island {awaited[1]}"
        return f"waits for an argument of step {self._frame.record.step} from {self._awaited[1]}"

    def give_up(self) -> None:
        """Go on without what has not come in time; whatever needs it fails."""
        if self.is_full:
            self.site.window.give_up(str(overdue(f"island {self.name} has not ended a task", self.patience)))
            self.go_on()
        elif (awaited := self._worker.awaited) is not None:
            late = overdue("a value has not come from another island", self.patience)
            what = f"nothing came from island {awaited[1]} to"
            self.mailbox.give_up(awaited, self._failure(late, what))
            self.go_on(Arrive(*awaited))
        elif self._frame is not None and isinstance(next(reversed(self._feeds.values())), Fed):
            self.feeding.give_up(self._frame.record.step, self.patience)
        elif self._frame is not None:
            number, source = self._awaited
            late = overdue(f"island {source} has not started to compute a value", self.patience)
            key = self._frame.record.step, source, argument_tag(number)
            self.mailbox.give_up(key, not_brought(self.name, late))
            self.go_on()

    def _carry_out(self) -> bool:
        """Carry out instructions; whether it has come to the end of a step, or is in none."""
        tasks, window = self.tasks, self.site.window
        while self._carries:
            carry, frame = self._carries[0], self._frame
            assert frame is not None
            acts = self._traced_acts if self._is_traced else self._acts
            for index in range(self._index, carry.stop):
                if index in tasks and not window.has_room():
                    self._index = index
                    return False
                try:
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
        """Begin the next step that was asked for, if it is its turn and its arguments are here."""
        number = self._worker.begun + 1
        if number not in self._orders or not self.site.is_turn_of(self):
            return False
        order, self._is_traced = self._orders[number]
        if self._frame is None:
            self.site.store.begin_step()
            self._frame = Frame(Record(self.number, number, self.name), order.outputs, self.site.store, self._sizes)
            self._feeds = dict(order.feeds)
            for forward in order.forwards:
                self.site.forward(self.transport, forward)
        frame = self._frame
        while self._feeds:
            if not self._load_one(frame):
                return False
        # An argument that is passed through is an output from the start: no instruction makes it.
        for buffer in frame.outputs.keys() & frame.values.keys():
            frame.publish(buffer)
        del self._orders[number]
        self._carries += self._worker.handle(Begin(number))
        return True

    def _load_one(self, frame: Frame) -> bool:
        """Load an argument of a step; False if it is not here yet."""
        number, feed = self._feeds.popitem()
        offer = None
        if isinstance(feed, (Coming, Fed)):
            source = feed.source if isinstance(feed, Coming) else self.name
            offer = self.mailbox.take((frame.record.step, source, argument_tag(number)))
            if offer is None:
                self._feeds[number] = feed
                return False
        try:
            if isinstance(feed, Stored):
                load_stored(frame, number, feed, self.site, self.transport)
            elif offer is not None:
                load_sent(frame, number, offer, self._sizes[number], traced=self._is_traced)
            else:
                frame.set(number, feed)
        except Exception as error:
            self.site.bear(error)
            frame.set(number, not_brought(self.name, error))
        return True

    def _close(self, frame: Frame) -> None:
        frame.drop(list(frame.values))
        now = time.perf_counter_ns()
        record, store = frame.record, self.site.store
        record.nanoseconds, self._busy, self._resumed = self._busy + now - self._resumed, 0, now
        record.live, record.peak = store.live, store.peak
        self._frame, self._is_traced, self._index = None, False, 0
        # Told later: whoever waits for the end may count on the memory being free, and the callers of this method still
        # have values on their stack.
        self.site.later((self.tell_end, record))
        self.site.end_turn(self)

    # The instructions.

    def _act(self, index: int) -> Callable[[Frame], Any]:
        """What carries out an instruction, or has it carried out beside the island's thread."""
        act = self._own_act(index)
        is_long = index in self.tasks and self.tasks[index].executable.calls_python
        return partial(self._go_aside, index, act) if is_long else act

    def _traced_act(self, index: int) -> Callable[[Frame], Any]:
        """The same in a step that is traced, where whoever carries it out waits for what it does."""
        act, instruction = self._own_act(index), self.island.instructions[index]
        if isinstance(instruction, (Free, Count)):
            return act
        return partial(self._go_aside, index, partial(carry_out, instruction, index, act))

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
                return partial(self._send, send, *self.transport.routes[self.name, send.to, send.tag])
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
        with self.site.turn:
            results = task.executable.call(*arguments)
        self.site.window.add(frame.record, task.index, results[task.token], may_fail=task.executable.may_fail)
        self._set_outputs(task, frame, results)

    def _set_outputs(self, task: ReadyTask, frame: Frame, results: Sequence[Value]) -> None:
        values, run = frame.values, task.run
        for number in run.donated:
            del values[number]
        # Not strict: a task without outputs still has one result, the token.
        for number, result in zip(run.outputs, results, strict=False):
            values[number] = result
        self.site.store.add(task.size)
        for number in task.published:
            frame.publish(number)

    def _count(self, count: Count, frame: Frame) -> None:
        frame.set(count.buffer, self.transport.counter(self.name, count.buffer, count.microbatch))

    def _send(self, send: Send, move: Callable[[Any], Any], size: int, frame: Frame) -> Value:
        """Hand a value to the link; gives what arrives. A failure is handed on as it is."""
        value = frame.values[send.buffer]
        if not isinstance(value, Failure):
            value = move(value)
            frame.record.count((self.name, send.to), size)
        self._deliver(frame, send, value)
        return value

    def _deliver(self, frame: Frame, send: Send, value: Value) -> None:
        self.site.deliver(Offer(self.number, frame.record.step, send.to, self.name, send.tag, value))

    def _receive(self, receive: Receive, frame: Frame) -> None:
        offer = self.mailbox.take((frame.record.step, receive.source, receive.tag))
        assert offer is not None
        frame.set(receive.buffer, offer.take())
        frame.publish(receive.buffer)

    def _free(self, free: Free, frame: Frame) -> None:
        frame.drop(free.buffers)

    def _fail(self, frame: Frame, index: int, error: Exception) -> None:
        """Put failures where an instruction would have put values; all that needs them fails in the same way.

        The stream goes on: other islands wait for what it sends, and the memory has to be given up as always.
        """
        self.site.bear(error)
        frame.failed = True
        instruction = self.island.instructions[index]
        if isinstance(instruction, Run):
            failure = task_failure(self.program, self.name, index, reason(error))
            self._set_outputs(self.tasks[index], frame, [failure] * len(instruction.outputs))
        elif isinstance(instruction, Send):
            failure = self._failure(error, f"a value could not be sent to island {instruction.to} by")
            self._deliver(frame, instruction, failure)
        elif isinstance(instruction, Count):
            frame.set(instruction.buffer, self._failure(error, "a microbatch could not be counted on"))
        elif isinstance(instruction, Receive):
            failure = self._failure(error, f"nothing came from island {instruction.source} to")
            frame.set(instruction.buffer, failure)
            frame.publish(instruction.buffer)

    def _failure(self, error: Exception, what: str) -> Failure:
        return Failure(f"{what} island {self.name}: {reason(error)}")
