"""The executions of an island that nobody has seen the end of yet.

XLA's CPU devices abort when hundreds of executions with collectives are enqueued, so an island runs ahead of its
devices by a bounded number. Nobody watches them in the background, which would cost more than small tasks do: whoever
needs to know waits, and the worker looks at the oldest ones whenever it passes by.
"""

import threading
from collections import deque
from typing import Any

from atoll.runtime.step import Step
from atoll.runtime.waiting import overdue, wait_ready

# The index of its instruction, one of its results, and whether it may fail of itself.
_Execution = tuple[Step, int, Any, bool]


class Window:
    """Executions in the order in which they were enqueued, which is that in which an island's devices run them."""

    def __init__(self, island: str, size: int, patience: float) -> None:
        self._island = island
        self._size = size
        self._many = size // 2
        self._patience = patience
        self._pending: deque[_Execution] = deque()
        self._lock = threading.Lock()  # of whoever takes one away

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, step: Step, index: int, token: Any, *, may_fail: bool) -> None:  # noqa: ANN401 (a jax.Array)
        """Note an execution; `token` is one of its results, which tells when it has ended.

        may_fail: whether the token is also asked for an error, which takes as long as a small task.
        """
        self._pending.append((step, index, token, may_fail))

    def has_room(self, *, eager: bool = True) -> bool:
        """Whether another execution may be enqueued.

        eager: look at once which have ended, as their results take memory; else only when there are many.
        """
        if eager or len(self._pending) >= self._many:
            self.retire_ready()
        return len(self._pending) < self._size

    def retire_ready(self) -> None:
        """Note which of the oldest executions have ended; never waits for one."""
        if not self._pending or not self._lock.acquire(blocking=False):
            return
        try:
            while self._pending and self._note_end(self._pending[0]):
                # Not by taking it out: once it is gone from here, nobody may keep its token alive.
                del self._pending[0]
        finally:
            self._lock.release()

    def _note_end(self, execution: _Execution) -> bool:
        """Note the end of an execution, if it has ended; returns whether it has."""
        step, index, token, may_fail = execution
        ended: bool = token.is_deleted() or token.is_ready()
        if ended:
            step.observe(self._island, index, _error_of(token) if may_fail else None)
        return ended

    def retire_step(self, step: Step) -> None:
        """Wait for the end of all of a step that has been enqueued so far."""
        for execution in list(self._pending):
            if execution[0].number <= step.number:
                self._retire(execution, self._outcome(execution[2]))

    def give_up(self) -> None:
        """Wait no longer for the oldest execution."""
        for execution in list(self._pending)[:1]:
            self._retire(execution, overdue(f"island {self._island} has not ended a task", self._patience))

    def _retire(self, execution: _Execution, error: Exception | None) -> None:
        """Note the end of an execution, the oldest, unless another thread has done so."""
        with self._lock:
            if self._pending and self._pending[0] is execution:
                step, index, *_ = execution
                step.observe(self._island, index, error)
                self._pending.popleft()

    def _outcome(self, token: Any) -> Exception | None:  # noqa: ANN401 (a jax.Array)
        try:
            wait_ready(token, self._patience, f"island {self._island} has not ended a task")
        except Exception as error:
            return None if token.is_deleted() else error
        return _error_of(token)


def _error_of(token: Any) -> Exception | None:  # noqa: ANN401 (a jax.Array)
    try:
        token.block_until_ready()
    except Exception as error:
        # Given to a later execution, which will tell as well when this one has ended.
        return None if token.is_deleted() else error
    return None
