"""What is carried from the thread that reads a state to the one that writes it."""

import threading

import numpy
import pytest
from atoll.checkpoint.conveyor import Conveyor, Crate

pytestmark = pytest.mark.own


def crate(size, leaf="w"):
    return Crate(leaf, (), numpy.zeros(size, "int8"))


def test_crates_come_in_order_until_the_end():
    conveyor = Conveyor(100)
    for leaf in "abc":
        conveyor.put(crate(10, leaf))
    conveyor.end()
    assert [one.leaf for one in iter(conveyor.take, None)] == ["a", "b", "c"]


def test_there_is_room_for_so_many_bytes_until_they_are_written():
    conveyor, put = Conveyor(100), []

    def read():
        for size in (60, 40, 1, 300):  # the last is larger than the room, and goes alone
            conveyor.put(crate(size))
            put.append(size)
        conveyor.end()

    reader = threading.Thread(target=read)
    reader.start()
    first, second = conveyor.take(), conveyor.take()
    assert (first.numbers.nbytes, second.numbers.nbytes) == (60, 40)
    assert put[2:] == []  # taking gives no room: the numbers are still here
    conveyor.written(60)
    assert conveyor.take().numbers.nbytes == 1
    assert put[3:] == []
    conveyor.written(40)
    conveyor.written(1)
    assert conveyor.take().numbers.nbytes == 300
    assert conveyor.take() is None
    reader.join()


@pytest.mark.parametrize("blocked", ["put", "take"])
def test_whoever_waits_is_told_why_the_other_end_has_failed(blocked):
    conveyor, errors = Conveyor(10), []
    if blocked == "put":
        conveyor.put(crate(10))

    def wait():
        try:
            conveyor.put(crate(1)) if blocked == "put" else conveyor.take()
        except OSError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    conveyor.break_down(OSError("the disk is full"))
    conveyor.break_down(OSError("later"))
    waiting.join()
    assert [str(error) for error in errors] == ["the disk is full"]
