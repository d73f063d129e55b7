"""Devices that compute nothing: each of their tasks takes a time that is given.

They take the place of jax's devices under the real workers, streams and transport, to see what those make of a
schedule.
"""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy
from atoll.runtime.devices import Devices
from atoll.runtime.fragment import Executable, sharding_of
from atoll.runtime.program import Buffer, Code, Program, Run


class Slept(NamedTuple):
    """A task that has run, and when, by `time.perf_counter`."""

    task: str
    island: str
    start: float
    end: float


class LateEnd(threading.Event):
    """When something is over: by the clock at `time`, which is known once it is set.

    The thread that sets it wakes up a little after that. What waits for it counts on from `time`, as what follows on a
    device or a link does not wait for a thread to wake up.
    """

    time: float = 0.0

    def reached(self, moment: float) -> None:
        """Wait until then, and let those go on who wait."""
        _sleep_until(moment)
        self.time = moment
        self.set()


@dataclass(frozen=True, eq=False)
class LateValue:
    """Zeros that are there once a task has ended; to the runtime it looks like a `jax.Array`."""

    buffer: Buffer
    sharding: jax.sharding.NamedSharding
    ended: LateEnd

    @property
    def nbytes(self) -> int:
        return self.buffer.bytes

    def is_ready(self) -> bool:
        return self.ended.is_set()

    def is_deleted(self) -> bool:
        return False

    def block_until_ready(self) -> "LateValue":
        self.ended.wait()
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "numpy.ndarray[Any, Any]":  # noqa: ANN401
        self.block_until_ready()
        return numpy.zeros(self.buffer.shape, dtype or self.buffer.dtype)


class Throttle(NamedTuple):
    """What a link is held to. bandwidth: bytes a second; latency: seconds."""

    bandwidth: float
    latency: float


class SleepingDevices:
    """For each island of a program one device, which runs its tasks one after the other, in the order in which they
    are enqueued, each as soon as all that it takes is there. Values cross between them at once, or over links of which
    each island has one port: it sends one value after the other, wherever they go.

    seconds: what a task takes, by its name.
    throttles: what links are held to, by source and destination.
    """

    def __init__(
        self,
        program: Program,
        meshes: Mapping[str, jax.sharding.Mesh],
        seconds: Callable[[str], float],
        throttles: Mapping[tuple[str, str], Throttle] | None = None,
    ) -> None:
        self.slept: list[Slept] = []
        self._names = {frozenset(meshes[island.name].devices.flat): island.name for island in program.islands}
        ports: defaultdict[str, _Port] = defaultdict(_Port)
        self._links = {ends: _Link(ends, throttle, ports[ends[0]]) for ends, throttle in (throttles or {}).items()}
        self._devices = {
            tuple(meshes[island.name].devices.flat): _Device(
                island.name,
                [one.task for one in island.instructions if isinstance(one, Run)],
                seconds,
                self.slept,
            )
            for island in program.islands
        }

    @property
    def devices(self) -> Devices:
        return Devices(self._lower, self._mover)

    def __enter__(self) -> "SleepingDevices":
        return self

    def __exit__(self, *_: object) -> None:
        for device in self._devices.values():
            device.stop()
        for link in self._links.values():
            link.stop()

    def _lower(
        self,
        code: Code,
        inputs: Sequence[Buffer],  # noqa: ARG002 (as `lower_code` has them)
        donated: Sequence[int],  # noqa: ARG002
        mesh: jax.sharding.Mesh,
        callbacks: Sequence[Any] = (),  # noqa: ARG002
    ) -> Callable[[], Executable]:
        device = self._devices[tuple(mesh.devices.flat)]
        results = [(buffer, sharding_of(buffer, mesh)) for buffer in code.results]

        def run(*arguments: Any) -> Any:  # noqa: ANN401 (values of either kind)
            ended = device.enqueue([one.ended for one in arguments if isinstance(one, LateValue)])
            return [LateValue(buffer, sharding, ended) for buffer, sharding in results]

        return lambda: Executable(run, may_fail=False)

    def _mover(self, source: jax.sharding.Sharding, target: jax.sharding.NamedSharding) -> Callable[[Any], Any]:
        names = [self._names.get(frozenset(one.device_set), "") for one in (source, target)]
        return partial(self._put, sharding=target, link=self._links.get((names[0], names[1])))

    @staticmethod
    def _put(value: Any, sharding: jax.sharding.NamedSharding, link: "_Link | None") -> Any:  # noqa: ANN401 (of either kind)
        if isinstance(value, LateValue):
            arrived = value.ended if link is None else link.send(value)
            return LateValue(value.buffer, sharding, arrived)
        return jax.device_put(value, sharding)


@dataclass
class _Device:
    """tasks: those of a step, in the order in which the island's stream enqueues them, step after step."""

    island: str
    tasks: Sequence[str]
    seconds: Callable[[str], float]
    slept: list[Slept]
    _queue: "queue.SimpleQueue[Any]" = field(default_factory=queue.SimpleQueue)
    _enqueued: int = 0

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._work, name=f"sleeping {self.island}", daemon=True)
        self._thread.start()

    def enqueue(self, needs: Sequence[LateEnd]) -> LateEnd:
        """Only the island's worker calls this, in the order of its stream, so that the tasks can be counted off."""
        task, ended = self.tasks[self._enqueued % len(self.tasks)], LateEnd()
        self._enqueued += 1
        self._queue.put((task, time.perf_counter(), needs, ended))
        return ended

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        free = 0.0
        while (enqueued := self._queue.get()) is not None:
            task, start, needs, ended = enqueued
            for need in needs:
                need.wait()
            start = max(start, free, *(need.time for need in needs), 0.0)
            free = start + self.seconds(task)
            self.slept.append(Slept(task, self.island, start, free))
            ended.reached(free)


@dataclass
class _Port:
    """What all links of an island leave it by. free: from when on, by the clock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    free: float = 0.0


class _Link:
    """Sends one value after the other, each once it is there; a value that has left arrives a latency later."""

    def __init__(self, ends: tuple[str, str], throttle: Throttle, port: _Port) -> None:
        self._throttle = throttle
        self._port = port
        self._leaving: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._arriving: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=work, name=f"link {ends[0]} -> {ends[1]}", daemon=True)
            for work in (self._leave, self._arrive)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, value: LateValue) -> LateEnd:
        arrived = LateEnd()
        self._leaving.put((value, time.perf_counter(), arrived))
        return arrived

    def stop(self) -> None:
        self._leaving.put(None)
        for thread in self._threads:
            thread.join()

    def _leave(self) -> None:
        while (left := self._leaving.get()) is not None:
            value, asked, arrived = left
            value.ended.wait()
            with self._port.lock:
                begin = max(self._port.free, asked, value.ended.time)
                left_at = self._port.free = begin + value.buffer.bytes / self._throttle.bandwidth
                _sleep_until(left_at)
            self._arriving.put((left_at + self._throttle.latency, arrived))
        self._arriving.put(None)

    def _arrive(self) -> None:
        while (left := self._arriving.get()) is not None:
            moment, arrived = left
            arrived.reached(moment)


def _sleep_until(moment: float) -> None:
    if (left := moment - time.perf_counter()) > 0:
        time.sleep(left)
