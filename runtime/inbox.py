"""What comes to a thread from others, in order.

`queue.SimpleQueue` would do, but for its time limit: in Python 3.11 and 3.12 a `get` whose time runs out while another
thread holds the interpreter may wait for ever (it goes on with the time that is left, and takes less than none for no
limit). `queue.Queue` takes locks, which a destructor that puts something in must not wait for.
"""

import threading
import time
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Inbox(Generic[_Item]):
    """Any thread may put, also from a destructor and in the midst of anything; one thread at a time gets."""

    __slots__ = ("_bell", "_items")

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._bell = threading.Lock()  # held as long as nothing has come since the receiver looked

    def put(self, item: _Item) -> None:
        self._items.append(item)
        with suppress(RuntimeError):  # it has been rung already
            self._bell.release()

    def leave(self, item: _Item) -> None:
        """Put something that can wait until anything else comes."""
        self._items.append(item)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether something is there, or comes in so many seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self._items:  # also when it was rung for what somebody else has got
            if not self._bell.acquire(timeout=-1 if end is None else max(0.0, end - time.monotonic())):
                break
        return bool(self._items)

    def get(self, timeout: float | None = None) -> _Item | None:
        """What came first; None if nothing comes in so many seconds."""
        return self._items.popleft() if self._items or self.wait(timeout) else None

    def __len__(self) -> int:
        return len(self._items)
