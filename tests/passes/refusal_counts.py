"""Why programs were refused, and how many of them for each reason."""

import re
from collections import Counter
from collections.abc import Iterable

from atoll.compiler.errors import AtollError


def reasons(refused: Iterable[AtollError]) -> str:
    """A line for each reason, the most common first; places and numbers in it are no matter."""
    counts = Counter(_without_numbers(error.what) for error in refused)
    return "".join(f"\n   {count} refused: {reason}" for reason, count in counts.most_common())


def _without_numbers(what: str) -> str:
    return re.sub(r"\b\d[\d.]*( [kMG]?i?B\b)?", "N", re.sub(r"\S+\.py:[\d:]+", "...", what))
