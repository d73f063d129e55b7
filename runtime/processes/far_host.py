"""The controller's end of the way to an island in processes: a host, whatever the number of its processes."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy
from atoll.runtime.boxes import boxes_of, shared_out
from atoll.runtime.failure import Failure
from atoll.runtime.messages import (
    Close,
    CompileFailed,
    Compiling,
    Drop,
    GoesWithout,
    HostFailed,
    Load,
    Lose,
    Order,
    Parted,
    Put,
    Start,
    ToController,
    ToHost,
)
from atoll.runtime.processes.assignment import Seat
from atoll.runtime.processes.fate import Fate
from atoll.runtime.processes.greetings import LoadFar
from atoll.runtime.processes.settings import current
from atoll.runtime.processes.tiles import cut
from atoll.runtime.processes.together import Together
from atoll.runtime.program import Box, IslandProgram

if TYPE_CHECKING:
    from atoll.runtime.processes.far_process import FarProcess


class FarHost:
    """Says everything to each process, of values what it needs; and tells what they tell when all have.

    tell: is given what the host says. end: ends the processes, whatever they are doing.
    """

    def __init__(
        self,
        number: int,
        island: str,
        count: int,
        tell: Callable[[ToController], None],
        end: Callable[[Seat], None],
    ) -> None:
        self.number = number
        self._island = island
        self._count = count
        self._tell = tell
        self._end = end
        self._fate = Fate(island, self._fail)
        self._together = Together(count)
        self._telling = threading.Lock()  # each process has a thread of its own here
        self._programs: dict[int, IslandProgram] = {}
        self._boxes: dict[tuple[int, int], list[list[Box]]] = {}  # by program and buffer, what each process holds
        self._without: set[tuple[int, int, str, int]] = set()  # what its processes go without
        self.processes: Sequence[FarProcess] = ()

    def take(self, index: int, message: ToController) -> None:
        """What a process says."""
        match message:
            case HostFailed(_, failure) if self._count > 1:
                self._fate.give_up(failure)
            case HostFailed(_, failure):
                self._fate.lose(failure)
            case Parted(source, why):
                self._fate.part(source, why)
            case GoesWithout():
                self._tell_others(index, message)
            case Compiling():  # all compile the same
                if not index:
                    self._tell(message)
            case _:
                self._take_together(index, message)

    def _take_together(self, index: int, message: ToController) -> None:
        with self._telling:
            told = self._together.take(index, message)
        if isinstance(told, CompileFailed):  # others may have compiled it
            self.receive(Close(told.program))
        if told is not None:
            self._tell(told)

    def _tell_others(self, index: int, message: GoesWithout) -> None:
        """What one of its processes goes without. The first one that says so is enough."""
        key = message.program, message.step, message.source, message.tag
        with self._telling:
            is_news = key not in self._without
            self._without.add(key)
        if is_news:
            for number, process in enumerate(self.processes):
                if number != index:
                    process.say_at_once(message)

    def lose(self, process: "FarProcess", what: str) -> None:
        """A process can do nothing more, and so its island."""
        here = process.here
        why = f"island {self._island} was lost: its process {here.pid} on {here.machine} {what}"
        self._fate.lose(Failure.loss(why))

    def _fail(self, failure: Failure) -> None:
        """End all of its processes: what was only stopped must not come back."""
        for process in self.processes:
            process.abandon()
            self._end(process.here.seat)
        self._tell(HostFailed(self.number, failure))

    def receive(self, message: ToHost) -> None:
        """As a `HostEnd`."""
        match message:
            case Load():
                # Its devices are over there, and it cannot know what settings this thread has.
                load = LoadFar(replace(message, meshes={}), current())
                self._programs.update(
                    (message.program, one) for one in message.code.islands if one.name == self._island
                )
                messages: list[Any] = [load] * self._count
            case Start(program=program, orders=orders):
                fed = [self._fed(program, order) for order in orders.values()]
                messages = [
                    replace(message, orders=dict(zip(orders, one, strict=True))) for one in zip(*fed, strict=True)
                ]
            case Put(program, _, buffer, _, value):
                messages = [replace(message, value=one) for one in self._cut(program, buffer, value)]
            case Lose(islands, failure):
                self._fate.hear(islands, failure)
                messages = [message] * self._count
            case Close(program):
                self._programs.pop(program, None)
                with self._telling:
                    self._without = {key for key in self._without if key[0] != program}
                self._boxes = {key: boxes for key, boxes in self._boxes.items() if key[0] != program}
                messages = [message] * self._count
            case _:
                messages = [message] * self._count
        for process, one in zip(self.processes, messages, strict=True):
            process.say(one, can_wait=isinstance(message, Drop) and message.can_wait)

    def say(self, message: object) -> None:
        """Something that is for the processes and not for the host."""
        for process in self.processes:
            process.say(message)

    def join(self, patience: float) -> None:
        """The processes go when their cluster does."""

    def _fed(self, program: int, order: Order) -> list[Order]:
        """For each process an order, with what it needs of the arguments."""
        feeds: list[dict[int, Any]] = [{} for _ in range(self._count)]
        for buffer, value in order.feeds.items():
            for own, one in zip(feeds, self._cut(program, buffer, value), strict=True):
                own[buffer] = one
        return [replace(order, feeds=own) for own in feeds]

    def _cut(self, program: int, buffer: int | None, value: Any) -> list[Any]:  # noqa: ANN401 (numbers, or what is none)
        """For each process what it needs of a value."""
        if not isinstance(value, numpy.ndarray):
            return [value] * self._count
        if buffer is None:
            everything = tuple((0, length) for length in value.shape)
            return [cut(value, [everything])] * self._count
        return [cut(value, boxes) for boxes in self._held(program, buffer)]

    def _held(self, program: int, buffer: int) -> list[list[Box]]:
        key = program, buffer
        if key not in self._boxes:
            island = self._programs[program]
            self._boxes[key] = shared_out(boxes_of(island.buffers[buffer], island.axes), self._count)
        return self._boxes[key]
