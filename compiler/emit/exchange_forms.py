"""The forms of an exchange between replicas: what each replica sends first, and what it does with what it gets."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from atoll.compiler.emit.exchange_code import (
    ExchangedArray,
    Slicing,
    add_code,
    combine_code,
    cut_code,
    gather_code,
    join_code,
    own_share_code,
    share_out_code,
    vector_of,
)
from atoll.compiler.emit.exchange_wires import Wires
from atoll.compiler.module.tasks import GATHER, OWN_SHARE
from atoll.compiler.replicas.exchange import (
    DIRECT,
    RING,
    SCATTER,
    TREE,
    added_in_ring,
    children_in_tree,
    parent_in_tree,
    shared_in_ring,
    slice_bounds,
)


class LastTask(NamedTuple):
    """The task that makes the results of an exchange on a replica."""

    name: str
    code: int
    inputs: Sequence[int]


class Form(Protocol):
    """One exchange in one form."""

    def begin(self, replica: int, /) -> None:
        """Send what a replica has."""

    def end(self, replica: int, /) -> LastTask:
        """Receive the rest, and send on what others wait for; returns what is left to run."""


class _Direct:
    """Each sends all that it has to all others. All add in the order of the replicas, so all get the same bits."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._own: dict[int, int] = {}

    def begin(self, replica: int) -> None:
        self._own[replica] = own = self._wires.packed(replica, self._wires.wholes)
        _send_to_all(self._wires, replica, [own] * self._wires.count)

    def end(self, replica: int) -> LastTask:
        wires = self._wires
        code = wires.code(combine_code, wires.wholes, wires.kind, wires.count)
        return LastTask("add", code, _of_all(wires, replica, self._own[replica], vector_of(wires.wholes)))


class _Scatter:
    """Each sends every other replica its share, and adds up its own."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._own: dict[int, int] = {}

    def begin(self, replica: int) -> None:
        wires = self._wires
        own = wires.given(replica)
        code = wires.code(share_out_code, wires.shared, wires.count)
        shares = wires.run(replica, "cut", code, own, [vector_of(wires.shares)] * wires.count)
        self._own[replica] = shares[replica]
        _send_to_all(wires, replica, shares)

    def end(self, replica: int) -> LastTask:
        wires = self._wires
        code = wires.code(combine_code, wires.shares, wires.kind, wires.count)
        return LastTask("add", code, _of_all(wires, replica, self._own[replica], vector_of(wires.shares)))


class _Gather:
    """Each sends its share to all others, and all join them."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._own: dict[int, int] = {}

    def begin(self, replica: int) -> None:
        self._own[replica] = own = self._wires.packed(replica, self._wires.shares)
        _send_to_all(self._wires, replica, [own] * self._wires.count)

    def end(self, replica: int) -> LastTask:
        wires = self._wires
        code = wires.code(gather_code, wires.shared, wires.count)
        return LastTask("join", code, _of_all(wires, replica, self._own[replica], vector_of(wires.shares)))


def _send_to_all(wires: Wires, replica: int, buffers: Sequence[int]) -> None:
    """Send to each other replica the buffer that stands at its number."""
    for ahead in range(1, wires.count):  # to the next one first, so that not all send to one
        other = (replica + ahead) % wires.count
        wires.send(buffers[other], replica, other, 0)


def _of_all(wires: Wires, replica: int, own: int, array: ExchangedArray) -> list[int]:
    """What the replicas have sent to one, and what it has itself, in their order."""
    others = range(wires.count)
    return [own if other == replica else wires.receive(array, other, replica, 0) for other in others]


class _OwnShare:
    """Each takes its share of what it has already; nothing crosses, so nothing is done before the share is needed."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires

    def begin(self, replica: int) -> None:
        pass

    def end(self, replica: int) -> LastTask:
        code = self._wires.code(own_share_code, self._wires.shared, replica)
        return LastTask("share", code, self._wires.given(replica))


class _Tree:
    """Half of the replicas send to the other half, half of those send on, and the sum goes back the way it came."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._own: dict[int, int] = {}

    def begin(self, replica: int) -> None:
        self._own[replica] = own = self._wires.packed(replica, self._wires.wholes)
        parent = parent_in_tree(replica)
        if parent is not None and not children_in_tree(replica, self._wires.count):
            self._wires.send(own, replica, parent, 0)  # only a leaf: others have to add first

    def end(self, replica: int) -> LastTask:
        wires, total, vector = self._wires, self._own[replica], vector_of(self._wires.wholes)
        parent, children = parent_in_tree(replica), children_in_tree(replica, wires.count)
        code = wires.code(add_code, vector, wires.kind)
        for number, child in enumerate(children):
            part = wires.receive(vector, child, replica, 0)
            (total,) = wires.run(replica, f"add{number}", code, [total, part], [vector])
        if parent is not None:
            if children:
                wires.send(total, replica, parent, 0)
            total = wires.receive(vector, parent, replica, 1)  # of all, in place of what was added here
        for child in reversed(children):  # the one with the longest way below it first
            wires.send(total, replica, child, 1)
        return LastTask("end", wires.code(combine_code, wires.wholes, wires.kind, 1), [total])


class _Ring:
    """Slices go round once to be added up, and once more so that all get them."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        vector, dimension, parts = vector_of(wires.wholes), wires.unit.dimension or 0, wires.unit.parts
        self._slicing = Slicing(dimension, parts, tuple(slice_bounds(vector.shape[dimension] // parts, wires.count)))
        self._slices = self._slicing.of(vector)
        self._own: dict[int, Sequence[int]] = {}  # the buffer of each slice

    def begin(self, replica: int) -> None:
        wires = self._wires
        own = wires.given(replica)
        code = wires.code(cut_code, wires.wholes, self._slicing)
        self._own[replica] = slices = wires.run(replica, "cut", code, own, self._slices)
        # Only the first slice goes now: what goes later has first to be added to.
        sent, _ = added_in_ring(replica, 0, wires.count)
        wires.send(slices[sent], replica, self._next(replica), 0)

    def end(self, replica: int) -> LastTask:
        wires, slices = self._wires, list(self._own[replica])
        following, before = self._next(replica), (replica - 1) % wires.count
        steps = wires.count - 1
        for step in range(steps):
            sent, got = added_in_ring(replica, step, wires.count)
            if step:
                wires.send(slices[sent], replica, following, step)
            part = self._slices[got]
            others = wires.receive(part, before, replica, step)
            code = wires.code(add_code, part, wires.kind)
            (slices[got],) = wires.run(replica, f"add{step}", code, [others, slices[got]], [part])
        for step in range(steps):
            sent, got = shared_in_ring(replica, step, wires.count)
            wires.send(slices[sent], replica, following, steps + step)
            slices[got] = wires.receive(self._slices[got], before, replica, steps + step)
        return LastTask("join", wires.code(join_code, wires.wholes, self._slicing), slices)

    def _next(self, replica: int) -> int:
        return (replica + 1) % self._wires.count


FORMS: Mapping[str, Callable[[Wires], Form]] = {
    DIRECT: _Direct,
    RING: _Ring,
    TREE: _Tree,
    SCATTER: _Scatter,
    GATHER: _Gather,
    OWN_SHARE: _OwnShare,
}
