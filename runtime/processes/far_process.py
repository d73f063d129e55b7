"""The controller's end of the way to a process of an island."""

import threading
from collections.abc import Callable
from typing import Any

from atoll.runtime.messages import StepEnded
from atoll.runtime.processes.greetings import Farewell, Here
from atoll.runtime.processes.life import LifeSigns
from atoll.runtime.processes.line import Line
from atoll.runtime.processes.wire import Wire
from atoll.runtime.trace import by_other_clock


class FarProcess:
    """tell: is given what the process says. lost: is called with a clause about it, when it can do no more.

    wire, alive: to the process; the second one is for questions whether it is there.
    patience: how many seconds an answer to one of these may take.
    """

    def __init__(
        self,
        here: Here,
        wires: tuple[Wire, Wire],
        patience: float,
        tell: Callable[[Any], None],
        lost: Callable[["FarProcess", str], None],
    ) -> None:
        self.here = here
        self._tell = tell
        self._lost = lost
        self._is_over = threading.Lock()  # taken once, by whoever finds out first
        name = "host {}, process {}".format(*here.seat)
        self._life = LifeSigns(wires[1], patience, self._end, name)
        self._line = Line(wires[0], self._take, self._life.ask_at_once, name)

    def say(self, message: object, *, can_wait: bool = False) -> None:
        """From any thread. can_wait: whether it is soon enough to say it along with what is said next."""
        (self._line.leave if can_wait else self._line.say)(message)

    def say_at_once(self, message: object) -> None:
        """Something small, whatever it is doing: it may compile, or wait for another one of its island."""
        self._life.say(message)

    def close(self) -> None:
        """Let go of the process, which ends then."""
        if self._is_over.acquire(blocking=False):
            self._line.say(Farewell())
            self._line.close()

    def abandon(self) -> bool:
        """Expect nothing more of it; whether that is news."""
        is_news = self._is_over.acquire(blocking=False)
        self._life.close()
        self._line.close()
        return is_news

    def _take(self, message: Any) -> None:  # noqa: ANN401 (a message)
        if isinstance(message, StepEnded) and message.record.traced:
            message.record.traced = [by_other_clock(one, self._life.ahead) for one in message.record.traced]
        self._tell(message)

    def _end(self, what: str) -> None:
        if self.abandon():
            self._lost(self, what)
