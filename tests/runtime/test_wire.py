"""Frames between two ends of a wire, and what an end is told when there are no more."""

import contextlib
import errno
import socket
import subprocess
import sys
import threading

import jax
import numpy
import pytest
from atoll.compiler.mlir.bindings import placer
from atoll.runtime.inbox import Inbox
from atoll.runtime.processes import incoming
from atoll.runtime.processes.wire import Door, Wire, connect

pytestmark = [pytest.mark.own, pytest.mark.timeout(120)]


@pytest.fixture
def pair():
    ends = [Wire(one) for one in socket.socketpair()]
    yield ends
    for end in ends:
        end.close()


@pytest.mark.parametrize("sizes", [[0], [9], [1 << 15], [1 << 22], [5, 0, 3], [1] * 2000, [1 << 22, 7, 1 << 22]])
def test_frames_arrive_whole_and_in_order(pair, sizes):
    random = numpy.random.default_rng(0)
    frames = [[random.bytes(size) for size in sizes] for _ in range(3)]
    sender = threading.Thread(target=lambda: [pair[0].send(frame) for frame in frames])
    sender.start()
    assert [pair[1].receive() for _ in frames] == frames
    sender.join()
    pair[0].close()
    assert pair[1].receive() is None


def test_many_small_frames_come_at_once(pair):
    """More than are read at once, each of another size, so that some are read in two parts."""
    frames = [[bytes([number % 251]) * (number % 509)] for number in range(900)]
    sender = threading.Thread(target=pair[0].send, args=frames)
    sender.start()
    assert [pair[1].receive() for _ in frames] == frames
    sender.join()


@pytest.mark.parametrize("begun", [b"", bytes(5)])
def test_what_comes_too_late_is_not_read(pair, begun):
    """It would be taken for the answer to what was asked last, and the rest of a frame for another one."""
    pair[0]._connection.sendall(begun)
    with pytest.raises(TimeoutError):
        pair[1].receive(0.01)
    pair[0].send([b"late"])
    assert pair[1].receive(30) is None


def test_who_has_given_up_waits_nevertheless_until_the_other_side_hangs_up(pair):
    with pytest.raises(TimeoutError):
        pair[1].receive(0.01)
    assert pair[1].is_given_up
    ending = threading.Thread(target=pair[1].end, args=(60,))
    ending.start()
    pair[0].send([b"late"])
    assert pair[0].receive(60) is None
    ending.join(0.1)
    assert ending.is_alive()
    pair[0].close()
    ending.join(60)
    assert not ending.is_alive()


@pytest.mark.parametrize("patience", [None, 30])
def test_a_connection_that_the_system_gives_up_is_over(patience):
    """After a quarter of an hour in which the other side's machine has not acknowledged anything."""

    class GivenUp(socket.socket):
        def recv(self, size):
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    ends = socket.socketpair()
    wire = Wire(GivenUp(fileno=ends[0].detach()))
    ends[1].send(b"something")
    assert wire.receive(patience) is None
    for one in (wire, ends[1]):
        one.close()


def test_who_sends_has_the_time_of_who_reads(pair):
    """The other side may be stopped, and read nothing."""
    with pytest.raises(TimeoutError):
        pair[0].receive(0.01)
    with pytest.raises(TimeoutError):
        pair[0].send([bytes(1 << 24)])


def test_after_close_nothing_is_read_that_came_before(pair):
    pair[0].send([b"one"], [b"other"])
    assert pair[1].receive() == [b"one"]
    pair[1].close()
    assert pair[1].receive() is None


class Held(socket.socket):
    """Whoever reads from it, and has read, is kept."""

    def __init__(self, connection):
        super().__init__(fileno=connection.detach())
        self.begun, self.done, self.goes_on = (threading.Event() for _ in range(3))

    def recv(self, size):
        self.begun.set()
        content = super().recv(size)
        self.done.set()
        assert self.goes_on.wait(60)
        return content


