"""Hosts of one island each, which the controller and other hosts reach by bytes over socket pairs.

Messages are late by a random time, so that those of different pairs overtake each other; some come twice, and some
may be lost. Only the values themselves do not travel: a message has a number in their place, as if another wire had
brought them.
"""

import io
import itertools
import pickle
import random
import socket
import struct
import threading
import time
import types

import jax
from atoll.runtime.host import Host
from atoll.runtime.inbox import Inbox
from atoll.runtime.messages import Start
from atoll.runtime.sleeping import LateValue

# What stays in this process: values, the devices that messages name, and Python functions.
_PARKED = (jax.Array, jax.sharding.Mesh, LateValue, types.FunctionType)


class Wires:
    """All that belong to a test.

    longest: how many seconds a message is late at most; twice: how many of the starts come twice.
    lost: says of a message whether it is lost.
    """

    def __init__(self, seed, longest=0.0005, twice=0.3, lost=lambda message: False):
        self.random = random.Random(seed)
        self.longest = longest
        self.twice = twice
        self.lost = lost
        self.sent = 0
        self.parked = {}
        self.numbers = itertools.count()
        self.wires = {}
        self.hosts = {}

    def to(self, source, target, receive):
        """The wire from one end to another, which is made when it is first used."""
        key = source, target
        if key not in self.wires:
            self.wires[key] = _Wire(self, receive)
        return self.wires[key]

    def make_hosts(self, meshes, devices, tell):
        """As `atoll.runtime.ground.Hosts`."""
        return {name: self._end({name: mesh}, devices, tell) for name, mesh in meshes.items()}

    def _end(self, meshes, devices, tell):
        ends = {}
        host = Host(
            meshes,
            devices,
            lambda message: self.to(ends["own"], ("controller", id(tell.__self__)), tell).send(message),
            lambda number, offer: self.to(ends["own"], number, self.hosts[number].bring).send(offer),
        )
        ends["own"] = host.number
        self.hosts[host.number] = host
        return SocketEnd(host, self.to(("controller", id(tell.__self__)), host.number, host.bring))

    def close(self):
        for wire in self.wires.values():
            wire.close()


class SocketEnd:
    """The controller's end of the way to a host."""

    def __init__(self, host, wire):
        self.number = host.number
        self.join = host.join
        self.receive = wire.send
        self.host = host


class _Wire:
    """One direction."""

    def __init__(self, wires, receive):
        self._wires = wires
        self._receive = receive
        self._leaving = Inbox()  # a destructor may send, where nothing must be waited for
        self._near, self._far = socket.socketpair()
        for work in (self._write, self._read):
            threading.Thread(target=work, name="wire", daemon=True).start()

    def send(self, message):
        self._leaving.put(message)

    def close(self):
        self._leaving.put(None)

    def _write(self):
        while (message := self._leaving.get()) is not None:
            if not self._wires.lost(message):
                content = io.BytesIO()
                _Pickler(content, self._wires).dump(message)
                content = content.getvalue()
                self._near.sendall(struct.pack("<Q", len(content)) + content)
            del message
        self._near.close()

    def _read(self):
        with self._far.makefile("rb") as stream:
            while len(head := stream.read(8)) == 8:
                content = stream.read(struct.unpack("<Q", head)[0])
                time.sleep(self._wires.random.uniform(0, self._wires.longest))
                self._wires.sent += 1
                loader = _Unpickler(io.BytesIO(content), self._wires)
                message = loader.load()
                if isinstance(message, Start) and self._wires.random.random() < self._wires.twice:
                    self._receive(_Unpickler(io.BytesIO(content), self._wires).load())
                for number in loader.found:
                    del self._wires.parked[number]
                self._receive(message)
                del message, loader
        self._far.close()


class _Pickler(pickle.Pickler):
    def __init__(self, file, wires):
        super().__init__(file)
        self._wires = wires

    def persistent_id(self, one):
        if not isinstance(one, _PARKED):
            return None
        number = next(self._wires.numbers)
        self._wires.parked[number] = one
        return number


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, wires):
        super().__init__(file)
        self._wires = wires
        self.found = []

    def persistent_load(self, number):
        self.found.append(number)
        return self._wires.parked[number]
