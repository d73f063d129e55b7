"""What of a Ray cluster is reserved for the processes of islands. Pure: it says what Ray is to be asked for.

A TPU slice is several machines, of which jax needs all: an island in several processes has one on each machine of one
slice, in the order of the slice. Ray labels its machines so.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atoll.runtime.processes.assignment import Assignment, Seat

# What Ray calls the devices that a process needs; of CPU devices there are as many as one likes.
RESOURCES = {"gpu": "GPU", "tpu": "TPU"}

# Labels of Ray's, which it gives to machines with TPUs.
_SLICE, _NUMBER = "ray.io/tpu-slice-name", "ray.io/tpu-worker-id"


@dataclass(frozen=True)
class Booking:
    """What a process needs of one machine. labels: of the machine."""

    seat: Seat
    needs: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NoSlice:
    """What is missing, in a clause."""

    what: str


def reserved(assignments: Iterable[Assignment], machines: Iterable[Mapping[str, Any]]) -> list[Booking] | NoSlice:
    """For the processes that need devices which Ray counts. machines: as `ray.nodes()` tells of them."""
    islands: defaultdict[int, list[Assignment]] = defaultdict(list)
    for one in assignments:
        if one.platform in RESOURCES:
            islands[one.seat[0]].append(one)
    slices = _slices(machines)
    knows_slices = bool(slices)
    found: list[Booking] = []
    # Large ones first, or a small one could have the slice that only fits a large one.
    for its in sorted(islands.values(), key=len, reverse=True):
        if len(its) == 1 or its[0].platform != "tpu" or not knows_slices:
            found += [Booking(one.seat, _needs(one)) for one in its]
            continue
        fitting = [name for name, chips in slices.items() if _fits(its, chips)]
        if not fitting:
            there = ", ".join(f"{name} of {len(chips)}" for name, chips in slices.items()) or "none"
            what = f"island {its[0].island} needs a TPU slice of {len(its)} machines with {its[0].size} chips each"
            return NoSlice(f"{what}, and Ray has left {there}")
        name = fitting[0]
        found += [
            Booking(one.seat, _needs(one), {_SLICE: name, _NUMBER: number})
            for one, number in zip(its, sorted(slices.pop(name), key=int), strict=True)
        ]
    return sorted(found, key=lambda one: one.seat)


def _needs(one: Assignment) -> dict[str, float]:
    return {RESOURCES[one.platform]: float(one.size)}


def _fits(its: Sequence[Assignment], chips: Mapping[str, float]) -> bool:
    return len(its) == len(chips) and all(one >= its[0].size for one in chips.values())


def _slices(machines: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """By slice and the number of the machine in it, how many chips it has."""
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for one in machines:
        labels = one.get("Labels") or {}
        if one["Alive"] and _SLICE in labels and labels.get(_NUMBER, "").isdigit():
            found[labels[_SLICE]][labels[_NUMBER]] = one["Resources"].get(RESOURCES["tpu"], 0.0)
    return dict(found)
