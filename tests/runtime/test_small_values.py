"""Values of few bytes between islands of one device each, without processes: what is sent, and what comes of it."""

import jax.numpy as jnp
import numpy
import pytest
from atoll.runtime.failure import Failure
from atoll.runtime.messages import Close, Load, Offer
from atoll.runtime.processes.arrivals import Arrivals
from atoll.runtime.processes.packing import pack, unpack
from atoll.runtime.processes.small_values import SmallArrival, SmallSends
from atoll.runtime.program import Buffer, IslandProgram, Program, Receive, Send

pytestmark = pytest.mark.own

ONE, TWO = (("x", 1),), (("x", 2),)


def load(buffer, axes=(ONE, ONE)):
    """A program whose island `a` sends two values to `b`, of which the second one is of interest."""
    sends = (Send(0, "b", 4), Send(1, "b", 9))
    receives = (Receive(2, "a", 4), Receive(1, "a", 9))
    islands = tuple(
        IslandProgram(name, its, (Buffer((), "int32"), buffer, Buffer((), "int32")), instructions)
        for name, its, instructions in zip("ab", axes, (sends, receives), strict=True)
    )
    return Load(7, Program(islands, (), (), ()), {}, {}, ("a", "b"), 60.0)


@pytest.fixture
def arrivals(make_meshes):
    return Arrivals("b", make_meshes((1,), ("x",))["left"])


def sent(message, value):
    """What island `a` sends of a value."""
    sends = SmallSends("a")
    sends.note(message)
    return sends.small(Offer(7, 3, "b", "a", 9, value))


@pytest.mark.parametrize(
    "value",
    [
        numpy.float32(1.5),
        numpy.arange(12, dtype="int8").reshape(3, 4),
        numpy.array([[True], [False]]),
        numpy.array([1 + 2j, -3j], "complex64"),
        jnp.arange(4, dtype="bfloat16"),
        jnp.arange(-3, 4, dtype="int4"),
        jnp.arange(4, dtype="float8_e4m3fn"),
        numpy.zeros((0, 3), "float32"),
        numpy.zeros(1 << 11, "float32"),
    ],
    ids=lambda value: f"{value.dtype}{list(value.shape)}",
)
def test_what_arrives_is_what_was_sent(arrivals, value):
    value = jnp.asarray(value)
    message = load(Buffer(value.shape, value.dtype.name))
    arrivals.placed(message)
    frame = pack(sent(message, value))
    assert len(frame) == 1
    arrived = unpack([bytes(frame[0])])
    assert isinstance(arrived, SmallArrival)
    offer = arrivals.placed(arrived)
    assert (offer.program, offer.step, offer.to, offer.source, offer.tag, offer.owned) == (7, 3, "b", "a", 9, True)
    assert (offer.value.shape, offer.value.dtype) == (value.shape, value.dtype)
    assert numpy.asarray(offer.value).tobytes() == numpy.asarray(value).tobytes()


@pytest.mark.parametrize(
    ("buffer", "axes"),
    [
        (Buffer((1 << 12,), "float32"), (ONE, ONE)),  # not small
        (Buffer((4,), "float32", on_host=True), (ONE, ONE)),
        (Buffer((4,), "float32"), (TWO, ONE)),  # which of its processes has it is not known here
        (Buffer((4,), "float32"), (ONE, TWO)),
    ],
)
def test_all_else_is_cut_into_tiles(buffer, axes):
    assert sent(load(buffer, axes), jnp.zeros(buffer.shape)) is None


def test_failures_go_as_messages(arrivals):
    message = load(Buffer((), "float32"))
    assert sent(message, Failure("it is gone")) is None

    class Failed:
        """As jax has an array that could not be computed."""

        def block_until_ready(self):
            raise RuntimeError("no memory")

    small = sent(message, jnp.float32(1))
    small.offer.value = Failed()
    found = unpack([bytes(part) for part in pack(small)])
    assert (found.step, found.source, found.tag) == (3, "a", 9)
    assert isinstance(found.value, Failure)
    assert found.value.is_of_device
    assert "no memory" in found.value.what
    arrivals.placed(message)
    assert arrivals.placed(found) is found


def test_nobody_is_told_of_a_program_that_was_closed(arrivals):
    message = load(Buffer((), "float32"))
    sends = SmallSends("a")
    sends.note(message)
    offer = Offer(7, 3, "b", "a", 9, jnp.float32(1))
    arrived = unpack(pack(sends.small(offer)))
    arrivals.placed(message)
    arrivals.placed(Close(7))
    assert arrivals.placed(arrived) is None
    sends.forget(7)
    assert sends.small(offer) is None
