"""The buffers of one step on one island, while its instructions are carried out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from atoll.runtime.failure import Failure
from atoll.runtime.program_memory import Bytes
from atoll.runtime.record import Record
from atoll.runtime.store import Store


class Frame:
    """outputs: by buffer, the handles under which the store keeps it; sizes: of each buffer, as the store counts it."""

    __slots__ = ("_sizes", "_store", "borrowed", "failed", "fetched", "outputs", "record", "values")

    def __init__(self, record: Record, outputs: Mapping[int, int], store: Store, sizes: Sequence[Bytes]) -> None:
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

    def take(self, number: int, handle: int) -> None:
        """A value that the store has, and that is the step's own from now on."""
        value = self.values[number] = self._store.take_over(handle, self._sizes[number])
        self.failed |= isinstance(value, Failure)

    def publish(self, numbers: Iterable[int]) -> None:
        """Give those of these values that are outputs to whoever waits for them; from now on their bytes count with
        their handles."""
        outputs, values, sizes, fill = self.outputs, self.values, self._sizes, self._store.fill
        for number in numbers:
            handle = outputs.get(number)
            if handle is not None and fill(handle, values[number], sizes[number]):
                self.borrowed[number] = handle

    def drop(self, numbers: Sequence[int]) -> None:
        """Forget values after their last use."""
        values, borrowed, sizes, store = self.values, self.borrowed, self._sizes, self._store
        for number in numbers:
            del values[number]
            if number not in borrowed:
                store.remove(sizes[number])
            elif (handle := borrowed.pop(number)) is not None:
                store.drop(handle)
