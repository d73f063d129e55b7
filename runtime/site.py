"""The devices of an island at its host, with what all programs on it share."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
from atoll.runtime.failure import Failure, reason
from atoll.runtime.messages import Forward, Offer, Order, Stored, Use, argument_tag
from atoll.runtime.record import Record
from atoll.runtime.store import GONE, Store
from atoll.runtime.transport import Transport
from atoll.runtime.turn import Turn
from atoll.runtime.window import Window

# How many executions an island enqueues ahead of its devices. More than 32 are not safe on CPU devices, which two
# programs may share.
AHEAD = 16

Call = tuple[Callable[[Any], None], Any]  # what is to be called, and its argument


class SharedIslandError(Exception):
    """An island that several processes share cannot go on, as one of them could not do what the others do."""


class Carrier(Protocol):
    """What carries out the steps of a program on an island, one a turn."""

    def go_on(self) -> None:
        """Do what can be done, if it is its turn."""


class Site:
    """Steps are carried out one after the other, in the order in which they were asked for, whatever their programs.

    That is one order for all islands of a cluster. So no two of them wait for each other, and what a step overwrites is
    no longer needed by those before it.

    tell: is called with the record of a step that is over.
    deliver: is called with what other islands are to get.
    later: makes a call once those under way have returned. post: makes a call, or has it made; for a thread that has
        nothing else to do.
    """

    def __init__(
        self,
        name: str,
        mesh: jax.sharding.Mesh,
        tell: Callable[[Record], None],
        deliver: Callable[[Offer], None],
        later: Callable[[Call], None],
        post: Callable[[Call], None],
    ) -> None:
        self.name = name
        self.is_shared = mesh.is_multi_process  # with other processes
        self.turn = Turn(mesh)
        self.store = Store()
        self.window = Window(AHEAD, tell, f"atoll {name}, watching", post)
        self.deliver = deliver
        self.later = later
        self._line: deque[Carrier] = deque()

    @property
    def is_idle(self) -> bool:
        return not self._line

    def reserve(self, program: int, order: Order) -> None:
        """Keep what a step that was asked for will read, whoever lets go of it before; and a place for its results,
        which are the program's."""
        for handle in order.outputs.values():
            self.store.expect(handle, program)
        for one in (*order.feeds.values(), *order.forwards):
            if isinstance(one, (Stored, Forward)) and one.use is not Use.TAKE:
                self.store.use(one.handle)

    def bear(self, error: Exception) -> None:
        """Have a failure stand where a value would; unless other processes share the island, which may have the value
        and would wait for this one for ever.
        """
        if self.is_shared:
            raise SharedIslandError(reason(error)) from error

    def queue(self, carrier: Carrier) -> None:
        """Let a carrier have a turn, when those before it have come to their end."""
        self._line.append(carrier)
        if len(self._line) == 1:
            self.go_on(None)

    def is_turn_of(self, carrier: Carrier) -> bool:
        return bool(self._line) and self._line[0] is carrier

    def end_turn(self, carrier: Carrier) -> None:
        """The one whose turn it is has come to the end of a step."""
        self._line.popleft()
        if self._line and self._line[0] is not carrier:
            self.later((self.go_on, None))

    def go_on(self, _: None) -> None:
        if self._line:
            self._line[0].go_on()

    def forward(self, transport: Transport, one: Forward) -> None:
        """Send a value of the store to an island that takes it as an argument."""
        began = time.perf_counter_ns()
        value, owned = self.store.look(one.handle), True
        if value is None:
            value = GONE
        if not isinstance(value, Failure):
            try:
                with self.turn:
                    value, owned = self._brought(transport, one, value)
            except Exception as error:
                self.bear(error)
                value = not_brought(one.to, error)
        self.store.drop(one.handle)
        self.deliver(Offer(one.program, one.step, one.to, self.name, argument_tag(one.buffer), value, owned, began))

    def _brought(self, transport: Transport, one: Forward, value: Any) -> tuple[Any, bool]:  # noqa: ANN401 (Values)
        """What is sent, and whether it is nobody else's."""
        if not transport.is_near(one.to):
            # Its numbers are read at some time: what others overwrite meanwhile has to be another array.
            return value if one.use is Use.TAKE else jax.numpy.copy(value), True
        if value.sharding != transport.sharding(one.to, one.buffer):
            return transport.bring(value, one.to, one.buffer), True
        return jax.numpy.copy(value) if one.use is Use.COPY else value, one.use is not Use.BORROW


@dataclass(frozen=True, eq=False)
class Errand:
    """Sends values of the store for a step that has nothing else to do on this island."""

    site: Site
    transport: Transport
    forwards: tuple[Forward, ...]

    def go_on(self) -> None:
        for one in self.forwards:
            self.site.forward(self.transport, one)
        self.site.end_turn(self)


def not_brought(island: str, error: BaseException) -> Failure:
    return Failure(f"an argument could not be brought to island {island}: {reason(error)}")
