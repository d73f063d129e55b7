"""What atoll says of its work, by Python's logging, below the logger `atoll`; to standard error if somebody asks.

Each pass, phase and fragment is an `info`, each thing that begins a `debug`.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# Names the level, for any program that uses atoll and for the processes of its islands.
VARIABLE = "ATOLL_LOG"

LEVELS = ("debug", "info", "warning", "error")

_LOGGER = logging.getLogger("atoll")
_LONG = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _ToStandardError(logging.Handler):
    """To what standard error is when something is said: somebody may have redirected it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except Exception:  # as logging's own handlers do
            self.handleError(record)


def level_asked(environment: Mapping[str, str] = os.environ) -> str:
    """What `ATOLL_LOG` asks for; empty if for nothing. What is no level is a warning."""
    level = environment.get(VARIABLE, "").lower()
    return level if level in ("", *LEVELS) else "warning"


def follow_environment(environment: Mapping[str, str] = os.environ) -> None:
    """From now on say what `ATOLL_LOG` asks for."""
    if level := level_asked(environment):
        _listen(level, _LONG)
        if environment[VARIABLE].lower() not in LEVELS:
            names = ", ".join(LEVELS)
            _LOGGER.warning("%s is %s, which is no level; write one of %s", VARIABLE, environment[VARIABLE], names)


@contextmanager
def told(is_verbose: bool, environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Say warnings meanwhile; if that is wanted, each pass; and what `ATOLL_LOG` asks for."""
    before = _LOGGER.handlers[:], _LOGGER.level
    level = level_asked(environment)
    if is_verbose and level not in ("debug", "info"):
        _listen("info", "%(message)s")
    elif not level:
        _listen("warning", "%(message)s")
    else:
        _listen(level, _LONG)
    try:
        yield
    finally:
        _LOGGER.handlers[:], level_before = before
        _LOGGER.setLevel(level_before)


def _listen(level: str, form: str) -> None:
    """In place of what was asked for before."""
    handler = _ToStandardError()
    handler.setFormatter(logging.Formatter(form))
    for before in [one for one in _LOGGER.handlers if isinstance(one, _ToStandardError)]:
        _LOGGER.removeHandler(before)
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(level.upper())
