"""Waiting for values, with an end."""

import time
from typing import Any

from atoll.compiler.errors import AtollError


def wait_ready(value: Any, patience: float, what: str) -> None:  # noqa: ANN401 (a jax.Array, or what looks like one)
    """Wait until a value is computed, or cannot be; AtollError if that takes longer than `patience` seconds.

    jax's own wait ends neither with Ctrl-C nor with time. Sleeps are a small part of what has been waited already.
    """
    if value.is_ready():
        return
    start = time.monotonic()
    while not value.is_ready():
        waited = time.monotonic() - start
        if waited > patience:
            raise overdue(what, patience)
        time.sleep(min(waited / 16, 0.001))


def overdue(what: str, patience: float) -> AtollError:
    remedy = "look at what that island is doing: a function that it calls, or another program, may not come to an end"
    return AtollError(f"{what} after {patience:g} seconds", remedy=remedy)


def is_cut_short(kind: type[BaseException] | None) -> bool:
    """Whether what ends a program, or a block of it, is Ctrl-C: then nobody waits any more."""
    return kind is not None and issubclass(kind, KeyboardInterrupt)
