"""A long list of names, folded where it repeats itself."""

from collections.abc import Sequence

_LONGEST = 16  # names in what is repeated


def folded(names: Sequence[str]) -> tuple[str, ...]:
    """The list in parts: a name, or what is repeated with how often: `4 x F0`, `8 x (F0 B0)`.

    From left to right, each part is the repetition that covers the most names, or of several the shortest period.
    """
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
