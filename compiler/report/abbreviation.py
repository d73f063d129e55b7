"""A long list of names, folded where it counts and where it repeats itself."""

import itertools
import re
from collections.abc import Sequence

_LONGEST = 16  # names in what is repeated
_SHORTEST = 3  # names that count: two are as short as they are


def folded(names: Sequence[str]) -> tuple[str, ...]:
    """The list in parts: a name, names that count up or down, or what is repeated with how often.

    `F0`, `F0..F8`, `4 x F0`, `8 x (F0..F8 B8..B0)`. From left to right, each part is the repetition that covers the
    most names, or of several the shortest period.
    """
    names = _counted(names)
    parts = []
    index = 0
    while index < len(names):
        period, times = _repetition(names[index:])
        part = " ".join(names[index : index + period])
        if times > 1:
            part = f"{times} x {part}" if period == 1 else f"{times} x ({part})"
        parts.append(part)
        index += period * times
    return tuple(parts)


def _counted(names: Sequence[str]) -> list[str]:
    """The names, with the first and the last alone of those that count."""
    steps = [*itertools.starmap(_step, itertools.pairwise(names)), None]
    short = []
    index = 0
    while index < len(names):
        end = index + 1
        while steps[index] is not None and steps[end - 1] == steps[index]:
            end += 1
        counts = end - index >= _SHORTEST
        short.append(f"{names[index]}..{names[end - 1]}" if counts else names[index])
        index = end if counts else index + 1
    return short


def _step(before: str, after: str) -> tuple[int, int] | None:
    """Which part of a name counts, and by 1 or -1, if the names have all else in common."""
    befores, afters = re.split(r"(\d+)", before), re.split(r"(\d+)", after)
    different = [index for index, pair in enumerate(zip(befores, afters, strict=False)) if pair[0] != pair[1]]
    if len(befores) != len(afters) or len(different) != 1 or different[0] % 2 == 0:
        return None
    step = int(afters[different[0]]) - int(befores[different[0]])
    return (different[0], step) if abs(step) == 1 else None


def _repetition(names: Sequence[str]) -> tuple[int, int]:
    """The period and the number of repetitions of what the names begin with."""
    found = [(period, _times(names, period)) for period in range(1, min(_LONGEST, len(names) // 2) + 1)]
    return max(
        ((period, times) for period, times in found if times > 1),
        key=lambda one: (one[0] * one[1], -one[0]),
        default=(1, 1),
    )


def _times(names: Sequence[str], period: int) -> int:
    head, times = names[:period], 1
    while names[times * period : (times + 1) * period] == head:
        times += 1
    return times
