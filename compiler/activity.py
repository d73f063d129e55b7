"""What atoll is doing just now: said where it is done, for whoever waits for it, and for the sentence after a crash."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Is told, on any thread."""

    def began(self, doing: str, reproducer: str) -> None:
        """Something has begun. reproducer: the file that would show a crash again, if there is one."""

    def expects(self, pieces: int, alike: bool) -> None:
        """What begins now has so many pieces; 0 for no more. alike: whether they take about as long as each other."""

    def ended(self) -> None:
        """A piece is done."""


# Of this process, in which work is announced from deep inside passes and from threads of hosts.
_listeners: list[Listener] = []


def announce(doing: str, reproducer: str = "") -> None:
    """Say what begins."""
    log.debug("%s", doing)
    for one in tuple(_listeners):
        one.began(doing, reproducer)


def expect(pieces: int, *, alike: bool) -> None:
    """Say of how many pieces it is."""
    for one in tuple(_listeners):
        one.expects(pieces, alike)


def piece_ended() -> None:
    """Say that a piece of it is done."""
    for one in tuple(_listeners):
        one.ended()


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Have somebody listen."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
