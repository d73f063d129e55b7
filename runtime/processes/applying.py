"""Functions that the controller has the process of an island call, with values where they live."""

import threading
from collections.abc import Callable
from typing import Any

from atoll.runtime.failure import Failure, reason
from atoll.runtime.messages import Apply, ApplyAnswer, Fetch, Told
from atoll.runtime.processes.tiles import held


class Applying:
    """Each is called on a thread of its own, as it may take long: the values it is called with are its host's.

    tell: is given the answer.
    """

    def __init__(self, tell: Callable[[Told], None]) -> None:
        self._tell = tell
        self._waiting: dict[int, Callable[[Any], Any]] = {}  # by request, for a value

    def expect(self, message: Apply) -> Fetch | None:
        """What the host is to be asked for first, whose answer goes to `take`."""
        if message.handle is None:
            self._begin(message.request, message.function, None)
            return None
        self._waiting[message.request] = message.function
        return Fetch(message.request, message.island, message.handle)

    def take(self, told: Told) -> bool:
        """Whether a function waits for what the host tells, which is called with it then."""
        function = self._waiting.pop(told.request, None)
        if function is not None:
            self._begin(told.request, function, told.answer)
        return function is not None

    def _begin(self, request: int, function: Callable[[Any], Any], value: Any) -> None:  # noqa: ANN401 (a Value)
        work = (request, function, value)
        threading.Thread(target=self._call, args=work, name="atoll applies a function", daemon=True).start()

    def _call(self, request: int, function: Callable[[Any], Any], value: Any) -> None:  # noqa: ANN401 (a Value)
        self._tell(Told(request, _answer(function, value)))


def _answer(function: Callable[[Any], Any], value: Any) -> ApplyAnswer | Failure:  # noqa: ANN401 (a Value)
    if isinstance(value, Failure):
        return value
    if value is not None:
        try:
            value.block_until_ready()  # of one that could not be computed, jax ends the process if its numbers are read
        except Exception as error:
            return Failure(reason(error), is_of_device=True)
        value = held(value)
    try:
        return ApplyAnswer((function(value),))
    except Exception as error:
        return Failure(reason(error))
