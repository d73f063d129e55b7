"""Makes an order for many microbatches from one for few, by repeating what it does in its middle.

An order begins and ends in a way of its own, and between these the same few microbatches follow each other again and
again. So it is enough to improve an order that is just long enough to have a middle.
"""

from collections.abc import Iterator, Sequence
from operator import itemgetter

from atoll.compiler.schedules.greedy import Problem, Rows
from atoll.compiler.schedules.simulate import Timed
from atoll.compiler.schedules.task import Task
from atoll.compiler.task_name import BACKWARD

_MOST_WAYS = 12  # of cutting an order; timing one takes as long as trying another order


def stretched(tasks: Sequence[Timed], problem: Problem, few: int) -> Iterator[Rows]:
    """Orders of a problem that go on as one of `few` microbatches does; not each of them can be followed and kept.

    Each repeats some microbatches that follow each other, as often as it takes: those after them come later by as much.
    """
    more = problem.microbatches - few
    turns = {timed.task.microbatch: timed.start for timed in tasks if timed.task[:2] == (BACKWARD, 0)}
    cuts = [
        (first, length)
        for length in range(1, few // 2 + 1)
        if more % length == 0
        for first in _from_the_middle(few - length)
    ]
    for first, length in cuts[:_MOST_WAYS]:
        # No island can be faster than its work; where memory is short, all are as slow as microbatches come back.
        for period in {problem.slowest(), (turns[first + length] - turns[first]) / length}:
            rows: list[list[tuple[float, Task]]] = [[] for _ in range(problem.islands)]
            for (kind, stage, microbatch), island, start, _ in tasks:
                # Those before the cut stay, those in it are repeated, and those after it come later.
                times = range(more // length + 1) if first <= microbatch < first + length else (0,)
                shift = more if microbatch >= first + length else 0
                for time in times:
                    moved = shift + time * length
                    rows[island].append((start + moved * period, Task(kind, stage, microbatch + moved)))
            yield [[task for _, task in sorted(row, key=itemgetter(0))] for row in rows]


def _from_the_middle(count: int) -> list[int]:
    """The numbers from 1 below `count`, those in the middle first."""
    return sorted(range(1, count), key=lambda number: abs(2 * number - count))
