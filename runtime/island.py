"""A program on an island: carries out what its worker says, on whichever thread calls it."""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from atoll.runtime.acts import STOP, Act, Acts
from atoll.runtime.failure import Failure, reason
from atoll.runtime.fed import Fed
from atoll.runtime.feeding import Feeding
from atoll.runtime.frame import Frame
from atoll.runtime.loading import load_sent, load_stored
from atoll.runtime.mailbox import Mailbox
from atoll.runtime.messages import Coming, GoesWithout, Offer, Order, Stored, argument_of, argument_tag
from atoll.runtime.program import Count, Free, IslandProgram, Program
from atoll.runtime.program_memory import sizes_of_buffers
from atoll.runtime.ready_task import ReadyTask
from atoll.runtime.record import Record
from atoll.runtime.recorder import Waits, carry_out
from atoll.runtime.site import AHEAD, Call, Site, not_brought
from atoll.runtime.trace import Cause, ForArgument, ForRoom, ForStep, ForValue
from atoll.runtime.transport import Transport
from atoll.runtime.waiting import overdue
from atoll.runtime.worker import Arrive, Begin, Carry, Event, Worker


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
        self._sizes = sizes_of_buffers(self.island)
        self._waits = Waits(self.name)
        self.feeding = Feeding(self.number, self.program, self.transport, self.site, self.post, self.arrive)
        self._acts = Acts(
            self.number, self.program, self.island, self.tasks, self.transport, self.site, self.mailbox, self._sizes
        )
        own = self._acts.every()
        self._plain = [self._in_place(index, act) for index, act in enumerate(own)]
        self._traced = [self._traced_act(index, act) for index, act in enumerate(own)]

    @property
    def name(self) -> str:
        return self.island.name

    # What its thread calls.

    def order(self, step: int, order: Order, *, traced: bool) -> None:
        """Ask for a step; they come in the order of their numbers."""
        self.site.reserve(self.number, order)
        self._orders[step] = order, traced
        self.feeding.begin(step, order.feeds)
        self.site.queue(self)

    def arrive(self, offer: Offer) -> None:
        """Take a value from another island."""
        key = Arrive(offer.step, offer.source, offer.tag)
        if key != self._worker.awaited and self._is_past(*key):  # a failure stands in its place already
            return
        self.mailbox.put(offer)
        self.go_on(None if offer.tag < 0 else key)

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
            what = f"nothing came from island {awaited[1]} to island {self.name}: {reason(late)}"
            self.mailbox.give_up(awaited, Failure(what))
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
        while self._carries:
            carry, frame = self._carries[0], self._frame
            assert frame is not None
            with self.site.turn:
                if not self._come_to(carry.stop, frame):
                    return False
            self._carries.popleft()
            if carry.last:
                self._close(frame)
        return self._worker.awaited is None

    def _come_to(self, stop: int, frame: Frame) -> bool:
        """Carry out the instructions up to this one; whether it has not stopped before."""
        acts = self._traced if self._is_traced else self._plain
        for index in range(self._index, stop):
            try:
                if acts[index](frame) is STOP:
                    self._index = index + self._is_away
                    return False
            except Exception as error:
                self._acts.fail(frame, index, error)
        self._index = stop
        return True

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
        frame.publish(frame.outputs.keys() & frame.values.keys())
        del self._orders[number]
        self._carries += self._worker.handle(Begin(number))
        return True

    def _load_one(self, frame: Frame) -> bool:
        """Load an argument of a step; False if it is not here yet."""
        number, feed = self._feeds.popitem()
        offer = None
        if isinstance(feed, Stored):
            self._load_stored(frame, number, feed)
            return True
        if isinstance(feed, (Coming, Fed)):
            source = feed.source if isinstance(feed, Coming) else self.name
            offer = self.mailbox.take((frame.record.step, source, argument_tag(number)))
            if offer is None:
                self._feeds[number] = feed
                return False
        try:
            if offer is not None:
                load_sent(frame, number, offer, self.island.buffers[number].bytes, traced=self._is_traced)
            else:
                frame.set(number, feed)
        except Exception as error:
            self._not_loaded(frame, number, error)
        return True

    def _load_stored(self, frame: Frame, number: int, stored: Stored) -> None:
        try:
            load_stored(frame, number, stored, self.site, self.transport)
        except Exception as error:
            self._not_loaded(frame, number, error)

    def _not_loaded(self, frame: Frame, number: int, error: Exception) -> None:
        self.site.bear(error)
        frame.set(number, not_brought(self.name, error))

    def _close(self, frame: Frame) -> None:
        frame.drop(list(frame.values))
        now = time.perf_counter_ns()
        record, store = frame.record, self.site.store
        record.nanoseconds, self._busy, self._resumed = self._busy + now - self._resumed, 0, now
        record.live, record.peak, record.host_peak = store.device.live, store.device.peak, store.host.peak
        self._frame, self._is_traced, self._index = None, False, 0
        # Told later: whoever waits for the end may count on the memory being free, and the callers of this method still
        # have values on their stack.
        self.site.later((self.tell_end, record))
        self.site.end_turn(self)

    # The instructions.

    def _in_place(self, index: int, act: Act) -> Act:
        """What carries out an instruction, or has it carried out beside the island's thread."""
        is_long = index in self.tasks and self.tasks[index].executable.calls_python
        return partial(self._go_aside, index, partial(self._in_turn, act)) if is_long else act

    def _traced_act(self, index: int, act: Act) -> Act:
        """The same in a step that is traced, where whoever carries it out waits for what it does."""
        instruction = self.island.instructions[index]
        if isinstance(instruction, (Free, Count)):
            return act
        return partial(self._go_aside, index, partial(carry_out, instruction, index, partial(self._in_turn, act)))

    def _in_turn(self, act: Act, frame: Frame) -> Any:  # noqa: ANN401 (what the act gives)
        with self.site.turn:
            return act(frame)

    def _go_aside(self, index: int, act: Act, frame: Frame) -> object:
        # The other thread finds that there is room, and looks no further: until it is back nobody adds to the window.
        if index not in self.tasks or self.site.window.has_room():
            self._is_away = True
            self.aside(partial(self._beside, index, act, frame))
        return STOP

    def _beside(self, index: int, act: Act, frame: Frame) -> None:
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
            self._acts.fail(frame, index, failed)
        self.go_on()
