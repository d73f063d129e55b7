"""Whose turn it is to enqueue work on devices."""

import threading

import jax

# If two threads enqueue collectives on the same devices in different orders, these wait for each other for ever, and
# XLA ends the process. So whoever enqueues holds the locks of all devices that take part: one lock for each device, for
# the life of the process, as programs that know nothing of each other may share devices.
_LOCKS: dict[jax.Device, threading.Lock] = {}


class Turn:
    """A context in which this thread alone enqueues work on a set of devices.

    On one device there is nothing that could wait for another, and nothing is locked.
    """

    def __init__(self, mesh: jax.sharding.Mesh) -> None:
        # Every turn takes its locks in the same order, so no two turns wait for each other.
        devices = sorted(mesh.devices.flat, key=lambda device: (device.platform, device.id))
        self._locks = [_LOCKS.setdefault(device, threading.Lock()) for device in devices] if len(devices) > 1 else []

    def __enter__(self) -> None:
        taken: list[threading.Lock] = []
        try:
            for lock in self._locks:
                lock.acquire()
                taken.append(lock)
        except BaseException:  # Ctrl-C
            for lock in taken:
                lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        for lock in self._locks:
            lock.release()
