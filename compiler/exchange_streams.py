"""Writes exchanges between replicas into the streams of their islands, as tasks, sends and receives like any other.

What an island has to send goes as soon as it is complete; what it gets is added when somebody first asks for the sum.
All replicas do the same in the same order, so none waits for what another does later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from atoll.compiler.bundles import Bundle
from atoll.compiler.exchange import (
    DIRECT,
    RING,
    TREE,
    Unit,
    added_in_ring,
    children_in_tree,
    parent_in_tree,
    shared_in_ring,
    slice_bounds,
)
from atoll.compiler.exchange_code import (
    Array,
    add_code,
    combine_code,
    cut_code,
    join_code,
    pack_code,
    vector_of,
)
from atoll.compiler.mlir import ir
from atoll.compiler.stream import ALL, Name, Stream
from atoll.runtime.program import Code


@dataclass
class Codes:
    """The codes of a program, as exchanges add theirs; equal ones are there once."""

    context: ir.Context
    codes: list[Code]
    _numbers: dict[tuple[object, ...], int] = field(default_factory=dict)

    def number(self, make: Callable[..., Code], *arguments: object) -> int:
        key = (make.__name__, *arguments)
        if key not in self._numbers:
            self._numbers[key] = len(self.codes)
            self.codes.append(make(*arguments, self.context))
        return self._numbers[key]


class Exchange:
    """One unit of a bundle, in all replicas."""

    def __init__(self, number: int, bundle: Bundle, unit: Unit, streams: Sequence[Stream], codes: Codes) -> None:
        """streams: those of the island in each replica."""
        self._name = f"X{number}"
        self._sums = [bundle.sums[member] for member in unit.members]
        self._arrays = tuple(one.array for one in self._sums)
        self._kind = self._sums[0].kind
        self._unit = unit
        self._streams = streams
        self._codes = codes
        self._own: dict[int, Sequence[int]] = {}  # of each replica what it sends: the buffer of all, or of each slice
        self._tags: dict[tuple[int, int, int], int] = {}  # of what the first sends to the second in a step

    def begin(self, replica: int) -> None:
        """Send what a replica has; what comes of it is made when it is asked for."""
        stream = self._streams[replica]
        own = [stream.numbers[one.result, ALL] for one in self._sums]
        begin = {DIRECT: self._begin_direct, RING: self._begin_ring, TREE: self._begin_tree}[self._unit.form]
        begin(replica, own)
        for name in self._totals:
            stream.pending[name] = lambda: self._end(replica)

    @property
    def _totals(self) -> list[Name]:
        return [(one.total, ALL) for one in self._sums]

    @property
    def _replicas(self) -> int:
        return len(self._streams)

    def _end(self, replica: int) -> None:
        stream = self._streams[replica]
        for name in self._totals:
            del stream.pending[name]
        end = {DIRECT: self._end_direct, RING: self._end_ring, TREE: self._end_tree}[self._unit.form]
        task, code, inputs = end(replica)
        stream.run(task, code, inputs, self._totals)

    def _pack(self, replica: int, own: Sequence[int]) -> Sequence[int]:
        if not self._unit.is_packed:
            return own
        code = self._codes.number(pack_code, self._arrays)
        return self._streams[replica].run_on(f"{self._name}.pack", code, own, [self._vector.buffer])

    # Direct.

    def _begin_direct(self, replica: int, own: Sequence[int]) -> None:
        self._own[replica] = own = self._pack(replica, own)
        for ahead in range(1, self._replicas):  # to the next one first, so that not all send to one
            self._send(own[0], replica, (replica + ahead) % self._replicas, 0)

    def _end_direct(self, replica: int) -> tuple[str, int, list[int]]:
        parts = [
            self._own[replica][0] if other == replica else self._receive(self._vector, other, replica, 0)
            for other in range(self._replicas)
        ]
        return f"{self._name}.add", self._codes.number(combine_code, self._arrays, self._kind, self._replicas), parts

    # Trees.

    def _begin_tree(self, replica: int, own: Sequence[int]) -> None:
        self._own[replica] = own = self._pack(replica, own)
        parent = parent_in_tree(replica)
        if parent is not None and not children_in_tree(replica, self._replicas):
            self._send(own[0], replica, parent, 0)

    def _end_tree(self, replica: int) -> tuple[str, int, list[int]]:
        stream, (total,) = self._streams[replica], self._own[replica]
        parent, children = parent_in_tree(replica), children_in_tree(replica, self._replicas)
        code = self._codes.number(add_code, self._vector, self._kind)
        for number, child in enumerate(children):
            part = self._receive(self._vector, child, replica, 0)
            (total,) = stream.run_on(f"{self._name}.add{number}", code, [total, part], [self._vector.buffer])
        if parent is not None:
            if children:
                self._send(total, replica, parent, 0)
            total = self._receive(self._vector, parent, replica, 1)
        for child in reversed(children):  # the one with the longest way below it first
            self._send(total, replica, child, 1)
        return f"{self._name}.end", self._codes.number(combine_code, self._arrays, self._kind, 1), [total]

    # Rings.

    def _begin_ring(self, replica: int, own: Sequence[int]) -> None:
        code = self._codes.number(cut_code, self._arrays, self._dimension, self._bounds)
        slices = self._streams[replica].run_on(f"{self._name}.cut", code, own, [one.buffer for one in self._slices])
        self._own[replica] = slices
        sent, _ = added_in_ring(replica, 0, self._replicas)
        self._send(slices[sent], replica, self._next(replica), 0)

    def _end_ring(self, replica: int) -> tuple[str, int, list[int]]:
        stream, slices = self._streams[replica], list(self._own[replica])
        steps = self._replicas - 1
        for step in range(steps):
            sent, got = added_in_ring(replica, step, self._replicas)
            if step:
                self._send(slices[sent], replica, self._next(replica), step)
            part = self._slices[got]
            others = self._receive(part, self._before(replica), replica, step)
            code = self._codes.number(add_code, part, self._kind)
            (slices[got],) = stream.run_on(f"{self._name}.add{step}", code, [others, slices[got]], [part.buffer])
        for step in range(steps):
            sent, got = shared_in_ring(replica, step, self._replicas)
            self._send(slices[sent], replica, self._next(replica), steps + step)
            slices[got] = self._receive(self._slices[got], self._before(replica), replica, steps + step)
        code = self._codes.number(join_code, self._arrays, self._dimension, tuple(self._slices))
        return f"{self._name}.join", code, slices

    def _next(self, replica: int) -> int:
        return (replica + 1) % self._replicas

    def _before(self, replica: int) -> int:
        return (replica - 1) % self._replicas

    @property
    def _vector(self) -> Array:
        return vector_of(self._arrays)

    @property
    def _dimension(self) -> int:
        return self._unit.dimension or 0

    @property
    def _bounds(self) -> tuple[tuple[int, int], ...]:
        return tuple(slice_bounds(self._vector.shape[self._dimension], self._replicas))

    @property
    def _slices(self) -> list[Array]:
        return [self._vector.cut(self._dimension, *one) for one in self._bounds]

    # Between replicas.

    def _send(self, number: int, source: int, target: int, step: int) -> None:
        self._streams[source].send_buffer(number, self._streams[target].name, self._tag(source, target, step))

    def _receive(self, array: Array, source: int, target: int, step: int) -> int:
        name = self._streams[source].name
        return self._streams[target].receive(array.buffer, name, self._tag(source, target, step))

    def _tag(self, source: int, target: int, step: int) -> int:
        """Whichever end is written first decides it."""
        if (source, target, step) not in self._tags:
            self._tags[source, target, step] = self._streams[source].new_tag()
        return self._tags[source, target, step]
