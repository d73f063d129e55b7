"""Numbers on their way from the thread that reads them to the one that writes them."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Load:
    """The numbers of a part of a leaf. leaf: its path. index: where they are in it, as numpy indexes."""

    leaf: str
    index: tuple[slice, ...]
    numbers: Any


class Conveyor:
    """Carries at most so many bytes at once, and one load however large it is.

    A load takes room from when it is put on until it is written. Whichever end fails tells the other why.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._taken = 0
        self._loads: deque[Load] = deque()
        self._is_over = False
        self._broken: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, load: Load) -> None:
        """Waits until there is room; raises what the other end has failed with."""
        size = load.numbers.nbytes
        with self._changed:
            self._changed.wait_for(lambda: self._broken or not self._taken or self._taken + size <= self._room)
            if self._broken is not None:
                raise self._broken
            self._taken += size
            self._loads.append(load)
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing comes any more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def take(self) -> Load | None:
        """Waits for a load, None after the last; raises what the other end has failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._broken or self._loads or self._is_over)
            if self._broken is not None:
                raise self._broken
            return self._loads.popleft() if self._loads else None

    def written(self, size: int) -> None:
        """A load of so many bytes needs no room any more; from any thread."""
        with self._changed:
            self._taken -= size
            self._changed.notify_all()

    def break_down(self, error: BaseException) -> None:
        """One end has failed."""
        with self._changed:
            self._broken = self._broken or error
            self._loads.clear()
            self._changed.notify_all()
