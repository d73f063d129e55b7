"""The executions of an island that nobody has seen the end of yet.

XLA's CPU devices abort when hundreds of executions with collectives are enqueued, so an island runs ahead of its
devices by a bounded number. Nothing tells when one has ended: the island's host looks at the oldest ones whenever it
passes by, and when it has nothing else to do, a thread beside it waits for one, or it looks again in a moment (`pace`).
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from atoll.runtime.failure import reason
from atoll.runtime.pace import Pace
from atoll.runtime.ready_task import ReadyTask
from atoll.runtime.record import Record
from atoll.runtime.side_thread import SideThread

# Its record, its task, and the one of its results that tells when it has ended.
_Execution = tuple[Record, ReadyTask, Any]


class Window:
    """Executions in the order in which they were enqueued, which is that in which an island's devices run them.

    tell: is called with the record of a step that is over.
    watcher: the name of the thread that waits for one; post: what it calls at last, which makes a call where it may.
    """

    def __init__(
        self,
        size: int,
        tell: Callable[[Record], None],
        watcher: str,
        post: Callable[[tuple[Callable[[Any], None], Any]], None],
    ) -> None:
        self._size = size
        self._half = size // 2
        self._pace = Pace()
        self._tell = tell
        self._post = post
        self._watcher = SideThread(watcher)
        self._watched: _Execution | None = None
        self._before_watched = 0  # how many are older than that one
        self._pending: deque[_Execution] = deque()
        self.is_awaited = False  # whether somebody waits for room

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, record: Record, task: ReadyTask, token: Any) -> None:  # noqa: ANN401 (a jax.Array)
        """Note an execution."""
        record.under_way += 1
        self._pending.append((record, task, token))

    def has_room(self) -> bool:
        """Whether another execution may be enqueued.

        Once it is full, half of them have to end first: to fill up one place after the other takes more of the host's
        time, and devices may be the same cores. Until it is full, nobody looks which have ended.
        """
        if self.is_awaited:  # whoever waits has just looked, or will before it waits on
            self.is_awaited = len(self._pending) > self._half
            if not self.is_awaited:
                self._pace.end()
        elif len(self._pending) >= self._size:
            self.retire_ready()
            self.is_awaited = len(self._pending) > self._half
            if self.is_awaited:
                self._pace.begin()
        return not self.is_awaited

    def retire_ready(self) -> None:
        """Note which of the oldest executions have ended; never waits for one.

        One that is watched stays until its thread has let go of it, and with it of what it keeps of memory.
        """
        while count := self._count_ended():
            for _ in range(count):
                self._retire_first(None)

    def _count_ended(self) -> int:
        """How many of the oldest executions have ended, as far as it shows when one of them is asked.

        To ask one takes as long as all else that its host does for a task. So one that covers those before it is asked
        in place of them; of half the window at most, so that the devices still have the other half to do.
        """
        pending = self._pending
        last = min(self._half, self._before_watched if self._watched is not None else len(pending)) - 1
        while last > 0 and pending[last][1].covers < last:
            last -= 1
        return last + 1 if last >= 0 and self._has_ended(last) else 0

    def _has_ended(self, number: int) -> bool:
        token = self._pending[number][2]
        if token.is_deleted():  # it was donated: a later execution takes it, and tells for both
            later = tuple(self._pending)[number + 1 :]
            token = next((one for _, _, one in later if not one.is_deleted()), None)
        if token is None:
            return True
        try:
            return bool(token.is_ready())
        except RuntimeError:
            if token.is_deleted():  # by now: a task that calls Python is enqueued by another thread
                return False
            raise

    def watch(self, comes_back: bool = False) -> float | None:
        """Have it noticed when the one of them has ended that somebody waits for; at least, when all have.

        comes_back: whether the caller can look again by itself; then it may be told to, in so many seconds.
        """
        if comes_back and self._watched is None and self.is_awaited and (pause := self._pace.pause()) is not None:
            return pause
        if self._watched is None and self._pending:
            self._before_watched, self._watched = self._awaited()
            token = self._watched[2]
            self._watcher.call(partial(_wait, [token], partial(self._post, (self._ended, self._watcher))))
        return None

    def _awaited(self) -> tuple[int, _Execution]:
        """With its number, the one after which there is room, if somebody waits for that; else the last one of a step.

        Of several steps that of the one in the middle: so the devices have work while the next steps are asked for.
        """
        pending = tuple(self._pending)  # at once, as another thread may add one
        if self.is_awaited:
            number = len(pending) - self._half - 1
        else:
            nexts = (*(record for record, *_ in pending[1:]), None)
            ends = [number for number, one in enumerate(pending) if one[0] is not nexts[number]]
            number = ends[(len(ends) - 1) // 2]
        there = [one for one in range(len(pending)) if not pending[one][2].is_deleted()]
        number = next((one for one in there if one >= number), number)
        if number and self._has_ended(number):  # but one before it has not, or it would be here no longer
            number = next((one for one in there if not self._has_ended(one)), number)
        return number, pending[number]

    def _ended(self, watcher: SideThread) -> None:
        """What was watched has ended, and with it what it covers: nobody has to ask whether that is so."""
        if watcher is not self._watcher or self._watched is None:  # nobody waits for it any more
            return
        number = self._before_watched
        is_told = self._watched[1].covers >= number and not self._watched[2].is_deleted()
        self._watched = None
        for _ in range(number + 1 if is_told else 0):
            self._retire_first(None)

    def give_up(self, why: str) -> None:
        """Wait no longer for the oldest execution: there is room for another one."""
        self.is_awaited = False
        if self._pending:
            if self._pending[0] is self._watched:
                self._watcher, self._watched = self._watcher.left_alone(), None
            self._retire_first(why)

    def stop(self) -> None:
        """Let its thread end: there will be no executions."""
        self._watcher.stop()

    def _retire_first(self, error: str | None) -> None:
        """The oldest has ended, or nobody waits for it any more, for the reason given."""
        record, task, token = self._pending.popleft()
        self._before_watched -= 1
        if error is None and task.executable.may_fail:
            error = _error_of(token)  # to ask for it takes as long as a small task does
        del token  # gone before anyone is told that the step is over, and with it what it keeps of memory
        if record.ended(task.index, error):
            self._tell(record)


def _wait(tokens: list[Any], tell: Callable[[], None]) -> None:
    """On another thread: wait for the end of an execution."""
    token = tokens.pop()
    with suppress(Exception):  # it has failed, or its token was donated to a later one, which tells for both
        token.block_until_ready()
    del token  # before anyone is told, as it keeps memory alive
    tell()


def _error_of(token: Any) -> str | None:  # noqa: ANN401 (a jax.Array)
    try:
        token.block_until_ready()
    except Exception as error:
        # It was donated to a later execution, which will tell of this one's error as well.
        return None if token.is_deleted() else reason(error)
    return None
