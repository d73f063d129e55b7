"""A compiled program as plain data: fragments, one instruction stream an island, inputs and outputs.

Whoever holds a `Program` can run it: it needs neither the user's source nor the compiler. This file does not import
jax either.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, starmap
from math import prod
from typing import NamedTuple

import ml_dtypes  # noqa: F401 (registers bfloat16 and its kin with numpy)
import numpy
from atoll.compiler.task_name import TaskName

Place = tuple[str, int]  # an island, and a buffer on it
# Where a value is: for each of its parts, or for the whole if it is not divided, the places that have a copy each.
Places = tuple[tuple[Place, ...], ...]
# Where a part begins in the whole, for each dimension.
Start = tuple[int, ...]
# Which elements of the whole a part has: for each dimension from where to where.
Box = tuple[tuple[int, int], ...]


class AxisPart(NamedTuple):
    """An axis of a mesh, or a part of one as Shardy calls it: `data:(2)4` numbers four runs of devices in each half.

    before: into how many runs more major parts of the axis divide it; size: into how many this one divides each.
    """

    axis: str
    before: int
    size: int

    @classmethod
    def of(cls, text: str, sizes: Mapping[str, int]) -> "AxisPart":
        """What an entry of a buffer's spec means on a mesh whose axes have these sizes."""
        if text in sizes:
            return cls(text, 1, sizes[text])
        axis, _, part = text.rpartition(":(")
        before, _, size = part.partition(")")
        return cls(axis, int(before), int(size))

    def text(self, sizes: Mapping[str, int]) -> str:
        """As a spec has it."""
        return self.axis if self.size == sizes[self.axis] else f"{self.axis}:({self.before}){self.size}"

    def is_in(self, other: "AxisPart") -> bool:
        """Whether it is another one or a part of it."""
        ends = self.before * self.size, other.before * other.size
        return self.axis == other.axis and other.before <= self.before and ends[0] <= ends[1]

    def cut(self, size: int) -> "tuple[AxisPart, AxisPart]":
        """Its major part of a size, and the rest."""
        return AxisPart(self.axis, self.before, size), AxisPart(self.axis, self.before * size, self.size // size)


@dataclass(frozen=True)
class Buffer:
    """One array on one island.

    dtype: what numpy and ml_dtypes call it; a typed random key is held as its `uint32` words.
    spec: for each dimension the axes of the island's mesh that it is sharded over, or parts of axes; a dimension
        without an entry is replicated.
    on_host: whether it is in the memory of the host beside the devices, which jax calls `pinned_host`.
    """

    shape: tuple[int, ...]
    dtype: str
    spec: tuple[tuple[str, ...], ...] = ()
    on_host: bool = False

    @property
    def bytes(self) -> int:
        """The size of the whole array, however many devices hold a copy or a part of it."""
        return prod(self.shape) * self.itemsize

    @property
    def itemsize(self) -> int:
        """The bytes of one element."""
        return numpy.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}{' on the host' if self.on_host else ''}"


@dataclass(frozen=True)
class Code:
    """What tasks run: a fragment, compiled once for each set of devices that runs it.

    module: StableHLO, as MLIR bytecode or a portable artifact; its `@main` takes and returns the buffers.
    where: the user's `file:line`, for messages.
    scopes: the user's scopes that it was made from, for messages.
    """

    name: str
    module: bytes
    results: tuple[Buffer, ...]
    where: str = ""
    scopes: str = ""


@dataclass(frozen=True)
class Run:
    """Run a task, which is called as `TaskName` says: `F3@0` is the forward task of microbatch 3 on stage 0.

    donated: the inputs whose memory the outputs may take over; they are gone afterwards.
    """

    task: str
    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    donated: tuple[int, ...] = ()

    @cached_property
    def name(self) -> TaskName:
        """What the task's name says; ValueError if no task is called that."""
        return TaskName.parse(self.task)


@dataclass(frozen=True)
class Count:
    """Make a buffer of the number of a microbatch, for what the tasks compute from it."""

    buffer: int
    microbatch: int


@dataclass(frozen=True)
class Send:
    """Hand a buffer to the link; the stream goes on at once. A tag is used once a step between two islands."""

    buffer: int
    to: str
    tag: int


@dataclass(frozen=True)
class Receive:
    """Wait for the value that an island sends with this tag; it becomes a buffer here, in the buffer's sharding."""

    buffer: int
    source: str
    tag: int


@dataclass(frozen=True)
class Free:
    """Forget buffers after their last use."""

    buffers: tuple[int, ...]


Instruction = Run | Count | Send | Receive | Free


