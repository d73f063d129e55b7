"""What the controller and its hosts say to each other: plain data, in which values are what the data plane carries.

A host has islands. Between two ends messages keep their order; what different ends send has none. A message that comes
twice is obeyed once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import jax
from atoll.runtime.failure import Failure
from atoll.runtime.program import IslandProgram, Program
from atoll.runtime.program_memory import Bytes
from atoll.runtime.record import Record

Value = Any  # a jax.Array, or a Failure in its place


# How many bytes of a value wait for the next message before they are given back.
_SMALL = 1 << 16


class Use(Enum):
    """What a step may do with a value that is given to it. The controller decides, in the order of its steps."""

    BORROW = "read it"
    TAKE = "overwrite it: it is gone for everyone else"
    COPY = "overwrite a copy of it"


class Stored(NamedTuple):
    """An argument that the island has in its store; a tuple, as most arguments of most steps are one."""

    handle: int
    use: Use


@dataclass(frozen=True, slots=True)
class Coming:
    """An argument that another island sends."""

    source: str


@dataclass(frozen=True, slots=True)
class Forward:
    """A value in the store of an island that is an argument elsewhere: the buffer of an island of a program."""

    handle: int
    use: Use
    program: int
    step: int
    to: str
    buffer: int


@dataclass(frozen=True, slots=True)
class Order:
    """What one island has to do for a step.

    feeds: by buffer, an argument: a value that comes with the order, a `Stored`, a `Coming` or a `Fed`.
    outputs: by buffer, under which handle it is kept.
    forwards: what it sends before it begins. An island outside the step has only these.
    """

    feeds: Mapping[int, Any]
    outputs: Mapping[int, int]
    forwards: tuple[Forward, ...] = ()


# From the controller to a host.


@dataclass(frozen=True, slots=True)
class Load:
    """Compile a program for those of its islands that the host has. With none of them, know where its values go.

    meshes, hosts: of every island of the program, its devices and the number of its host.
    patience: how many seconds any wait may take.
    callbacks: the host functions that it calls.
    """

    program: int
    code: Program
    meshes: Mapping[str, jax.sharding.Mesh]
    hosts: Mapping[str, int]
    islands: tuple[str, ...]
    patience: float
    callbacks: tuple[Callable[..., Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """Carry out a step. sequence: the number of the message, in which `sender` counts up."""

    sender: int
    sequence: int
    program: int
    step: int
    orders: Mapping[str, Order]
    traced: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """Keep a value that comes from the controller, as the program holds a buffer; without one, on any device."""

    program: int
    island: str
    buffer: int | None
    handle: int
    value: Value
    size: Bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """Tell the value of a handle, once there is one; it may still be computed then."""

    request: int
    island: str
    handle: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Nobody will ask for a handle any more, whose value has so many bytes on each device."""

    island: str
    handle: int
    size: int

    @property
    def can_wait(self) -> bool:
        """Whether to wake a thread for it would cost more than the memory is worth."""
        return self.size < _SMALL


@dataclass(frozen=True, slots=True)
class Ping:
    """Tell what the islands are doing."""

    request: int


@dataclass(frozen=True, slots=True)
class Lose:
    """Nothing comes from these islands any more, for a reason that stands in place of what they owe."""

    islands: tuple[str, ...]
    failure: Failure


@dataclass(frozen=True, slots=True)
class Close:
    """Forget a program, once its steps are over."""

    program: int


@dataclass(frozen=True, slots=True)
class Apply:
    """Call a function in each process of an island elsewhere, and tell what it returns: numbers stay where they are.

    handle: of a value; it is called once that is computed, with what the process has of it. Without one, with None.
    """

    request: int
    island: str
    handle: int | None
    function: Callable[[Any], Any]


# From a process of an island to the others, by way of the controller.


@dataclass(frozen=True, slots=True)
class GoesWithout:
    """A step takes a failure where it would take what a source sends to an island; so it must in each process."""

    program: int
    step: int
    to: str
    source: str
    tag: int
    failure: Failure


ToHost = Load | Start | Put | Fetch | Drop | Ping | Lose | Close | Apply | GoesWithout

# From a host to the controller.


@dataclass(frozen=True, slots=True)
class Compiling:
    """A fragment is being compiled, or is ready."""

    island: str
    fragment: str
    is_ready: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program is ready. compilations: how many fragments were compiled."""

    program: int
    host: int
    compilations: int


@dataclass(frozen=True, slots=True)
class CompileFailed:
    """A fragment cannot be compiled."""

    program: int
    host: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class StepEnded:
    """An island's devices have ended a step."""

    program: int
    step: int
    island: str
    record: Record


@dataclass(frozen=True, slots=True)
class Told:
    """The answer to a request: a value, or what the islands are doing."""

    request: int
    answer: Any


@dataclass(frozen=True, slots=True)
class ApplyAnswer:
    """The answer of processes that have called a function: what it returned in each, in their order."""

    results: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class HostFailed:
    """A host can do nothing more."""

    host: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Parted:
    """A process has taken a value that another one of its island goes without. why: what stands in its place there."""

    source: str
    why: Failure


ToController = Compiling | Loaded | CompileFailed | StepEnded | Told | HostFailed | GoesWithout | Parted

# From a host to another.


@dataclass(slots=True)
class Offer:
    """A value for an island of a step.

    tag: that of a send; of an argument, its buffer's number counted down from -1.
    owned: whether the island may overwrite it; otherwise it is also in the sender's store.
    """

    program: int
    step: int
    to: str
    source: str
    tag: int
    value: Value
    owned: bool = True
    sent: int = 0  # when an argument was sent, by `time.perf_counter_ns`

    def take(self) -> Value:
        """The value, once. If the message kept it, it would live as long as the message is on somebody's stack."""
        value, self.value = self.value, None
        return value


def argument_tag(buffer: int) -> int:
    """The tag under which an argument travels; those of sends are not negative."""
    return -1 - buffer


def buffer_of(island: IslandProgram, source: str, tag: int) -> int:
    """Into which buffer of an island goes what another sends with a tag."""
    return argument_of(tag) if tag < 0 else island.received[source, tag]


def argument_of(tag: int) -> int:
    """The buffer of an argument that travels under a tag."""
    return -1 - tag
