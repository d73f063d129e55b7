"""A value that may still be on its way: its parts, each with a copy on one island or on several."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy
from atoll.compiler.errors import AtollError, UsageError
from atoll.runtime.failure import Failure, reason
from atoll.runtime.handle import Handle
from atoll.runtime.program import Division, Port
from atoll.runtime.waiting import wait_ready

if TYPE_CHECKING:
    import jax

Copies = tuple[Handle, ...]


class Promise:
    """What an `Array` stands on: a user asks the array for values, a controller asks this for where they are.

    port: what the value is, and what the user calls it.
    division: how it is divided into its parts.
    """

    __slots__ = ("_parts", "_patience", "division", "port")

    def __init__(self, port: Port, parts: Sequence[Sequence[Handle]], division: Division, patience: float) -> None:
        """parts: for each part, or for the whole, its copies. patience: how many seconds any wait may take."""
        self.port = port
        self.division = division
        self._parts: tuple[Copies, ...] = tuple(map(tuple, parts))
        self._patience = patience

    @property
    def islands(self) -> tuple[str, ...]:
        """The islands that hold it, or parts of it."""
        return tuple(dict.fromkeys(handle.island for copies in self._parts for handle in copies))

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

    def computed(self, handle: Handle) -> "jax.Array | numpy.ndarray[Any, Any]":
        """One of its copies, once it is there; the error of the task that failed otherwise."""
        value: jax.Array | numpy.ndarray[Any, Any] | Failure = handle.get(self._patience)
        if handle.step is not None and handle.step.broken is not None:
            raise handle.step.broken.error
        if isinstance(value, Failure):
            self.parts()  # raises if another thread donated it meanwhile
            if value.is_of_device:
                raise self._explained(handle, value.what)
            raise self._lost(value).error if value.is_loss else value.error
        if isinstance(value, numpy.ndarray):  # its numbers, from another process
            return value
        try:
            wait_ready(value, self._patience, f"{self.port.path} has not been computed on island {handle.island}")
            value.block_until_ready()
        except AtollError:
            raise
        except Exception as error:
            self.parts()  # raises if another thread donated it meanwhile
            raise self._explained(handle, reason(error)) from error
        return value

    def _lost(self, why: Failure) -> Failure:
        return replace(why, what=f"{self.port.path} is gone: {why.what}")

    def _explained(self, handle: Handle, why: str) -> AtollError:
        if handle.step is None:
            return AtollError(f"{self.port.path} could not be brought to island {handle.island}: {why}")
        return handle.step.explain(handle.island, handle.buffer, why, self._patience)
