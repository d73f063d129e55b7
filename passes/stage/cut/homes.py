"""Where the parts of a cut go: islands that are not alike take other parts. Numbers alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf


@dataclass(frozen=True)
class Home:
    """Where a part goes.

    pace: how many times as long it takes there as on the fastest. needs: the bytes that each element takes there; room:
    those that there are.
    """

    pace: float = 1
    needs: tuple[float, ...] = field(default=(), repr=False)
    room: float = inf


def alike(parts: int) -> tuple[Home, ...]:
    """Homes between which there is nothing to choose."""
    return (Home(),) * parts


def without_limits(homes: Sequence[Home]) -> tuple[Home, ...]:
    """The same homes with room for everything."""
    return tuple(replace(home, room=inf) for home in homes)


def even_share(costs: Sequence[float], homes: Sequence[Home]) -> float:
    """What each part would take if all took the same time."""
    return sum(costs) / sum(1 / home.pace for home in homes)
