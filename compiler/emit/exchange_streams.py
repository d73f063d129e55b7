"""Writes exchanges between replicas into the streams of their islands, as tasks, sends and receives like any other.

What an island has to send goes as soon as it is complete; what it gets is added, or joined, when somebody first asks
for the result. Both points follow from the module alone, so they stand between the same tasks in all replicas: the one
behind the last task of a loop that makes a sum, behind the task of `@main` that makes another value, or else where the
exchange stands in `@main`; the other before what takes the result. So none waits for what another does later: put the
points and tasks of one replica into an order in which it could do them one by one if exchanges took no time. Whatever
is received at a point is sent at that point of another replica or at an earlier one, so they all get beyond it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from atoll.compiler.emit.bundles import Bundle
from atoll.compiler.emit.exchange_code import (
    Array,
    Shared,
    add_code,
    combine_code,
    cut_code,
    gather_code,
    join_code,
    own_share_code,
    pack_code,
    share_out_code,
    vector_of,
)
from atoll.compiler.emit.stream import ALL, Name, Stream
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.tasks import GATHER, OWN_SHARE
from atoll.compiler.replicas.exchange import (
    DIRECT,
    RING,
    SCATTER,
    TREE,
    Unit,
    added_in_ring,
    children_in_tree,
    parent_in_tree,
    shared_in_ring,
    slice_bounds,
)
from atoll.compiler.task_name import EXCHANGE, TaskName
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
        self._number = number
        self._members = [bundle.members[member] for member in unit.members]
        self._arrays = tuple(one.whole for one in self._members)
        self._kind = self._members[0].kind
        self._unit = unit
        self._streams = streams
        self._codes = codes
        self._own: dict[int, Sequence[int]] = {}  # of each replica what it sends: the buffer of all, or of each slice
        self._tags: dict[tuple[int, int, int], int] = {}  # of what the first sends to the second in a step

    def begin(self, replica: int) -> None:
        """Send what a replica has; what comes of it is made when it is asked for."""
        begin = {
            DIRECT: self._begin_direct,
            RING: self._begin_ring,
            TREE: self._begin_tree,
            SCATTER: self._begin_scatter,
            GATHER: self._begin_direct,
        }
        if self._unit.form in begin:
            begin[self._unit.form](replica, self._given(replica))
        for name in self._results:
            self._streams[replica].pending[name] = lambda: self._end(replica)

    def _given(self, replica: int) -> list[int]:
        return [self._streams[replica].buffer_of((one.given, ALL)) for one in self._members]

    @property
    def _results(self) -> list[Name]:
        return [(one.made, ALL) for one in self._members]

    @property
    def _replicas(self) -> int:
        return len(self._streams)

    def _end(self, replica: int) -> None:
        stream = self._streams[replica]
        for name in self._results:
            del stream.pending[name]
        end = {
            DIRECT: self._end_direct,
            RING: self._end_ring,
            TREE: self._end_tree,
            SCATTER: self._end_scatter,
            GATHER: self._end_gather,
            OWN_SHARE: self._end_own_share,
        }
        task, code, inputs = end[self._unit.form](replica)
        stream.run(task, code, inputs, self._results)

    def _task(self, part: str) -> str:
        return str(TaskName(EXCHANGE, self._number, part=part))

    def _pack(self, replica: int, own: Sequence[int]) -> Sequence[int]:
        if not self._unit.is_packed:
            return own
        code = self._codes.number(pack_code, self._sent)
        return self._streams[replica].run_on(self._task("pack"), code, own, [self._vector.buffer])

    # Direct, and shares.

    def _begin_direct(self, replica: int, own: Sequence[int]) -> None:
        self._own[replica] = own = self._pack(replica, own)
        self._send_to_all(replica, [own[0]] * self._replicas)

    def _begin_scatter(self, replica: int, own: Sequence[int]) -> None:
        code = self._codes.number(share_out_code, self._shared, self._replicas)
        vectors = [self._vector.buffer] * self._replicas
        shares = self._streams[replica].run_on(self._task("cut"), code, own, vectors)
        self._own[replica] = [shares[replica]]
        self._send_to_all(replica, shares)

    def _send_to_all(self, replica: int, buffers: Sequence[int]) -> None:
        """To each other replica the buffer of its number."""
        for ahead in range(1, self._replicas):  # to the next one first, so that not all send to one
            other = (replica + ahead) % self._replicas
            self._send(buffers[other], replica, other, 0)

    def _of_all(self, replica: int) -> list[int]:
        """What the replicas have sent to one, and what it has itself, in their order."""
        (own,) = self._own[replica]
        return [
            own if other == replica else self._receive(self._vector, other, replica, 0)
            for other in range(self._replicas)
        ]

    def _end_direct(self, replica: int) -> tuple[str, int, list[int]]:
        code = self._codes.number(combine_code, self._sent, self._kind, self._replicas)
        return self._task("add"), code, self._of_all(replica)

    # What each has added up is a share of what `direct` gives.
    _end_scatter = _end_direct

    def _end_gather(self, replica: int) -> tuple[str, int, list[int]]:
        code = self._codes.number(gather_code, self._shared, self._replicas)
        return self._task("join"), code, self._of_all(replica)

    def _end_own_share(self, replica: int) -> tuple[str, int, list[int]]:
        """Nothing has crossed, and what is cut may itself be asked for as late as this."""
        code = self._codes.number(own_share_code, self._shared, replica)
        return self._task("share"), code, self._given(replica)

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
            (total,) = stream.run_on(self._task(f"add{number}"), code, [total, part], [self._vector.buffer])
        if parent is not None:
            if children:
                self._send(total, replica, parent, 0)
            total = self._receive(self._vector, parent, replica, 1)
        for child in reversed(children):  # the one with the longest way below it first
            self._send(total, replica, child, 1)
        return self._task("end"), self._codes.number(combine_code, self._arrays, self._kind, 1), [total]

    # Rings.

    def _begin_ring(self, replica: int, own: Sequence[int]) -> None:
        code = self._codes.number(cut_code, self._arrays, self._dimension, self._bounds)
        slices = self._streams[replica].run_on(self._task("cut"), code, own, [one.buffer for one in self._slices])
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
            (slices[got],) = stream.run_on(self._task(f"add{step}"), code, [others, slices[got]], [part.buffer])
        for step in range(steps):
            sent, got = shared_in_ring(replica, step, self._replicas)
            self._send(slices[sent], replica, self._next(replica), steps + step)
            slices[got] = self._receive(self._slices[got], self._before(replica), replica, steps + step)
        code = self._codes.number(join_code, self._arrays, self._dimension, tuple(self._slices))
        return self._task("join"), code, slices

    def _next(self, replica: int) -> int:
        return (replica + 1) % self._replicas

    def _before(self, replica: int) -> int:
        return (replica - 1) % self._replicas

    @property
    def _shared(self) -> tuple[Shared, ...]:
        return tuple(one.shared for one in self._members)

    @property
    def _sent(self) -> tuple[Array, ...]:
        """What a replica sends to another, before it is packed: all that it has, or the shares."""
        if self._unit.form in (SCATTER, GATHER):
            return tuple(one.share for one in self._shared)
        return self._arrays

    @property
    def _vector(self) -> Array:
        return vector_of(self._sent)

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
