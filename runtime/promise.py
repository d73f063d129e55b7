"""A value that may still be on its way: its parts, each with a copy on one island or on several."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy
from atoll.compiler.errors import AtollError, UsageError
from atoll.runtime.program import Division, Port
from atoll.runtime.step import reason
from atoll.runtime.store import Failure, Held
from atoll.runtime.waiting import wait_ready

Copies = tuple[Held, ...]


class Promise:
    """What is behind an `Array`: a user asks that for values, a controller asks this for where they are.

    port: what the value is, and what the user calls it.
    division: how it is divided into its parts.
    """

    __slots__ = ("_parts", "_patience", "division", "port")

    def __init__(self, port: Port, parts: Sequence[Sequence[Held]], division: Division, patience: float) -> None:
        """parts: for each part, or for the whole, its copies. patience: how many seconds any wait may take."""
        self.port = port
        self.division = division
        self._parts: tuple[Copies, ...] = tuple(map(tuple, parts))
        self._patience = patience

    @property
    def islands(self) -> tuple[str, ...]:
        """The islands that hold it, or parts of it."""
        return tuple(dict.fromkeys(held.origin.island for copies in self._parts for held in copies))

    @property
    def indices(self) -> tuple[tuple[slice, ...], ...]:
        """Where each part is in the whole."""
        return self.division.indices or ((slice(None),) * len(self.port.shape),)

    @property
    def is_gone(self) -> bool:
        """Whether it was donated."""
        return not self._parts

    def parts(self) -> tuple[Copies, ...]:
        """The copies of each part; UsageError if it was donated."""
        parts = self._parts  # once, as another thread may donate it meanwhile
        if not parts:
            what = f"{self.port.path} was donated to a step and is gone"
            raise UsageError(what, remedy="use what the step returned instead, or do not donate it")
        return parts

    def give_up(self) -> None:
        """It was donated."""
        self._parts = ()

    def read(self) -> "numpy.ndarray[Any, Any]":
        """The numbers of all of it; waits for them."""
        parts = [self.computed(copies[0]) for copies in self.parts()]
        first, *others = map(numpy.asarray, parts)
        if not others:
            return first
        words = first.shape[len(self.port.shape) :]  # of a random key
        whole = numpy.empty((*self.port.shape, *words), first.dtype)
        for index, part in zip(self.indices, (first, *others), strict=True):
            whole[index] = part
        return whole

    def computed(self, held: Held) -> jax.Array:
        """One of its copies, once it is there; the error of the task that failed otherwise."""
        value: jax.Array | Failure = held.get(self._patience)
        if isinstance(value, Failure):
            raise value.error.with_traceback(None)
        try:
            what = f"{self.port.path} has not been computed on island {held.origin.island}"
            wait_ready(value, self._patience, what)
            value.block_until_ready()
        except AtollError:
            raise
        except Exception as error:
            self.parts()  # raises if another thread donated it meanwhile
            raise self._explained(held, error) from error
        return value

    def _explained(self, held: Held, error: Exception) -> AtollError:
        island, step = held.origin.island, held.origin.step
        if step is None:
            return AtollError(f"{self.port.path} could not be brought to island {island}: {reason(error)}")
        return step.explain(island, held.origin.buffer, error, self._patience)
