"""Finds patterns that name some paths and no others."""

from collections import Counter
from collections.abc import Iterator, Sequence

from atoll.compiler.errors import PlanError
from atoll.compiler.plan.scope_patterns import ScopePatterns
from atoll.compiler.plan.stage_text import Component, Pattern, StageText

_Path = tuple[str, ...]

# A pattern has at most so many components: with more it tells single leaves apart, and the text gets as long as they
# are many. And so many patterns are still a text for people.
_LONGEST, _MOST = 4, 16


def patterns_naming(wanted: Sequence[_Path], others: Sequence[_Path]) -> str:
    """A text of scope patterns that match all of some paths, and none of others; empty if there is no short one.

    The pattern that names most of what is left comes next, and of equal ones the shortest.
    """
    left = list(dict.fromkeys(wanted))
    taken = {one for path in others for one in _stretches(path)}
    chosen: list[_Path] = []
    while left:
        counts = Counter(one for path in left for one in set(_stretches(path)) - taken)
        if not counts or len(chosen) == _MOST:
            return ""
        chosen.append(min(counts, key=lambda one: (-counts[one], len(one), one)))
        left = [path for path in left if chosen[-1] not in set(_stretches(path))]
    return _checked(sorted(chosen), wanted, others)


def _stretches(path: _Path) -> Iterator[_Path]:
    """What follows each other in a path, from a name on: a number alone says little."""
    for begin, first in enumerate(path):
        if not first.isdecimal():
            for end in range(begin + 1, min(begin + _LONGEST, len(path)) + 1):
                yield path[begin:end]


def _checked(chosen: Sequence[_Path], wanted: Sequence[_Path], others: Sequence[_Path]) -> str:
    """The text, if it is read as it is meant: keys may look like anything."""
    if not chosen:
        return ""
    try:
        text = StageText((tuple(Pattern(tuple(map(Component, one))) for one in chosen),))
        read = StageText.parse(str(text))
    except PlanError:
        return ""
    patterns = ScopePatterns(read.stages)
    names = [patterns.stage_of(path) is not None for path in (*wanted, *others)]
    return str(text) if names == [True] * len(wanted) + [False] * len(others) else ""
