"""Waiting for what happens in its own time, and asking again where somebody gives up before that."""

import contextlib
import time

import pytest
from atoll.compiler.errors import AtollError


def until(is_so, what, seconds=60):
    """Wait until something is so; a failure that names it if it never is."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def in_the_end(ask, times=100):
    """What is answered, however often nobody had the patience for it: on a busy machine half a second is short."""
    for _ in range(times):
        with contextlib.suppress(AtollError):
            return ask()
    return pytest.fail(f"asked {times} times, and it never came")
