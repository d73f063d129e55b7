"""Why an island is lost, which is told once: that of its processes which ended, rather than what others say of it."""

import threading
from collections.abc import Callable, Collection

from atoll.runtime.failure import Failure

# How many seconds the end of a process may take to be known, after others have said what came of it.
_ECHO = 3.0


class Fate:
    """Of an island in several processes. end: is called when it is lost, with the reason; for any thread."""

    def __init__(self, island: str, end: Callable[[Failure], None]) -> None:
        self._island = island
        self._end = end
        self._others: dict[str, Failure] = {}  # islands that were lost
        self._news = threading.Condition()
        self._is_lost = False

    def hear(self, islands: Collection[str], failure: Failure) -> None:
        """Other islands were lost."""
        with self._news:
            self._others.update(dict.fromkeys(islands, failure))
            self._news.notify_all()

    def lose(self, failure: Failure) -> None:
        """It is lost, and this is the reason, unless there was one before."""
        with self._news:
            if self._is_lost:
                return
            self._is_lost = True
            self._news.notify_all()
        self._end(failure)

    def give_up(self, failure: Failure) -> None:
        """One of its processes cannot go on; perhaps only because another one has ended, which is told then."""
        with self._news:
            self._news.wait_for(lambda: self._is_lost, _ECHO)
        self.lose(failure)

    def part(self, source: str, why: Failure) -> None:
        """One of its processes has used what another one goes without, of what an island was to send."""
        with self._news:
            self._news.wait_for(lambda: self._is_lost or why.is_loss or source in self._others, _ECHO)
            cause = why if why.is_loss else self._others.get(source, why)
        said = f"{cause.where}: {cause.what}" if cause.where else cause.what
        self.lose(Failure.loss(f"island {self._island} was lost: its processes did not get the same values, as {said}"))
