"""What an exchange between replicas has in any form: its values, the replicas' streams, and the ways between these."""

from collections.abc import Callable, Sequence

from atoll.compiler.emit.bundles import Bundle
from atoll.compiler.emit.codes import Codes
from atoll.compiler.emit.exchange_code import ExchangedArray, Shared, pack_code, vector_of
from atoll.compiler.emit.stream import ALL, Name, Stream
from atoll.compiler.replicas.exchange import Unit
from atoll.compiler.task_name import EXCHANGE, TaskName
from atoll.runtime.program import Code


class Wires:
    """The values of one exchange, and how one replica sends to another.

    streams: those of the island in each replica.
    """

    def __init__(self, number: int, bundle: Bundle, unit: Unit, streams: Sequence[Stream], codes: Codes) -> None:
        self.streams = streams
        self.count = len(streams)
        self.unit = unit
        self._number = number
        self._members = [bundle.members[member] for member in unit.members]
        self._codes = codes
        self._tags: dict[tuple[int, int, int], int] = {}  # of what the first sends to the second in a step

    @property
    def kind(self) -> str:
        return self._members[0].kind

    @property
    def wholes(self) -> tuple[ExchangedArray, ...]:
        return tuple(one.whole for one in self._members)

    @property
    def shared(self) -> tuple[Shared, ...]:
        return tuple(one.shared for one in self._members)

    @property
    def shares(self) -> tuple[ExchangedArray, ...]:
        return tuple(one.share for one in self.shared)

    @property
    def results(self) -> list[Name]:
        return [(one.made, ALL) for one in self._members]

    def given(self, replica: int) -> list[int]:
        """The buffers of what a replica has."""
        return [self.streams[replica].buffer_of((one.given, ALL)) for one in self._members]

    def packed(self, replica: int, arrays: Sequence[ExchangedArray]) -> int:
        """All that a replica has as one buffer."""
        own = self.given(replica)
        if not self.unit.is_packed:
            return own[0]
        (vector,) = self.run(replica, "pack", self.code(pack_code, arrays), own, [vector_of(arrays)])
        return vector

    def code(self, make: Callable[..., Code], *arguments: object) -> int:
        """The number of a code."""
        return self._codes.number(make, *arguments)

    def task(self, name: str) -> str:
        """What a task of the exchange is called."""
        return str(TaskName(EXCHANGE, self._number, part=name))

    def run(
        self, replica: int, name: str, code: int, inputs: Sequence[int], results: Sequence[ExchangedArray]
    ) -> Sequence[int]:
        """Let a replica run a task; returns the buffers of what it makes."""
        made = [one.buffer for one in results]
        return self.streams[replica].run_on(self.task(name), code, inputs, made)

    def send(self, number: int, source: int, target: int, step: int) -> None:
        self.streams[source].send_buffer(number, self.streams[target].name, self._tag(source, target, step))

    def receive(self, array: ExchangedArray, source: int, target: int, step: int) -> int:
        name = self.streams[source].name
        return self.streams[target].receive(array.buffer, name, self._tag(source, target, step))

    def _tag(self, source: int, target: int, step: int) -> int:
        """Whichever end is written first decides it."""
        if (source, target, step) not in self._tags:
            self._tags[source, target, step] = self.streams[source].new_tag()
        return self._tags[source, target, step]
