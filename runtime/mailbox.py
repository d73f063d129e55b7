"""What comes to an island of a program, until a step takes it; and what the island goes without.

Where several processes share an island, each of them has a mailbox. All must take a failure where one does, as in the
next collective they would wait for each other for ever.
"""

import threading
from collections.abc import Callable, Collection

from atoll.runtime.failure import Failure
from atoll.runtime.messages import GoesWithout, Offer, Parted

Key = tuple[int, str, int]  # step, source and tag


class Mailbox:
    """`refuse` is for any thread, all else for the island's.

    program: its number. tell: is told what the island goes without, once for each value, and what it has taken though
    another process goes without it; None if it has no other processes.
    """

    def __init__(self, program: int, island: str, tell: Callable[[GoesWithout | Parted], None] | None = None) -> None:
        self._program = program
        self._island = island
        self._tell = tell
        self._offers: dict[Key, Offer] = {}
        self._lost: dict[str, Failure] = {}  # islands from which nothing comes any more
        self._last: dict[tuple[str, int], int] = {}  # by source and tag, the last step that has taken something
        self._without: set[Key] = set()
        self._lock = threading.Lock()

    def put(self, offer: Offer) -> None:
        """Keep what has come, unless the island goes without it."""
        key = offer.step, offer.source, offer.tag
        with self._lock:
            if key not in self._without:
                self._offers[key] = offer

    def lose(self, islands: Collection[str], failure: Failure) -> None:
        """Nothing comes from these islands any more; the failure stands in place of what has not come."""
        self._lost.update(dict.fromkeys(islands, failure))

    def give_up(self, key: Key, failure: Failure) -> None:
        """The failure stands in place of what has not come in time."""
        with self._lock:
            self._offers.setdefault(key, self._failed(key, failure))

    def is_lost(self, island: str) -> bool:
        return island in self._lost

    def take(self, key: Key) -> Offer | None:
        """What has come, or what stands in its place; None if there is nothing yet."""
        step, source, tag = key
        with self._lock:
            offer = self._offers.pop(key, None)
            if offer is None and source in self._lost:
                offer = self._failed(key, self._lost[source])
            if offer is None:
                return None
            self._last[source, tag] = step
            if self._tell is None or not isinstance(offer.value, Failure) or key in self._without:
                return offer
            self._without.add(key)
        self._tell(GoesWithout(self._program, step, self._island, source, tag, offer.value))
        return offer

    def refuse(self, told: GoesWithout) -> bool:
        """Go without a value as another process does; whether that is news. If a step has taken it, that is told."""
        key = told.step, told.source, told.tag
        with self._lock:
            if key in self._without:
                return False
            if is_in_time := self._last.get((told.source, told.tag), -1) < told.step:
                self._without.add(key)
                self._offers[key] = self._failed(key, told.failure)
        if not is_in_time and self._tell is not None:
            self._tell(Parted(told.source, told.failure))
        return is_in_time

    def _failed(self, key: Key, failure: Failure) -> Offer:
        step, source, tag = key
        return Offer(self._program, step, self._island, source, tag, failure)
