"""What atoll says of its work, by Python's logging, below the logger `atoll`; to standard error if somebody asks.

Each pass, phase and fragment is an `info`, each thing that begins a `debug`.
"""

import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

# Names the level, for any program that uses atoll and for the processes of its islands.
VARIABLE = "ATOLL_LOG"

LEVELS = ("debug", "info", "warning", "error")

_LOGGER = logging.getLogger("atoll")
_LONG = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _ToStandardError(logging.Handler):
    """To what standard error is when something is said: somebody may have redirected it."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.stream.write(f"{self.format(record)}\n")
        except Exception:  # as logging's own handlers do
            self.handleError(record)


def follow_environment(environment: Mapping[str, str] = os.environ) -> bool:
    """Say what `ATOLL_LOG` asks for; whether it asks for anything."""
    level = environment.get(VARIABLE, "").lower()
    if level in LEVELS:
        to_standard_error(level, _LONG)
    elif level:
        to_standard_error("warning", _LONG)
        _LOGGER.warning("%s=%s is no level; write one of %s", VARIABLE, environment[VARIABLE], ", ".join(LEVELS))
    return bool(level)


def to_standard_error(level: str, form: str = "%(message)s") -> None:
    """Say what is at least so important; in place of what was asked for before."""
    handler = _ToStandardError()
    handler.setFormatter(logging.Formatter(form))
    for before in [one for one in _LOGGER.handlers if isinstance(one, _ToStandardError)]:
        _LOGGER.removeHandler(before)
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(level.upper())
