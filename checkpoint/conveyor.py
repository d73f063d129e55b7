"""Numbers on their way from the thread that reads them to the one that writes them."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Where a process writes a leaf to, by the path of the leaf and the number of the process, as tensorstore has it.
PlaceOf = Callable[[str, int], dict[str, Any]]


@dataclass(frozen=True)
class Crate:
    """The numbers of a part of a leaf. leaf: its path. index: where they are in it, as numpy indexes."""

    leaf: str
    index: tuple[slice, ...]
    numbers: Any


class Conveyor:
    """Carries at most so many bytes at once, and one crate however large it is.

    A crate takes room from when it is put on until it is written. Whichever end fails tells the other why.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._taken = 0
        self._crates: deque[Crate] = deque()
        self._place_of: PlaceOf | None = None
        self._is_over = False
        self._broken: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, crate: Crate) -> None:
        """Waits until there is room; raises what the other end has failed with."""
        size = crate.numbers.nbytes
        with self._changed:
            self._changed.wait_for(lambda: self._broken or not self._taken or self._taken + size <= self._room)
            self._check()
            self._taken += size
            self._crates.append(crate)
            self._changed.notify_all()

    def open(self, place_of: "PlaceOf") -> None:
        """There are files now that can be written to."""
        with self._changed:
            self._place_of = place_of
            self._changed.notify_all()

    def opened(self) -> "PlaceOf":
        """Waits until there are files; raises what the other end has failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._broken or self._place_of)
            self._check()
            assert self._place_of is not None
            return self._place_of

    def end(self) -> None:
        """Nothing comes any more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def take(self) -> Crate | None:
        """Waits for a crate, None after the last; raises what the other end has failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._broken or self._crates or self._is_over)
            self._check()
            return self._crates.popleft() if self._crates else None

    def written(self, size: int) -> None:
        """A crate of so many bytes needs no room any more; from any thread."""
        with self._changed:
            self._taken -= size
            self._changed.notify_all()

    def break_down(self, error: BaseException) -> None:
        """One end has failed."""
        with self._changed:
            self._broken = self._broken or error
            self._crates.clear()
            self._changed.notify_all()

    def check(self) -> None:
        """Raises what the other end has failed with."""
        with self._changed:
            self._check()

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken
