"""The executions of an island that nobody has seen the end of yet.

XLA's CPU devices abort when hundreds of executions with collectives are enqueued, so an island runs ahead of its
devices by a bounded number. Nothing tells when one has ended: the island's host looks at the oldest ones whenever it
passes by.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from atoll.runtime.failure import reason
from atoll.runtime.record import Record

# Its record, the index of its instruction, one of its results, and whether it can fail on its own account.
_Execution = tuple[Record, int, Any, bool]


class Window:
    """Executions in the order in which they were enqueued, which is that in which an island's devices run them.

    tell: is called with the record of a step that is over.
    """

    def __init__(self, size: int, tell: Callable[[Record], None]) -> None:
        self._size = size
        self._many = size // 2
        self._tell = tell
        self._pending: deque[_Execution] = deque()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, record: Record, index: int, token: Any, *, may_fail: bool) -> None:  # noqa: ANN401 (a jax.Array)
        """Note an execution; `token` is the one of its results that tells when it has ended.

        may_fail: whether the token is also asked for an error, which takes as long as a small task does.
        """
        record.under_way += 1
        self._pending.append((record, index, token, may_fail))

    def has_room(self, *, eager: bool = True) -> bool:
        """Whether another execution may be enqueued.

        eager: look at once which have ended, as a token keeps memory until then; otherwise only when there are many.
        """
        if eager or len(self._pending) >= self._many:
            self.retire_ready()
        return len(self._pending) < self._size

    def retire_ready(self) -> None:
        """Note which of the oldest executions have ended; never waits for one."""
        while self._pending and _has_ended(self._pending[0][2]):
            record, index, token, may_fail = self._pending.popleft()
            error = _error_of(token) if may_fail else None
            del token  # gone before anyone is told that the step is over, and with it what it keeps of memory
            self._retire(record, index, error)

    def give_up(self, why: str) -> None:
        """Wait no longer for the oldest execution."""
        if self._pending:
            record, index, *_ = self._pending.popleft()
            self._retire(record, index, why)

    def _retire(self, record: Record, index: int, error: str | None) -> None:
        record.ended(index, error)
        if record.is_over:
            self._tell(record)


def _has_ended(token: Any) -> bool:  # noqa: ANN401 (a jax.Array)
    # A token that was donated is deleted: a later execution takes it, and tells for both.
    ended: bool = token.is_deleted() or token.is_ready()
    return ended


def _error_of(token: Any) -> str | None:  # noqa: ANN401 (a jax.Array)
    try:
        token.block_until_ready()
    except Exception as error:
        # It was donated to a later execution, which will tell of this one's error as well.
        return None if token.is_deleted() else reason(error)
    return None
