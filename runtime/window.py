"""The executions of an island that nobody has seen the end of yet.

XLA's CPU devices abort when hundreds of executions with collectives are enqueued, so an island runs ahead of its
devices by a bounded number. Nobody watches them in the background, which would cost more than small tasks do: whoever
needs to know waits, and the worker looks at the oldest ones whenever it passes by.
"""

import threading
from collections import deque
from typing import Any

from atoll.runtime.step import Step
from atoll.runtime.store import wait_ready

_Execution = tuple[Step, int, Any]  # the index of its instruction, and one of its results


class Window:
    """Executions in the order in which they were enqueued, which is that in which an island's devices run them."""

    def __init__(self, island: str, size: int, patience: float) -> None:
        self._island = island
        self._size = size
        self._patience = patience
        self._pending: deque[_Execution] = deque()
        self._lock = threading.Lock()  # so that two threads that retire do it in order

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, step: Step, index: int, token: Any) -> None:  # noqa: ANN401 (a jax.Array)
        """Note an execution; `token` is one of its results, which tells when it has ended."""
        self._pending.append((step, index, token))

    def make_room(self) -> None:
        """Wait until another execution may be enqueued. Worker only."""
        self.retire_ready()
        while len(self._pending) >= self._size:
            self._retire(self._pending[0])

    def retire_ready(self) -> None:
        """Note which of the oldest executions have ended; never waits for one. Worker only."""
        while self._pending and _has_ended((oldest := self._pending[0])[2]):
            self._retire(oldest)

    def retire_step(self, step: Step) -> None:
        """Wait for the end of all of a step that has been enqueued so far. Any thread."""
        for execution in list(self._pending):
            if execution[0].number <= step.number:
                self._retire(execution)

    def _retire(self, execution: _Execution) -> None:
        """Wait for an execution, the oldest, unless another thread has done so."""
        with self._lock:
            if not self._pending or self._pending[0] is not execution:
                return
            step, index, token = execution
            step.observe(self._island, index, self._outcome(token))
            self._pending.popleft()

    def _outcome(self, token: Any) -> Exception | None:  # noqa: ANN401 (a jax.Array)
        try:
            wait_ready(token, self._patience, f"island {self._island} has not ended a task")
            token.block_until_ready()
        except Exception as error:
            # Given to a later execution, which will tell as well when this one has ended.
            return None if token.is_deleted() else error
        return None


def _has_ended(token: Any) -> bool:  # noqa: ANN401 (a jax.Array)
    ended: bool = token.is_deleted() or token.is_ready()
    return ended
