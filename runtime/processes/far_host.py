"""The controller's end of the way to the process of an island."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from atoll.runtime.messages import Drop, Load, StepEnded, ToHost
from atoll.runtime.processes.greetings import Farewell, Here, LoadFar
from atoll.runtime.processes.life import LifeSigns
from atoll.runtime.processes.line import Line
from atoll.runtime.processes.settings import current
from atoll.runtime.processes.wire import Wire
from atoll.runtime.trace import by_other_clock


class FarHost:
    """tell: is given what the host says. lost: is called with a clause about the process, when that can do no more.

    wire, alive: to the process; the second one is for questions whether it is there.
    patience: how many seconds an answer to one of these may take.
    """

    def __init__(
        self,
        here: Here,
        wires: tuple[Wire, Wire],
        patience: float,
        tell: Callable[[Any], None],
        lost: Callable[[int, str], None],
    ) -> None:
        self.number = here.number
        self.here = here
        self._tell = tell
        self._lost = lost
        self._is_over = threading.Lock()  # taken once, by whoever finds out first
        name = f"host {here.number}"
        self._life = LifeSigns(wires[1], patience, self._end, name)
        self._line = Line(wires[0], self._take, lambda: self._end("has ended"), name)

    def receive(self, message: ToHost) -> None:
        """As a `HostEnd`."""
        match message:
            case Load():
                # Its devices are over there, and it cannot know what settings this thread has.
                self._line.say(LoadFar(replace(message, meshes={}), current()))
            case Drop() if message.can_wait:
                self._line.leave(message)
            case _:
                self._line.say(message)

    def join(self, patience: float) -> None:
        """The process goes when its cluster does."""

    def say(self, message: object) -> None:
        """Something that is for the process and not for its host."""
        self._line.say(message)

    def close(self) -> None:
        """Let go of the process, which ends then."""
        if self._is_over.acquire(blocking=False):
            self._line.say(Farewell())
            self._line.close()

    def _take(self, message: Any) -> None:  # noqa: ANN401 (a message)
        if isinstance(message, StepEnded) and message.record.traced:
            message.record.traced = [by_other_clock(one, self._life.ahead) for one in message.record.traced]
        self._tell(message)

    def _end(self, what: str) -> None:
        is_news = self._is_over.acquire(blocking=False)
        self._life.close()
        self._line.close()
        if is_news:
            self._lost(self.number, what)
