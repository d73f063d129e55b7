"""Questions what processes have, each of which ends once all that are asked have said so, or it is too late."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import count

from atoll.runtime.keeping.talk import Contents
from atoll.runtime.processes.assignment import Seat

Told = dict[Seat, Contents]


@dataclass
class _Poll:
    until: float
    asked: frozenset[Seat]
    then: Callable[[Told], None]
    told: Told = field(default_factory=dict)


class Polls:
    """ask: puts a question, which has this number, to a process."""

    def __init__(self, ask: Callable[[Seat, int], None]) -> None:
        self._ask = ask
        self._requests = count()
        self._open: dict[int, _Poll] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    def start(self, asked: Collection[Seat], until: float, then: Callable[[Told], None]) -> None:
        """Ask these; `then` is called with what was told, by `look`."""
        request = next(self._requests)
        self._open[request] = _Poll(until, frozenset(asked), then)
        for seat in asked:
            self._ask(seat, request)

    def tell(self, contents: Contents) -> None:
        """A process has answered."""
        if contents.request in self._open:
            self._open[contents.request].told[contents.seat] = contents

    def forget(self, seat: Seat) -> None:
        """What this process has told is not what it has any more: it is asked again."""
        for request, poll in self._open.items():
            if poll.told.pop(seat, None) is not None:
                self._ask(seat, request)

    def look(self, there: Collection[Seat], now: float) -> None:
        """End what is answered by all that are there, or is late."""
        for request, poll in list(self._open.items()):
            if poll.asked.intersection(there) <= poll.told.keys() or now > poll.until:
                del self._open[request]
                poll.then(poll.told)
