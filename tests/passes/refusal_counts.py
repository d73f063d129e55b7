"""Why programs were refused, and how many of them for each reason."""

import re
from collections import Counter
from collections.abc import Iterable

from atoll.compiler.errors import AtollError


def reasons(refused: Iterable[AtollError]) -> str:
    """A line for each reason, the most common first; places and numbers in it are no matter."""
    counts = Counter(re.sub(r"\S+\.py:[\d:]+", "...", re.sub(r"\b\d+\b", "N", error.what)) for error in refused)
    return "".join(f"\n   {count} refused: {reason}" for reason, count in counts.most_common())
