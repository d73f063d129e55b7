"""The buffers of an island: values by number for each step, and how many bytes are live."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from atoll.compiler.errors import AtollError, UsageError
from atoll.runtime.inbox import Inbox
from atoll.runtime.program import Buffer
from atoll.runtime.step import Step
from atoll.runtime.waiting import overdue


@dataclass(frozen=True, eq=False)
class Failure:
    """Stands where a value would be that could not be computed; what is computed from it fails alike."""

    error: AtollError


@dataclass(frozen=True)
class Origin:
    """Where a value comes from."""

    step: Step | None  # None for an argument that was put there ahead of time
    island: str
    buffer: int


Value = Any  # a jax.Array or a Failure

# Stands where a value was that a step has taken, for whoever asks at that very moment.
_GONE = Failure(UsageError("the array was donated to a step and is gone", remedy="use what the step returned instead"))


class Store:
    """Counts the live bytes of one island; only the island's worker writes.

    `Held` values are let go of by any thread, even inside the garbage collector. They only append to `_changes`, which
    needs no lock, and the worker adds up what it finds there.
    """

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self.sizes = tuple(buffer.bytes for buffer in buffers)
        self._live = 0
        self._peak = 0
        self._changes: deque[int] = deque()

    @property
    def live(self) -> int:
        return self._live + sum(list(self._changes))

    def begin_step(self) -> None:
        """Start to measure the peak anew."""
        self._settle()
        self._peak = self._live

    def add(self, size: int) -> None:
        self._live += size
        if self._live > self._peak:
            self._settle()
            self._peak = max(self._peak, self._live)

    def remove(self, size: int) -> None:
        self._live -= size

    def adjust(self, change: int) -> None:
        """As `add` and `remove`, for every thread."""
        self._changes.append(change)

    @property
    def peak(self) -> int:
        """The most bytes that were live at once since the step began."""
        return self._peak

    def _settle(self) -> None:
        while self._changes:
            self._live += self._changes.popleft()


class Held:
    """A value that outlives its step, or will: an output, or what one of the caller's arrays was copied to.

    It is filled once, by the island's worker, and read by any thread. Its bytes count as live until it is emptied or
    forgotten.
    """

    __slots__ = ("_base", "_size", "_store", "_watchers", "origin", "readers", "shared", "value")

    def __init__(self, store: Store, origin: Origin) -> None:
        self.value: Value | None = None
        self.origin = origin
        # More than one array of the caller's rests on it, so that donating one of them must not take it.
        self.shared = False
        # The feeds of steps, of this program and of others, that are still to read it.
        self.readers: set[int] = set()
        self._watchers: set[Callable[[], None]] = set()
        self._store = store
        self._size = 0
        self._base: Held | None = None

    def fill(self, value: Value, size: int) -> None:
        """Set the value, whose bytes the store has counted already."""
        self._size = size
        self._set(value)

    def bring(self, value: Value, size: int) -> None:
        """Set a value that comes from outside of a step; its bytes are new."""
        self._store.adjust(size)
        self.fill(value, size)

    def rest_on(self, base: "Held", value: Value) -> None:
        """Set the value to that of another, where its bytes are counted."""
        self._base = base
        self._set(value)

    def _set(self, value: Value) -> None:
        self.value = value
        self._notify()

    def get(self, patience: float) -> Value:
        """The value; waits until it is filled, which is long before it is computed."""
        if self.value is None:
            filled: Inbox[bool] = Inbox()
            end = time.monotonic() + patience
            self.watch(partial(filled.put, True))
            while self.value is None:
                if filled.get(max(0, end - time.monotonic())) is None:
                    raise overdue(f"island {self.origin.island} has not started to compute a value", patience)
                self.watch(partial(filled.put, True))  # it may have been told of something else
        return self.value

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have something called once, when the value is filled or has fewer readers; look again after this.

        It may be called by a destructor, in any thread and in the midst of anything, so it must not wait for a lock.
        """
        self._watchers.add(watcher)

    def release(self, reader: int) -> None:
        """A step will not read the value any more."""
        self.readers.discard(reader)
        self._notify()

    def _notify(self) -> None:
        while self._watchers:
            try:
                watcher = self._watchers.pop()
            except KeyError:  # another thread was faster
                return
            watcher()

    @property
    def is_free(self) -> bool:
        """Whether the value may be overwritten."""
        return not self.readers and not self.shared

    def empty(self) -> None:
        """Forget the value, which is someone else's now."""
        self.value, self._base = _GONE, None
        size, self._size = self._size, 0
        if size:
            self._store.adjust(-size)

    def __del__(self) -> None:
        if self._size:
            self._store.adjust(-self._size)


class Use(Enum):
    """What a step may do with a value that it is given."""

    BORROW = "read it"
    TAKE = "overwrite it: it is gone for everyone else"
    COPY = "overwrite a copy of it"


class Feed:
    """An argument of a step that is an output of an earlier one; the worker gets its value.

    As long as there is a feed that does not take the value, nobody else may: other islands and other programs have
    threads of their own, which may be ahead of the one that reads it.
    """

    __slots__ = ("held", "use")

    def __init__(self, held: Held, use: Use) -> None:
        self.held = held
        self.use = use
        if use is not Use.TAKE:
            held.readers.add(id(self))

    def __del__(self) -> None:
        if self.use is not Use.TAKE:
            self.held.release(id(self))

    def is_ready(self, wake: Callable[[], None]) -> bool:
        """Whether the step can have the value now; if not, `wake` is called when it is time to ask again.

        Steps that are still to read what this one takes began earlier, so they wait for nothing that comes behind.
        """
        if not self._is_ready():
            self.held.watch(wake)
        return self._is_ready()

    def _is_ready(self) -> bool:
        held = self.held
        return held.value is not None and (self.use is not Use.TAKE or held.shared or not held.readers)


class Frame:
    """The buffers of one step on one island, while its instructions are carried out."""

    __slots__ = ("borrowed", "failed", "feeds", "outputs", "step", "values")

    def __init__(self, step: Step, outputs: Mapping[int, Held]) -> None:
        self.step = step
        self.outputs = outputs
        self.values: dict[int, Value] = {}
        # Those of the values whose bytes are counted with one that outlives the step.
        self.borrowed: dict[int, Held] = {}
        # What keeps others from taking those values, until their last use here is enqueued.
        self.feeds: dict[int, Feed] = {}
        # Whether any value is a Failure; as long as none is, nobody looks for one.
        self.failed = False
