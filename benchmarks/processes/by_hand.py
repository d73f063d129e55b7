"""The same between two processes that have nothing but sockets, or jax's transfer server."""

import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import jax
import numpy
from atoll.compiler.mlir.bindings import placer
from jax.experimental.transfer import TransferServer, start_transfer_server

# What is to be sent, how many bytes, over how many sockets or in how many pulls; or how often back and forth.
_JOB = struct.Struct("<4sQi")
_ADDRESS = struct.Struct("<64s")

_MOST = 4  # sockets


class Peer:
    """This process receives; the one that it starts sends."""

    def __enter__(self) -> "Peer":
        with socket.create_server(("127.0.0.1", 0)) as door:
            self._process = subprocess.Popen([sys.executable, __file__, str(door.getsockname()[1])])
            self._sockets = [_quick(door.accept()[0]) for _ in range(_MOST)]
        (address,) = _ADDRESS.unpack(self._sockets[0].recv(_ADDRESS.size, socket.MSG_WAITALL))
        self._server = _transfer_server()
        self._connection = self._server.connect(address.rstrip(b"\0").decode())
        self._pulled = 0
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            one.close()
        self._process.wait(10)

    @property
    def processes(self) -> tuple[int, int]:
        """This one and the other."""
        return os.getpid(), self._process.pid

    def send(self, size: int, sockets: int) -> None:
        """Have so many bytes sent, and put them onto a device."""
        self._sockets[0].sendall(_JOB.pack(b"send", size, sockets))
        whole = numpy.empty(size // 4, "float32")
        _together(_fill, self._sockets[:sockets], numpy.array_split(whole.view(numpy.uint8), sockets))
        jax.block_until_ready(jax.device_put(whole))

    def pull(self, size: int, pulls: int) -> None:
        """Pull as many bytes from the other's device onto this one's, with an id for each of so many parts."""
        self._sockets[0].sendall(_JOB.pack(b"pull", size, pulls))
        self._sockets[0].recv(4, socket.MSG_WAITALL)  # all is offered
        there = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        kind = jax.ShapeDtypeStruct((size // 4 // pulls,), "float32", sharding=there)
        parts = [self._connection.pull(self._pulled + number, [kind]) for number in range(pulls)]
        self._pulled += pulls
        jax.block_until_ready(parts)

    def back_and_forth(self, times: int) -> None:
        first = self._sockets[0]
        first.sendall(_JOB.pack(b"both", times, 1))
        for _ in range(times):
            first.sendall(b"1234")
            first.recv(4)

    def asking(self, times: int) -> None:
        """The same, by two who never sleep."""
        first = self._sockets[0]
        first.sendall(_JOB.pack(b"asks", times, 1))
        for _ in range(times):
            first.sendall(b"1234")
            _ask(first)

    def between_devices(self, times: int, way: "Way") -> None:
        """The same with a value that is on a device of either process before it goes out."""
        first = self._sockets[0]
        first.sendall(_JOB.pack(way.job, times, 1))
        value = jax.device_put(numpy.float32(1))
        for _ in range(times):
            first.sendall(way.content(value))
            value = way.onto_device(first)


@dataclass(frozen=True)
class Way:
    """How a value of four bytes becomes what is sent, so small that it comes in one piece, and a value again."""

    job: bytes
    content: Callable[[jax.Array], bytes]
    onto_device: Callable[[socket.socket], jax.Array]


WITH_PICKLE = Way(
    b"pick",
    lambda value: pickle.dumps(numpy.asarray(value)),
    lambda connection: jax.device_put(pickle.loads(connection.recv(1 << 10))),
)


def bare() -> Way:
    """The least that jax has to do: nothing is sent but four bytes, and they are put onto the device by what
    `jax.device_put` calls in the end, as atoll does it."""
    device = jax.devices()[0]
    place = placer(jax.sharding.SingleDeviceSharding(device), [device], (), numpy.dtype("float32"))
    return Way(
        b"bare",
        lambda value: numpy.asarray(value).tobytes(),
        lambda connection: place([numpy.frombuffer(connection.recv(4), "float32").reshape(())]),
    )


def _together(
    work: Callable[[socket.socket, numpy.ndarray], None], sockets: list[socket.socket], parts: list[numpy.ndarray]
) -> None:
    threads = [threading.Thread(target=work, args=pair) for pair in zip(sockets, parts, strict=True)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def _ask(connection: socket.socket) -> bytes:
    """What comes, for which one asks again and again."""
    while True:
        with suppress(BlockingIOError):
            return connection.recv(4, socket.MSG_DONTWAIT)


def _fill(connection: socket.socket, part: numpy.ndarray) -> None:
    view = memoryview(part)
    while view:
        view = view[connection.recv_into(view) :]


def _quick(connection: socket.socket) -> socket.socket:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _transfer_server() -> TransferServer:
    with socket.create_server(("127.0.0.1", 0)) as free:  # which it does not look for by itself
        port = free.getsockname()[1]
    return start_transfer_server(jax.devices()[0].client, f"127.0.0.1:{port}", ["127.0.0.1:0"])


def serve(port: int) -> None:
    """What the other process does, until the first socket is closed."""
    sockets = [_quick(socket.create_connection(("127.0.0.1", port))) for _ in range(_MOST)]
    server, offered = _transfer_server(), 0
    sockets[0].sendall(_ADDRESS.pack(server.address().encode()))
    content, ways = numpy.zeros(0, numpy.uint8), {one.job: one for one in (WITH_PICKLE, bare())}
    while job := sockets[0].recv(_JOB.size):
        what, size, count = _JOB.unpack(job)
        if what == b"both":
            for _ in range(size):
                sockets[0].recv(4)
                sockets[0].sendall(b"1234")
        elif what == b"asks":
            for _ in range(size):
                _ask(sockets[0])
                sockets[0].sendall(b"1234")
        elif what in ways:
            way = ways[what]
            for _ in range(size):
                sockets[0].sendall(way.content(way.onto_device(sockets[0])))
        elif what == b"pull":
            part = jax.block_until_ready(jax.numpy.zeros(size // 4 // count, "float32"))
            for number in range(count):
                server.await_pull(offered + number, [part])
            offered += count
            sockets[0].sendall(b"done")
        else:
            if len(content) != size:
                content = numpy.zeros(size, numpy.uint8)
            parts = numpy.array_split(content, count)
            _together(lambda one, part: one.sendall(memoryview(part)), sockets[:count], parts)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
