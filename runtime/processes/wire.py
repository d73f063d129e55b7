"""A TCP connection that carries frames, each whole and in order, between two who know one secret."""

import hmac
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy
from atoll.runtime.processes.assignment import Address
from atoll.runtime.processes.incoming import Incoming

Content = bytes | bytearray | memoryview

# How many seconds either side may take to prove that it knows the secret, or to be reached at all.
_GREETING = 30.0

_NONCE = 32
_BEGINNING = struct.Struct("<IQ")  # of a frame: how many parts it has, and the size of the first
_LARGE = 1 << 16  # bytes
_ALIGNMENT = 64  # what CPU devices ask of memory that they are to use as it is

_MOST_PARTS = 512  # of one call of the system's, which takes at most 1,024


class Wire:
    """A frame is one part or more, as a message and the arrays in it. One thread sends, and one receives."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        self._connection = connection
        self._left: list[memoryview] = []  # of frames that have gone out in part
        self._incoming = Incoming(connection)

    @property
    def own_host(self) -> str:
        """By which the other side reaches this one."""
        name: str = self._connection.getsockname()[0]
        return name

    def send(self, *frames: Sequence[Content]) -> None:
        """What is left of earlier frames, and these. OSError if the other side is gone."""
        for one in frames:
            self._left += _views(one)
        while self._left:
            self._send_next(0)

    def send_some(self, frame: Sequence[Content]) -> bool:
        """The same, as far as it goes out at once; whether that was all of it."""
        self._left += _views(frame)
        try:
            while self._left:
                self._send_next(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def _send_next(self, flags: int) -> None:
        left = self._left
        if len(left) == 1:
            (whole,) = left
            if (sent := self._connection.send(whole, flags)) == len(whole):
                left.clear()
                return
        else:
            sent = self._connection.sendmsg(left[:_MOST_PARTS], (), flags)
        while left and sent >= len(left[0]):
            sent -= len(left.pop(0))
        if sent:
            left[0] = left[0][sent:]

    def receive(self, patience: float | None = None) -> list[memoryview] | None:
        """The next frame; None if the other side is gone. TimeoutError if nothing comes in so many seconds."""
        incoming = self._incoming
        try:
            incoming.be_patient(patience)
            count, first = _BEGINNING.unpack(incoming.few(_BEGINNING.size))
            if count == 1 and first < _LARGE:  # as most are
                return [memoryview(incoming.few(first))]
            others = struct.unpack(f"<{count - 1}Q", incoming.few(8 * (count - 1)))
            return [self._whole(size) for size in (first, *others)]
        except TimeoutError:
            raise
        except OSError:
            return None

    def _whole(self, size: int) -> memoryview:
        room = _room(size)
        self._incoming.fill(room)
        return room

    @property
    def is_given_up(self) -> bool:
        """Whether the other side did not say something in time; what it says later is not heard."""
        return self._incoming.is_given_up

    def end(self, patience: float) -> None:
        """Say nothing more, and wait until the other side has hung up, so many seconds at most."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(patience)
            while self._connection.recv(_LARGE):  # whatever it still says
                pass
        self.close()

    def close(self) -> None:
        """Whoever waits for a frame, on either side, is told that there is none."""
        self._left = []
        self._incoming.close()


def _views(frame: Sequence[Content]) -> list[memoryview]:
    if len(frame) == 1 and len(frame[0]) < _LARGE:  # as most are
        (part,) = frame
        return [memoryview(_BEGINNING.pack(1, len(part)) + part)]
    parts = [memoryview(part).cast("B") for part in frame]
    first, *others = map(len, parts)
    sizes = _BEGINNING.pack(len(parts), first) + struct.pack(f"<{len(others)}Q", *others)
    return [memoryview(sizes), *(one for one in parts if len(one))]


def _room(size: int) -> memoryview:
    """Memory for so many bytes: of a large value not cleared first, and so that CPU devices use it as it is."""
    if size < _LARGE:
        return memoryview(bytearray(size))
    room: Any = numpy.empty(size + _ALIGNMENT, numpy.uint8)
    first = -room.ctypes.data % _ALIGNMENT
    return memoryview(room[first : first + size])


def connect(address: Address, secret: bytes) -> Wire:
    """A wire to a `Door`; OSError if nobody is there, or somebody who does not know the secret."""
    connection = socket.create_connection(address, timeout=_GREETING)
    try:
        connection.settimeout(_GREETING)
        _prove(connection, secret, b"caller", b"door")
        return Wire(connection)
    except BaseException:
        connection.close()
        raise


class Door:
    """Where others connect to; `welcome` is given each wire, on a thread of its own."""

    def __init__(self, host: str, secret: bytes, welcome: Callable[[Wire], None]) -> None:
        self._secret = secret
        self._welcome = welcome
        self._listener = socket.create_server((host, 0), backlog=1024)
        self.address: Address = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, name="atoll door", daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # it was closed
                return
            threading.Thread(target=self._let_in, args=(connection,), name="atoll door", daemon=True).start()

    def _let_in(self, connection: socket.socket) -> None:
        """Anyone may knock; who does not know the secret hears nothing more."""
        try:
            connection.settimeout(_GREETING)
            _prove(connection, self._secret, b"door", b"caller")
            wire = Wire(connection)
        except OSError:
            connection.close()
            return
        self._welcome(wire)


def _prove(connection: socket.socket, secret: bytes, own: bytes, other: bytes) -> None:
    """Each side answers the other's random number with what only one who knows the secret can make of it."""
    # A frame goes out at once; else the system would hold a small one back until the one before is acknowledged.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    mine = secrets.token_bytes(_NONCE)
    connection.sendall(mine)
    theirs = _read(connection, _NONCE)
    connection.sendall(_answer(secret, own, theirs))
    if not hmac.compare_digest(
        _read(connection, hmac.new(secret, digestmod="sha256").digest_size), _answer(secret, other, mine)
    ):
        raise ConnectionRefusedError("the other side does not know the secret")


def _answer(secret: bytes, side: bytes, nonce: bytes) -> bytes:
    return hmac.digest(secret, side + nonce, "sha256")


def _read(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise ConnectionResetError
        content += part
    return content
