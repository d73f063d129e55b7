"""Moves arrays between the islands of one process, and counts what it is handed."""

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import jax
import numpy
from atoll.runtime.crossing import mover
from atoll.runtime.fragment import sharding_of
from atoll.runtime.program import Program, Receive, Send
from atoll.runtime.step import Step
from atoll.runtime.store import Failure, Value

# If two threads enqueue collectives on the same devices in different orders, these wait for each other for ever, and
# XLA ends the process. So whoever enqueues holds the locks of all devices that take part: one lock for each device, for
# the life of the process, as programs that know nothing of each other may share devices.
_LOCKS: dict[jax.Device, threading.Lock] = {}


@dataclass(slots=True)
class Message:
    """A value on its way to another island."""

    step: int
    source: str
    tag: int
    value: Value

    def take(self) -> Value:
        """The value, once. If the message kept it, it would live as long as the message is on somebody's stack."""
        value, self.value = self.value, None
        return value


class Turn:
    """A context in which this thread alone enqueues work on a set of devices.

    On one device there is nothing that could wait for another, and nothing is locked.
    """

    def __init__(self, mesh: jax.sharding.Mesh) -> None:
        # Every turn takes its locks in the same order, so no two turns wait for each other.
        devices = sorted(mesh.devices.flat, key=lambda device: (device.platform, device.id))
        self._locks = [_LOCKS.setdefault(device, threading.Lock()) for device in devices] if len(devices) > 1 else []

    def __enter__(self) -> None:
        if not self._locks:
            return
        with ExitStack() as held:
            for lock in self._locks:
                held.enter_context(lock)
            held.pop_all()  # they stay locked; after an error or Ctrl-C on the way, those taken are released

    def __exit__(self, *_: object) -> None:
        for lock in self._locks:
            lock.release()


class Transport:
    """Within one process a value crosses a link as `jax.device_put` moves it, which returns before the value is there.

    Each island has an inbox: what is called with a message, on the sender's thread.
    move: makes what brings a value from one sharding to another; for jax's devices, unless others take their place.
    """

    def __init__(
        self,
        program: Program,
        meshes: Mapping[str, jax.sharding.Mesh],
        move: Callable[[jax.sharding.Sharding, jax.sharding.NamedSharding], Callable[[Any], Any]] = mover,
    ) -> None:
        self._move = move
        self._inboxes: dict[str, Callable[[Message], None]] = {}
        self._shardings = {
            island.name: tuple(sharding_of(buffer, meshes[island.name]) for buffer in island.buffers)
            for island in program.islands
        }
        self._counters: dict[tuple[str, int], jax.Array] = {}
        sent = {
            (island.name, one.to, one.tag): self._shardings[island.name][one.buffer]
            for island in program.islands
            for one in island.instructions
            if isinstance(one, Send)
        }
        self._routes = {
            link: (move(sent[link], self._shardings[island.name][one.buffer]), island.buffers[one.buffer].bytes)
            for island in program.islands
            for one in island.instructions
            if isinstance(one, Receive) and (link := (one.source, island.name, one.tag)) in sent
        }

    def connect(self, island: str, inbox: Callable[[Message], None]) -> None:
        self._inboxes[island] = inbox

    def send(self, step: Step, source: str, to: str, tag: int, value: Value) -> Value:
        """Hand a value to the link; returns what arrives. A failure is handed on as it is."""
        if not isinstance(value, Failure):
            move, size = self._routes[source, to, tag]
            value = move(value)
            step.count(source, (source, to), size)
        self._inboxes[to](Message(step.number, source, tag, value))
        return value

    def fetch(self, step: Step, source: str, to: str, number: int, value: jax.Array) -> jax.Array:
        """Bring an argument of a step to the island that needs it, or into the sharding that it needs there."""
        if source != to:
            step.count(to, (source, to), value.nbytes)
        moved: jax.Array = self._move(value.sharding, self._shardings[to][number])(value)
        return moved

    def counter(self, island: str, number: int, microbatch: int) -> jax.Array:
        """The number of a microbatch on an island's devices; made once, as every step needs the same one."""
        key = (island, microbatch)
        if key not in self._counters:
            self._counters[key] = jax.device_put(numpy.uint32(microbatch), self._shardings[island][number])
        return self._counters[key]

    def sharding(self, island: str, number: int) -> jax.sharding.NamedSharding:
        return self._shardings[island][number]
