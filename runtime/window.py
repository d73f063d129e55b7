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

# Its record, its task, and the one of its results (a jax.Array) that tells when it has ended.
_Execution = tuple[Record, ReadyTask, Any]


class Window:
    """Executions in the order in which they were enqueued, which is that in which an island's devices run them.

    size: how many there may be. pending: those that there are; whoever enqueues one adds it.
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
        self.size = size
        self._half = size // 2
        self._pace = Pace()
        self._tell = tell
        self._post = post
        self._watcher = SideThread(watcher)
        self._watched: _Execution | None = None
        self._before_watched = 0  # how many are older than that one
        self.pending: deque[_Execution] = deque()
        self.is_awaited = False  # whether somebody waits for room

    def __len__(self) -> int:
        return len(self.pending)

    def holds(self, record: Record) -> bool:
        """Whether an execution of a step is here."""
        return any(one[0] is record for one in reversed(tuple(self.pending)))

    def has_room(self) -> bool:
        """Whether another execution may be enqueued; as it may be while there are fewer than `size`, if nobody waits.

        Once it is full, half of them have to end first: to fill up one place after the other takes more of the host's
        time, and devices may be the same cores. Until it is full, nobody looks which have ended.
        """
        if self.is_awaited:  # whoever waits has just looked, or will before it waits on
            self.is_awaited = len(self.pending) > self._half
            if not self.is_awaited:
                self._pace.end(len(self.pending))
        elif len(self.pending) >= self.size:
            self.retire_ready()
            self.is_awaited = len(self.pending) > self._half
            if self.is_awaited:
                self._pace.begin(len(self.pending))
        return not self.is_awaited

    def retire_ready(self) -> None:
        """Note which of the oldest executions have ended; never waits for one.

        One that is watched stays until its thread has let go of it, and with it of what it keeps of memory.
        """
        most, before = self._half, len(self.pending)
        while most:
            count = self._count_ended(most)
            self._retire(count)
            if self.is_awaited and (count == most or (not count and len(self.pending) < before)):
                most //= (
                    2  # how many more have ended tells how long to wait the next time, and need not be known exactly
                )
            elif not count:
                break

    def _count_ended(self, most: int) -> int:
        """How many of the oldest executions have ended, up to so many, as far as it shows when one of them is asked.

        To ask one takes as long as all else that its host does for a task. So one that covers those before it is asked
        in place of them.
        """
        pending = self.pending
        last = min(most, self._before_watched if self._watched is not None else len(pending)) - 1
        while last > 0 and pending[last][1].covers < last:
            last -= 1
        return last + 1 if last >= 0 and self._has_ended(last) else 0

    def _has_ended(self, number: int) -> bool:
        token = self.pending[number][2]
        if token.is_deleted():  # it was donated: a later execution takes it, and tells for both
            later = tuple(self.pending)[number + 1 :]
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
        if comes_back and self._watched is None and self.is_awaited:
            pause = self._pace.pause(self.size - self._half)
            if pause is not None:
                return pause
        if self._watched is None and self.pending:
            self._before_watched, self._watched = self._awaited()
            token = self._watched[2]
            self._watcher.call(partial(_wait, [token], partial(self._post, (self._ended, self._watcher))))
        return None

    def _awaited(self) -> tuple[int, _Execution]:
        """With its number, the one after which there is room, if somebody waits for that; else the last one of a step.

        Of several steps that of the one in the middle: so the devices have work while the next steps are asked for.
        """
        pending = tuple(self.pending)  # at once, as another thread may add one
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
        self._retire(number + 1 if is_told else 0)

    def give_up(self, why: str) -> None:
        """Wait no longer for the oldest execution: there is room for another one."""
        self.is_awaited = False
        if self.pending:
            if self.pending[0] is self._watched:
                self._watcher, self._watched = self._watcher.left_alone(), None
            self._retire(1, why)

    def stop(self) -> None:
        """Let its thread end: there will be no executions."""
        self._watcher.stop()

    def _retire(self, count: int, why: str | None = None) -> None:
        """So many of the oldest have ended; or nobody waits for them any more, for the reason given."""
        pending = self.pending
        self._before_watched -= count
        for _ in range(count):
            record, task, token = pending.popleft()
            error = why
            if error is None and task.executable.may_fail:
                error = _error_of(token)  # to ask for it takes as long as a small task does
            del token  # gone before anyone is told that the step is over, and with it what it keeps of memory
            record.order.append(task.index)
            if error is not None:
                record.errors[task.index] = error
            if record.is_enqueued and not (pending and pending[0][0] is record):
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
