"""What one device of each kind can do. A device is what jax calls so: half a chip of `tpu7x`, else a whole one.

Sources, as their makers state them for a chip: v4, v5e, v5p, v6e and tpu7x from the pages of Google Cloud's TPU
documentation on each of them (system architecture); `gpu` from NVIDIA's data sheet of the A100 SXM with 80 GB, with
the bandwidth of NVLink for one direction. Between a chip and the memory of its host goes what PCI Express carries one
way: 16 lanes of its fourth generation for `gpu`; for TPUs as "How to Scale Your Model" (JAX's authors, 2025) has it
for v4, and for v6e, twice as much as for v5; tpu7x is taken as v6e. For `cpu` nothing is stated: what a core or two do
in float32, and a copy reads and writes. A topology can say what was measured instead, as `atoll calibrate` does of
this machine.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from atoll.compiler.cost.work import Work
from atoll.compiler.topology.island import Island
from atoll.compiler.topology.topology import Topology

# The part of what makers state that is assumed to be reached: by products, and by what goes through memory or links.
_PRODUCTS, _MOVES = 0.5, 0.8

# From where a cache holds all to where it holds nothing, in parts of the bytes with which half is lost.
_BY_AND_BY = 0.8


class Spent(NamedTuple):
    """The seconds in which a device computes, in which memory is what it waits for, and those of collectives."""

    computing: float = 0.0
    moving: float = 0.0
    collectives: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DeviceKind:
    """What one device does in a second, at the most.

    operations: of products in bfloat16; float32 counts alike, as jax's default precision takes the same units.
    memory: the bytes that go through its main memory; capacity: the bytes that this has.
    convolutions: the same as `operations` of convolutions; None if they are done as fast as products.
    interconnect: the bytes that it sends to other devices of its island.
    host: the bytes that go between it and the memory of its host, one way at a time.
    overlaps: whether it computes while its memory is waited for. A core does not: before it multiplies, it puts what it
        was given into another order.
    task: the seconds that a task takes beside its work.
    reordering: the bytes that are computed in another order, for products; None if that takes no time.
    across: the bytes that are read for that in the time by which it takes longer where no cache holds what one value is
        made of; None if it takes no longer. reach: with how many bytes it takes half of that.
    """

    operations: float
    memory: float
    capacity: int | None
    interconnect: float
    host: float
    products_reach: float = _PRODUCTS
    moves_reach: float = _MOVES
    convolutions: float | None = None
    overlaps: bool = True
    task: float = 0.0
    reordering: float | None = None
    across: float | None = None
    reach: float = inf

    @property
    def speed(self) -> float:
        """The operations a second that are assumed."""
        return self.operations * self.products_reach

    def seconds(self, work: Work) -> float:
        """What work takes."""
        return sum(self.spent(work))

    def least_seconds(self, work: Work, part: float) -> float:
        """What work takes at least as a part of any task, with whatever else there is in it.

        Where computing and moving overlap, a task takes the longer of all its computing and all its moving, and so at
        least any mean of the two. part: of computing in the mean; that of moving is the rest.
        """
        computing, moving, collectives = self._times(work)
        at_once = part * computing + (1 - part) * moving if self.overlaps else computing + moving
        return at_once + self._copying(work) + collectives

    def spent(self, work: Work) -> "Spent":
        """On what. Where computing and moving overlap, what takes longer has the time; collectives wait for what they
        send, and a task for what it takes from the host, as what it makes for it is waited for."""
        computing, moving, collectives = self._times(work)
        copying = self._copying(work)
        if not self.overlaps:
            return Spent(computing, moving + copying, collectives)
        is_computing = computing >= moving
        return Spent(computing if is_computing else 0.0, copying + (0.0 if is_computing else moving), collectives)

    def _times(self, work: Work) -> "Spent":
        """What each by itself takes."""
        convolving = self.speed if self.convolutions is None else self.convolutions * self.products_reach
        computing = (work.operations - work.convolved) / self.speed + work.convolved / convolving
        moving, collectives = work.moved / self.memory, work.exchanged / self.interconnect
        moving += self._reordering(work)
        return Spent(computing, moving / self.moves_reach, collectives / self.moves_reach)

    def _reordering(self, work: Work) -> float:
        """What it takes to put values in another order."""
        if self.reordering is None:
            return 0.0
        seconds = sum(one.times * one.made for one in work.reordered) / self.reordering
        if self.across is not None:
            seconds += sum(one.times * one.read * self._part_lost(one.read) for one in work.reordered) / self.across
        return seconds

    def _part_lost(self, read: float) -> float:
        """How much of what it takes longer where no cache holds so many bytes."""
        return min(1.0, max(0.0, 0.5 + (read / self.reach - 1) / _BY_AND_BY))

    def _copying(self, work: Work) -> float:
        """What crosses between its own memory and that of the host."""
        return work.hosted / self.host / self.moves_reach


DEVICE_KINDS: Mapping[str, DeviceKind] = {
    "cpu": DeviceKind(
        operations=20e9,
        memory=20e9,
        capacity=None,
        interconnect=5e9,
        host=10e9,
        products_reach=1.0,
        moves_reach=1.0,
        overlaps=False,
    ),
    "gpu": DeviceKind(operations=312e12, memory=2039e9, capacity=80 * 10**9, interconnect=300e9, host=32e9),
    "v4": DeviceKind(operations=275e12, memory=1228e9, capacity=32 * 2**30, interconnect=300e9, host=16e9),
    "v5e": DeviceKind(operations=197e12, memory=819e9, capacity=16 * 2**30, interconnect=200e9, host=16e9),
    "v5p": DeviceKind(operations=459e12, memory=2765e9, capacity=95 * 2**30, interconnect=600e9, host=16e9),
    "v6e": DeviceKind(operations=918e12, memory=1638e9, capacity=32 * 2**30, interconnect=448e9, host=32e9),
    "tpu7x": DeviceKind(
        operations=2307e12 / 2, memory=7380e9 / 2, capacity=96 * 2**30, interconnect=600e9, host=32e9 / 2
    ),
}


def device_kind(island: Island, topology: Topology) -> DeviceKind:
    """What each device of an island can do: what the topology says was measured, or else what the table has."""
    stated, measured = DEVICE_KINDS[island.kind], topology.rates_of(island.kind)
    if measured is None:
        return stated
    return replace(
        stated,
        operations=measured.operations / stated.products_reach,
        memory=measured.memory / stated.moves_reach,
        convolutions=None if measured.convolutions is None else measured.convolutions / stated.products_reach,
        task=measured.task / 1e9,
        reordering=None if measured.reordering is None else measured.reordering / stated.moves_reach,
        across=None if measured.across is None else measured.across / stated.moves_reach,
        reach=inf if measured.reach is None else measured.reach,
    )


def islands_at_once(islands: Sequence[Island], topology: Topology, replicas: int) -> float | None:
    """How many islands' work all of a replica's do together if they share cores; None if each has its own.

    The twins of other replicas work at the same time.
    """
    shared = [topology.rates_of(island.kind) for island in islands]
    if not islands or any(one is None or one.at_once is None for one in shared):
        return None
    assert shared[0] is not None
    assert shared[0].at_once is not None
    largest = max(island.size for island in islands)
    return max(float(shared[0].at_once) / largest / replicas, 1e-6)


def capacity_of(island: Island) -> int | None:
    """The bytes that each device of an island may use: what the topology allows or else all that it has, if known."""
    return island.memory if island.memory is not None else DEVICE_KINDS[island.kind].capacity


def stated_operations(islands: Iterable[Island]) -> float | None:
    """What all devices of some islands do in a second, as their makers state; None if one of them does not."""
    kinds = list(islands)
    if any(island.kind == "cpu" for island in kinds):
        return None
    return sum(DEVICE_KINDS[island.kind].operations * island.size for island in kinds)
