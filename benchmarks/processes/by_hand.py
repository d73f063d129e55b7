"""The same between two processes that have nothing but sockets."""

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable

import jax
import numpy

_JOB = struct.Struct("<Qi")  # how many bytes over how many sockets; or how often back and forth, with -1

_MOST = 4  # sockets


class Peer:
    """This process receives; the one that it starts sends."""

    def __enter__(self) -> "Peer":
        with socket.create_server(("127.0.0.1", 0)) as door:
            self._process = subprocess.Popen([sys.executable, __file__, str(door.getsockname()[1])])
            self._sockets = [_quick(door.accept()[0]) for _ in range(_MOST)]
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            one.close()
        self._process.wait(10)

    def send(self, size: int, sockets: int) -> None:
        """Have so many bytes sent, and put them onto a device."""
        self._sockets[0].sendall(_JOB.pack(size, sockets))
        whole = numpy.empty(size // 4, "float32")
        _together(_fill, self._sockets[:sockets], numpy.array_split(whole.view(numpy.uint8), sockets))
        jax.block_until_ready(jax.device_put(whole))

    def back_and_forth(self, times: int) -> None:
        first = self._sockets[0]
        first.sendall(_JOB.pack(times, -1))
        for _ in range(times):
            first.sendall(b"1234")
            first.recv(4)


def _together(
    work: Callable[[socket.socket, numpy.ndarray], None], sockets: list[socket.socket], parts: list[numpy.ndarray]
) -> None:
    threads = [threading.Thread(target=work, args=pair) for pair in zip(sockets, parts, strict=True)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def _fill(connection: socket.socket, part: numpy.ndarray) -> None:
    view = memoryview(part)
    while view:
        view = view[connection.recv_into(view) :]


def _quick(connection: socket.socket) -> socket.socket:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def serve(port: int) -> None:
    """What the other process does, until the first socket is closed."""
    sockets = [_quick(socket.create_connection(("127.0.0.1", port))) for _ in range(_MOST)]
    content = numpy.zeros(0, numpy.uint8)
    while job := sockets[0].recv(_JOB.size):
        size, count = _JOB.unpack(job)
        if count < 0:
            for _ in range(size):
                sockets[0].recv(4)
                sockets[0].sendall(b"1234")
            continue
        if len(content) != size:
            content = numpy.zeros(size, numpy.uint8)
        _together(lambda one, part: one.sendall(memoryview(part)), sockets[:count], numpy.array_split(content, count))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