def test_who_reads_is_told_that_the_wire_was_closed_beside_it():
    """And until then the system gives its number to no other connection, from which it would read."""
    ends, told = socket.socketpair(), Inbox()
    connection = Held(ends[0])
    wire = Wire(connection)
    reading = threading.Thread(target=lambda: told.put((wire.receive(),)))
    reading.start()
    assert connection.begun.wait(60)
    closing = threading.Thread(target=wire.close)
    closing.start()
    assert connection.done.wait(60)
    closing.join(0.1)
    assert closing.is_alive()
    assert connection.fileno() >= 0
    connection.goes_on.set()
    assert told.get(60) == (None,)
    for one in (reading, closing):
        one.join(60)
    assert connection.fileno() < 0
    assert wire.receive() is None
    ends[1].close()


def test_who_reads_may_close_what_it_reads_from():
    """As a handler of signals does."""

    class Interrupted(socket.socket):
        def recv(self, size):
            wire.close()
            return super().recv(size)

    ends = socket.socketpair()
    wire = Wire(Interrupted(fileno=ends[0].detach()))
    assert wire.receive() is None
    ends[1].close()


SCRIPT = """
import socket, threading
from atoll.runtime.processes.wire import Wire

class Owner:
    def __init__(self, wire):
        self.wire = wire
        threading.Thread(target=wire.receive, daemon=True).start()

    def __del__(self):
        self.wire.close()
        print("closed")

ends = socket.socketpair()
owner = Owner(Wire(ends[0]))
"""


def test_what_ends_with_the_interpreter_waits_for_nobody_who_reads():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.returncode) == ("closed\n", 0), ran.stderr


def test_who_waits_for_a_frame_is_on_the_lookout(monkeypatch):
    """Not for what was read together with the one before."""
    told = []

    class Noted:
        def __init__(self, has_come):
            self.has_come = has_come

        def begin(self):
            told.append(bool(self.has_come()))

        def end(self):
            told.append("is here")

    monkeypatch.setattr(incoming, "Lookout", Noted)
    ends = [Wire(one) for one in socket.socketpair()]
    assert not ends[1]._incoming._lookout.has_come()
    ends[0].send([b"one"], [b"other"])
    assert [ends[1].receive(), ends[1].receive()] == [[b"one"], [b"other"]]
    assert told == [True, "is here"]
    for end in ends:
        end.close()


def test_who_does_not_know_the_secret_is_not_let_in():
    let_in = Inbox()
    door = Door("127.0.0.1", b"right", let_in.put)
    with pytest.raises(ConnectionRefusedError, match="does not know the secret"):
        connect(door.address, b"wrong")
    with socket.create_connection(door.address) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(64))
        with contextlib.suppress(ConnectionResetError):
            while plain.recv(1 << 16):
                pass
    assert not len(let_in)
    wire = connect(door.address, b"right")
    let_in.get(60).close()
    wire.close()
    door.close()
    with pytest.raises(OSError, match="refused"):
        connect(door.address, b"right")


def test_numbers_that_arrive_stay_what_they_are_when_a_device_overwrites_them(pair):
    """CPU devices use them where they are, all that hold the same ones; and others may still have to get them."""
    x = numpy.arange(1 << 18, dtype="float32")
    thread = threading.Thread(target=pair[0].send, args=([x.data],))
    thread.start()
    (content,) = pair[1].receive()
    thread.join()
    numbers = numpy.frombuffer(content, "float32")
    mesh = jax.sharding.Mesh(numpy.array(jax.devices()[:2]), ("devices",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    value = placer(sharding, jax.devices()[:2], x.shape, x.dtype)([numbers, numbers])
    assert value.addressable_data(1).unsafe_buffer_pointer() == numbers.ctypes.data
    doubled = jax.jit(lambda x: x * 2, donate_argnums=0)(value)
    numpy.testing.assert_array_equal(doubled, x * 2)
    assert value.is_deleted()
    numpy.testing.assert_array_equal(numbers, x)
