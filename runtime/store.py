"""The values that an island keeps beyond a step, each under a handle, and how many bytes are live there.

Pure: it neither waits nor looks at what the values are.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from atoll.runtime.failure import Failure
from atoll.runtime.program_memory import NOTHING, Bytes

# What someone reads who comes too late, or after a message was lost.
GONE = Failure(
    "the island does not have the array: it was donated to a step, or the island was never asked to make it",
    remedy="use what the step returned instead",
)


@dataclass(slots=True)
class Kept:
    """A value, or the place of one that a step will leave here.

    program: the number of the one that made it, or for which it was put here.
    uses: how many will still read or take it: steps that were asked for, and the controller while it has the handle.
    waiting: whom to tell when it is there.
    """

    program: int
    value: Any = None
    size: Bytes = NOTHING
    uses: int = 1
    waiting: tuple[Callable[[Any], None], ...] = ()


class ByteCount:
    """Bytes in a memory.

    peak: the most that were live at once since the store began to measure it.
    """

    __slots__ = ("live", "peak")

    def __init__(self) -> None:
        self.live = 0
        self.peak = 0

    def add(self, size: int) -> None:
        self.live = live = self.live + size
        if live > self.peak:
            self.peak = live


class Store:
    """Only the island's host writes; `look` and `owned` are for any thread.

    A handle is expected or put once, and is gone when nobody uses it any more. To let go of one that is not here is no
    mistake: it was taken, or its step was never asked for.
    """

    def __init__(self) -> None:
        self._entries: dict[int, Kept] = {}
        self.device = ByteCount()
        self.host = ByteCount()

    def __len__(self) -> int:
        return len(self._entries)

    # The bytes of values, of those with a handle and of a step's own.

    def begin_step(self) -> None:
        """Start to measure the peaks anew."""
        for count in (self.device, self.host):
            count.peak = count.live

    def add(self, size: Bytes) -> None:
        """Count values that are there from now on, less those that they replace."""
        self.device.add(size.device)
        if size.host:
            self.host.add(size.host)

    def remove(self, size: Bytes) -> None:
        self.device.live -= size.device
        self.host.live -= size.host

    def adding(self, size: Bytes) -> Callable[[], None]:
        """What adds so many bytes, made once for what is added in every step: most of it has none on the host."""
        count, more = self.device, size.device

        def add() -> None:
            count.live = live = count.live + more
            if live > count.peak:
                count.peak = live

        return partial(self.add, size) if size.host else add

    def removing(self, size: Bytes) -> Callable[[], None]:
        """What removes so many bytes, likewise."""
        count, less = self.device, size.device

        def remove() -> None:
            count.live -= less

        return partial(self.remove, size) if size.host else remove

    # Handles.

    def expect(self, handle: int, program: int) -> None:
        """A step of a program that was asked for will leave a value here."""
        self._entries[handle] = Kept(program)

    def put(self, handle: int, program: int, value: Any, size: Bytes) -> None:  # noqa: ANN401 (a Value)
        """Keep a value that comes from outside."""
        self._entries[handle] = Kept(program, value, size)
        self.add(size)

    def use(self, handle: int) -> None:
        """A step that was asked for will read it, whoever lets go of it before."""
        if (entry := self._entries.get(handle)) is not None:
            entry.uses += 1

    def fill(self, handle: int, value: Any, size: Bytes) -> bool:  # noqa: ANN401 (a Value)
        """The step that was to leave a value has it, and is one that uses it; its bytes are counted already.

        False if everyone has let go of it; then it stays the step's.
        """
        entry = self._entries.get(handle)
        if entry is None:
            return False
        entry.value, entry.size = value, size
        entry.uses += 1
        if entry.waiting:
            waiting, entry.waiting = entry.waiting, ()
            for tell in waiting:
                tell(value)
        return True

    def drop(self, handle: int) -> None:
        """One less will use it."""
        entry = self._entries.get(handle)
        if entry is None:
            return
        entry.uses -= 1
        if not entry.uses:
            self._forget(handle, entry)

    def take(self, handle: int) -> Any:  # noqa: ANN401 (a Value)
        """Its value, which is the caller's now."""
        entry = self._entries.get(handle)
        if entry is None or entry.value is None:
            return GONE
        self._forget(handle, entry)
        return entry.value

    def take_over(self, handle: int, size: Bytes) -> Any:  # noqa: ANN401 (a Value)
        """Its value, which goes on taking memory: so many bytes of a step that has it to itself."""
        entry = self._entries.get(handle)
        if entry is None or entry.value is None:
            self.add(size)
            return GONE
        del self._entries[handle]  # nobody waits for it, as it is here
        if size != entry.size:
            self.remove(entry.size)
            self.add(size)
        return entry.value

    def look(self, handle: int) -> Any:  # noqa: ANN401 (a Value)
        """Its value; None if it is not here."""
        entry = self._entries.get(handle)
        return None if entry is None else entry.value

    def owned(self) -> Mapping[int, Sequence[Any]]:
        """The values that are here, by the programs that they belong to."""
        found: defaultdict[int, list[Any]] = defaultdict(list)
        for entry in tuple(self._entries.values()):
            if entry.value is not None:
                found[entry.program].append(entry.value)
        return found

    def wait(self, handle: int, tell: Callable[[Any], None]) -> None:
        """Have the value told, once it is there."""
        entry = self._entries.get(handle)
        if entry is None or entry.value is not None:
            tell(GONE if entry is None else entry.value)
        else:
            entry.waiting += (tell,)

    def _forget(self, handle: int, entry: Kept) -> None:
        del self._entries[handle]
        self.remove(entry.size)
        for tell in entry.waiting:
            tell(GONE)
