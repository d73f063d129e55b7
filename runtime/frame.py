"""The buffers of one step on one island, while its instructions are carried out."""

from collections.abc import Mapping, Sequence
from typing import Any

from atoll.runtime.failure import Failure
from atoll.runtime.record import Record
from atoll.runtime.store import Store


class Frame:
    """outputs: by buffer, the handles under which the store keeps it; sizes: of each buffer, as the store counts it."""

    __slots__ = ("_sizes", "_store", "borrowed", "failed", "fetched", "outputs", "record", "values")

    def __init__(self, record: Record, outputs: Mapping[int, int], store: Store, sizes: Sequence[int]) -> None:
        self.record = record
        self.outputs = outputs
        self.values: dict[int, Any] = {}
        # Of the values, those whose bytes are not the step's: the handles under which the store has them; None if
        # another host has it.
        self.borrowed: dict[int, int | None] = {}
        # Whether any value is a Failure; as long as none is, nobody looks for one.
        self.failed = False
        # Of a traced step, what comes from other islands: the source, the buffer, and when it was sent.
        self.fetched: list[tuple[str, int, int]] = []
        self._store = store
        self._sizes = sizes

    def set(self, number: int, value: Any) -> None:  # noqa: ANN401 (a Value)
        """A value that is the step's own."""
        self.values[number] = value
        self.failed |= isinstance(value, Failure)
        self._store.add(self._sizes[number])

    def borrow(self, number: int, value: Any, handle: int | None) -> None:  # noqa: ANN401 (a Value)
        """A value that the store has, or another host."""
        self.values[number] = value
        self.failed |= isinstance(value, Failure)
        self.borrowed[number] = handle

    def publish(self, number: int) -> None:
        """Give a value, if it is an output, to whoever waits for it; from now on its bytes count with its handle."""
        handle = self.outputs.get(number)
        if handle is not None and self._store.fill(handle, self.values[number], self._sizes[number]):
            self.borrowed[number] = handle

    def drop(self, numbers: Sequence[int]) -> None:
        """Forget values after their last use."""
        values, borrowed, sizes, size = self.values, self.borrowed, self._sizes, 0
        for number in numbers:
            del values[number]
            if number not in borrowed:
                size += sizes[number]
            elif (handle := borrowed.pop(number)) is not None:
                self._store.drop(handle)
        self._store.remove(size)
