"""Into how many segments to cut stages, so that what replicas exchange is waited for as little as can be.

The sums of a segment are exchanged while the last microbatch goes back through the segments before it. That helps with
what is sent at once; what of a ring or a tree comes after its first message is waited for, however many segments there
are. And the more of them there are, the smaller are the messages.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from atoll.compiler.replicas.exchange import Summand, seconds, seconds_at_once, units_of, worth_a_message
from atoll.compiler.replicas.speed import Speed

# Only the exchange of one segment outlasts the loop, so beyond some number more segments gain little, and each costs a
# task of its own.
_MOST = 32
# Each segment also reads parameters and adds up sums in tasks of its own, and is compiled by itself. That is only worth
# it for such a part of what is waited for, and of the step.
_LEAST_SAVED = 0.1
_LEAST_OF_STEP = 0.01
_ALIKE = 1.01


@dataclass(frozen=True)
class Sum:
    """What a model sums up. layers: of how many layers it is a stack, along its first dimension; 1 if it is none."""

    summand: Summand
    layers: int = 1

    def pieces(self, count: int) -> list[Summand]:
        """Of a stack, one for each of so many parts of the model; there are as many layers."""
        bounds = [number * self.layers // count for number in range(count + 1)]
        return [
            replace(self.summand, shape=(stop - start, *self.summand.shape[1:])) for start, stop in pairwise(bounds)
        ]


def segments_worthwhile(sums: Sequence[Sum], stages: int, replicas: int, speed: Speed, computing: float) -> int:
    """The least number with which an island waits as little as can be for its exchanges; one, if others save little.

    sums: of all stages, in the order of the model. computing: the seconds that an island computes in a step at least.
    """
    size = sum(one.summand.size for one in sums) / stages
    most = max(size / max(1.0, worth_a_message(one.summand, replicas, speed)) for one in sums)
    counts = range(1, int(max(1, min(_MOST, most))) + 1)
    waits = {count: waited(sums, stages, count, replicas, speed) for count in counts}
    least = min(waits.values())
    worth = max(_LEAST_SAVED * waits[1], _LEAST_OF_STEP * (computing + waits[1]))
    if waits[1] - least < worth:
        return 1
    return next(count for count, wait in waits.items() if wait <= _ALIKE * least)


def waited(sums: Sequence[Sum], stages: int, count: int, replicas: int, speed: Speed) -> float:
    """The seconds in which an island waits for exchanges after its last task, with so many segments a stage, if what
    is sent at once crosses while others of them run: all but that of one segment, and it may be the largest."""
    at_once, late = 0.0, 0.0
    for part in _parts(sums, stages * count):
        sizes: Counter[str] = Counter()
        for unit in units_of(part, replicas, speed):
            sizes[unit.form] += unit.bytes
            whole = seconds(unit.form, unit.bytes, replicas, speed)
            late += whole - seconds_at_once(unit.form, unit.bytes, replicas, speed)
        at_once = max(at_once, sum(seconds_at_once(form, size, replicas, speed) for form, size in sizes.items()))
    return at_once + late / stages


def _parts(sums: Sequence[Sum], count: int) -> list[list[Summand]]:
    """What each of so many parts of the model sums up: a piece of each stack, and its share of all else."""
    parts: list[list[Summand]] = [[] for _ in range(count)]
    stacks = [one for one in sums if one.layers >= max(2, count)]
    for stack in stacks:
        for part, piece in zip(parts, stack.pieces(count), strict=True):
            part.append(piece)
    whole = [one.summand for one in sums if one not in stacks]
    size, before = sum(one.size for one in whole), 0
    for one in whole:
        parts[int(count * (before + one.size / 2) / max(1, size))].append(one)
        before += one.size
    return parts
