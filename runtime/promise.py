"""A value that may still be on its way: its parts, each with a copy on one island or on several."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import numpy
from atoll.compiler.errors import AtollError
from atoll.runtime.donated import refuse
from atoll.runtime.failure import Failure, reason
from atoll.runtime.handle import Handle
from atoll.runtime.program import Division, Port
from atoll.runtime.waiting import wait_ready

if TYPE_CHECKING:
    import jax

Copies = tuple[Handle, ...]


class Placer(Protocol):
    """What brings values to the islands of a program."""

    def promised(self, port: Port, division: Division, parts: Iterable[Any]) -> "Promise":
        """The value of these parts where a step finds such a value, or leaves it."""

    def put_whole(self, port: Port, division: Division, value: Any) -> "Promise":  # noqa: ANN401 (an array)
        """The same for a value that is not divided yet."""

    def shardings_of(self, port: Port) -> "Mapping[str, jax.sharding.NamedSharding]":
        """How the devices of each of its islands hold such a value, or its first part there."""


class Promise:
    """What an `Array` stands on: a user asks the array for values, a controller asks this for where they are.

    port: what the value is, and what the user calls it.
    division: how it is divided into its parts.
    placer: brings other values to where this one is, or was.
    gone: what was done with it, if it was given up.
    """

    __slots__ = ("_parts", "_patience", "division", "gone", "placer", "port")

    def __init__(
        self, port: Port, parts: Sequence[Sequence[Handle]], division: Division, placer: Placer, patience: float
    ) -> None:
        """parts: for each part, or for the whole, its copies. patience: how many seconds any wait may take."""
        self.port = port
        self.division = division
        self.placer = placer
        self.gone = ""
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
    def shardings(self) -> "Mapping[str, jax.sharding.NamedSharding]":
        """How the devices of each island hold it."""
        return self.placer.shardings_of(self.port)

    @property
    def is_gone(self) -> bool:
        """Whether it was given up."""
        return not self._parts

    def parts(self) -> tuple[Copies, ...]:
        """The copies of each part; UsageError if it was given up."""
        parts = self._parts  # once, as another thread may donate it meanwhile
        if not parts:
            refuse(self.port.path, self.gone)
        return parts

    def give_up(self, how: str = "donated") -> None:
        """It was donated, or deleted."""
        if self._parts:
            self.gone = how
            self._parts = ()

    def shared(self) -> "Promise":
        """The same value once more: what is donated of the two is a copy from now on."""
        with ExitStack() as held:
            # No step takes it meanwhile. In one order, as two threads may do this with arrays of several clusters.
            clusters = {handle.hosted.number: handle.hosted for handle in chain.from_iterable(self.parts())}
            for number in sorted(clusters):
                held.enter_context(clusters[number].admission)
            parts = self.parts()
            for handle in chain.from_iterable(parts):
                handle.shared = True
        return Promise(self.port, parts, self.division, self.placer, self._patience)

    def is_computed(self, handle: Handle) -> bool:
        """Whether one of its copies is there, or a failure in its place."""
        if handle.step is not None and (handle.step.is_over or handle.step.broken is not None):
            return True
        if not handle.hosted.ground.is_near:  # where to ask for it is to have its numbers sent
            return handle.step is None
        value = handle.look()
        return value is not None and (isinstance(value, Failure) or value.is_ready())

    def bring_to_host(self, handle: Handle) -> None:
        """Have the numbers of one of its copies on their way to this process, if they are computed here."""
        value = handle.look() if handle.hosted.ground.is_near else None
        if value is not None and not isinstance(value, Failure):
            value.copy_to_host_async()

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

    def apply(self, handle: Handle, function: Callable[[Any], Any]) -> tuple[Any, ...]:
        """What a function returns in each process of an island elsewhere, called with what that has of a copy."""
        results = handle.hosted.apply(handle.island, function, self._patience, handle.number)
        self._check(handle, results)
        return tuple(results)

    def computed(self, handle: Handle) -> "jax.Array | numpy.ndarray[Any, Any]":
        """One of its copies, once it is there; the error of the task that failed otherwise."""
        value: jax.Array | numpy.ndarray[Any, Any] = handle.get(self._patience)
        self._check(handle, value)
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

    def _check(self, handle: Handle, value: Any) -> None:  # noqa: ANN401 (a Value)
        """Raises why there is no value, if there is none."""
        if handle.step is not None and handle.step.broken is not None:
            raise handle.step.broken.error
        if isinstance(value, Failure):
            self.parts()  # raises if another thread donated it meanwhile
            if value.is_of_device:
                raise self._explained(handle, value.what)
            raise self._lost(value).error if value.is_loss else value.error

    def _lost(self, why: Failure) -> Failure:
        return replace(why, what=f"{self.port.path} is gone: {why.what}")

    def _explained(self, handle: Handle, why: str) -> AtollError:
        if handle.step is None:
            return AtollError(f"{self.port.path} could not be brought to island {handle.island}: {why}")
        return handle.step.explain(handle.island, handle.buffer, why, self._patience)