@dataclass(frozen=True)
class IslandProgram:
    """What one island does in a step. A buffer's number is its index in `buffers`.

    axes: the names and sizes of the island's mesh.
    """

    name: str
    axes: tuple[tuple[str, int], ...]
    buffers: tuple[Buffer, ...]
    instructions: tuple[Instruction, ...]

    @cached_property
    def received(self) -> dict[tuple[str, int], int]:
        """By source and tag, the buffer that it receives."""
        return {(one.source, one.tag): one.buffer for one in self.instructions if isinstance(one, Receive)}


@dataclass(frozen=True)
class Port:
    """A value that goes into the step or comes out of it.

    path: what the user calls it: `state['params']['w']`.
    dtype: a buffer's, or that of a typed random key: `key<fry>`.
    places: where a step finds it, or leaves it, for each of its parts; empty if the program never reads it.
    starts: where each part, which is as large as its buffers, begins in the whole; empty if the value is not divided.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    weak_type: bool = False
    places: Places = ()
    starts: tuple[Start, ...] = ()

    @cached_property
    def kind(self) -> tuple[tuple[int, ...], str, bool]:
        """What a value must be to be taken for it."""
        return self.shape, self.dtype, self.weak_type

    @property
    def every_place(self) -> tuple[Place, ...]:
        """The places of all parts."""
        return tuple(chain.from_iterable(self.places))


@dataclass(frozen=True)
class Input(Port):
    """An argument of the step.

    either: whether a value may be weakly typed or not, as the program is the same for both.
    """

    donated: bool = False
    either: bool = False


@dataclass(frozen=True)
class Output(Port):
    """A result of the step."""


@dataclass(frozen=True)
class Division:
    """How a value is divided: which elements each part has; nothing if it is whole."""

    boxes: tuple[Box, ...] = ()

    @cached_property
    def dimensions(self) -> tuple[int, ...]:
        """Along which dimensions it is divided; along the others each part is as long as the whole."""
        return tuple(number for number, bounds in enumerate(zip(*self.boxes, strict=True)) if len(set(bounds)) > 1)

    @cached_property
    def indices(self) -> tuple[tuple[slice, ...], ...]:
        """Where each part is in the whole, as numpy indexes."""
        divided = self.dimensions
        return tuple(
            tuple(slice(*bounds) if number in divided else slice(None) for number, bounds in enumerate(box))
            for box in self.boxes
        )


def box_of(start: Start, shape: tuple[int, ...]) -> Box:
    """Where a part is that begins there; for a random key, without the dimension of its words."""
    return tuple((one, one + size) for one, size in zip(start, shape, strict=False))


@dataclass(frozen=True)
class Prebuilt:
    """What XLA has made of a code, so that machines of one kind need not compile it.

    key: for which code, and which machine; `prebuilt.key_of` says what is in it. machine: the latter, for people.
    """

    key: str
    machine: str
    content: bytes


@dataclass(frozen=True)
class Program:
    """A compiled step.

    topology, plan, report: what it was compiled for, and what came of it.
    prebuilt: what XLA has made of its codes already.
    trees: the pytrees that it is called with and returns, told by the compiler; empty if it takes flat arrays.
    """

    islands: tuple[IslandProgram, ...]
    codes: tuple[Code, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    topology: str = ""
    plan: str = ""
    report: str = ""
    trees: str = ""
    prebuilt: tuple[Prebuilt, ...] = ()

    @cached_property
    def kept(self) -> dict[str, dict[int, int]]:
        """For each island the buffers that are results, and how many results rest on each."""
        counts = Counter(chain.from_iterable(output.every_place for output in self.outputs))
        kept: dict[str, dict[int, int]] = {island.name: {} for island in self.islands}
        for (name, number), count in counts.items():
            kept[name][number] = count
        return kept

    @cached_property
    def given(self) -> dict[str, tuple[int, ...]]:
        """For each island the buffers that are arguments."""
        found: dict[str, dict[int, None]] = {island.name: {} for island in self.islands}  # each once, and in order
        for name, number in chain.from_iterable(one.every_place for one in self.inputs):
            found[name][number] = None
        return {name: tuple(numbers) for name, numbers in found.items()}

    def buffer(self, place: Place) -> Buffer:
        """The buffer at a place."""
        name, number = place
        return next(island for island in self.islands if island.name == name).buffers[number]

    def division(self, value: Port) -> Division:
        """How an argument or a result is divided into its parts."""
        if len(value.starts) < 2:  # one part is the whole
            return Division()
        shapes = (self.buffer(copies[0]).shape for copies in value.places)
        return Division(tuple(starmap(box_of, zip(value.starts, shapes, strict=True))))
