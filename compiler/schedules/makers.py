"""Ways to make an order for any number of microbatches: named schedules, islands that pick what they like, patterns."""

import math
from collections.abc import Callable, Sequence
from functools import partial

from atoll.compiler.schedules.greedy import Problem, Rows, Taste, greedy, refilled
from atoll.compiler.schedules.kinds import Kind
from atoll.compiler.schedules.patterns import Repetition, patterns_for

# What islands may prefer, the most promising first.
_AHEAD = (2.0, 1.5, 3.0, 1.0, math.inf, 1.25, 2.5, 0.75)
_TASTES = [
    Taste(ahead, backward_first, grouped, patience)
    for patience in (0.0, 0.5, 1.0)
    for ahead in _AHEAD
    for backward_first in (False, True)
    for grouped in (False, True)
]

Maker = Callable[[Problem], Rows | None]


def makers_of(problem: Problem, kinds: Sequence[Kind], most: int) -> list[Maker]:
    """Ways to make an order: named orders with weight tasks put elsewhere, and about `most` tastes and patterns."""
    named: list[Maker] = [
        partial(_refilled_kind, kind, patience)
        for patience in (0.0, 1.0)
        for kind in kinds
        if kind.stage_island(problem.islands) == problem.stage_island
    ]
    tastes = [taste for taste in _TASTES if problem.stages > problem.islands or not taste.grouped]
    by_taste: list[Maker] = [partial(_greedy, taste) for taste in tastes[: most // 2]]
    patterned: list[Maker] = [partial(_patterned, pattern) for pattern in patterns_for(problem, most // 2)]
    return named + by_taste + patterned


def _greedy(taste: Taste, problem: Problem) -> Rows | None:
    return greedy(problem, taste)


def _patterned(pattern: Repetition, problem: Problem) -> Rows | None:
    return refilled(problem, pattern.rows(problem), 0.0)


def _refilled_kind(kind: Kind, patience: float, problem: Problem) -> Rows | None:
    if problem.microbatches < kind.least_microbatches(problem.islands):
        return None
    return refilled(problem, kind.build(problem.islands, problem.microbatches).rows, patience)
