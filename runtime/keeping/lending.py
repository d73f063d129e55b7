"""Who has the islands that a keeper keeps, and what follows from what happens. Pure: it says what is to be done.

One controller at a time. Who comes while processes start, or tidy up, waits; who comes while another one is there is
told so.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from atoll.runtime.processes.assignment import Seat

Key = Any  # what the keeper knows a guest by


@dataclass(frozen=True)
class Admit:
    """The islands are this guest's."""

    guest: Key


@dataclass(frozen=True)
class Refuse:
    """They cannot be. why: None if another guest has them."""

    guest: Key
    why: str | None


@dataclass(frozen=True)
class Renew:
    """Processes are to be ended, as far as they are there, and started."""

    seats: tuple[Seat, ...]


@dataclass(frozen=True)
class Dismiss:
    """Processes are to be told that their controller is gone."""

    seats: tuple[Seat, ...]


Action = Admit | Refuse | Renew | Dismiss


class Lending:
    """seats: of all processes, none of which is there yet."""

    def __init__(self, seats: Collection[Seat]) -> None:
        self._seats = tuple(seats)
        self.there: set[Seat] = set()
        self.serving: set[Seat] = set()  # that have, or had, a controller, and are not free yet
        self.guest: Key | None = None
        self.has_begun = False  # whether the guest has had processes told to serve it
        self.trouble = ""  # why processes could not be started
        self._starting: frozenset[Seat] = frozenset()
        self._waiting: deque[Key] = deque()

    def come(self, guest: Key) -> list[Action]:
        """A controller asks for the islands."""
        if self.guest is not None:
            return [Refuse(guest, None)]
        self._waiting.append(guest)
        return list(self._go_on())

    def go(self, guest: Key) -> list[Action]:
        """It is gone."""
        if guest in self._waiting:
            self._waiting.remove(guest)
        if guest is not self.guest:
            return []
        self.guest = None
        parted = tuple(sorted(self.serving))
        return [*([Dismiss(parted)] if parted else []), *self._go_on(is_eager=True)]

    def serve(self, seats: Collection[Seat]) -> None:
        """Processes were told to serve the guest."""
        self.serving.update(seats)
        self.has_begun = True

    def free(self, seat: Seat) -> list[Action]:
        """A process has nothing of its controller's any more."""
        self.serving.discard(seat)
        return list(self._go_on(is_eager=True))

    def lose(self, seat: Seat) -> list[Action]:
        """A process has ended. It is started again when it is needed, or when its controller is gone."""
        was_serving = seat in self.serving
        self.there.discard(seat)
        self.serving.discard(seat)
        return list(self._go_on(is_eager=was_serving))

    def started(self, seats: Collection[Seat]) -> list[Action]:
        """Processes are there."""
        self._starting = frozenset()
        self.trouble = ""
        self.there.update(seats)
        return list(self._go_on())

    def not_started(self, why: str) -> list[Action]:
        """They could not be started; they are tried again when they are needed."""
        self._starting = frozenset()
        self.trouble = why
        refused = [Refuse(guest, why) for guest in self._waiting]
        self._waiting.clear()
        return [*refused]

    @property
    def is_tidying(self) -> bool:
        """Whether processes are not free yet of a controller that is gone."""
        return self.guest is None and bool(self.serving)

    def is_starting(self, seat: Seat) -> bool:
        """Whether this process is started again."""
        return seat in self._starting

    @property
    def missing(self) -> tuple[Seat, ...]:
        """The processes of islands of which one is not there; they share its fate."""
        islands = {number for number, index in self._seats if (number, index) not in self.there}
        return tuple(seat for seat in self._seats if seat[0] in islands)

    def _go_on(self, *, is_eager: bool = False) -> Iterator[Action]:
        """is_eager: whether to start what is missing before anybody asks."""
        if self.guest is not None or self.serving or self._starting:
            return
        if missing := self.missing:
            if self._waiting or is_eager:
                self._starting = frozenset(missing)
                self.there.difference_update(missing)
                yield Renew(missing)
        elif self._waiting:
            self.guest, self.has_begun = self._waiting.popleft(), False
            yield Admit(self.guest)
            yield from (Refuse(other, None) for other in self._waiting)
            self._waiting.clear()
