"""Improves an order of tasks step by step, along its critical path.

An order gets faster only if its critical path, the chain of tasks that decides the makespan, gets shorter. On an island
the chain runs through a *stretch* of tasks without a pause; the moves that can help let the last task of a stretch run
earlier, let the first one run later, or take a weight task out of the way of the rest (Nowicki and Smutnicki 1996, for
job shops). Every step takes the best move to an order not taken before, even to a slower one, as two steps may achieve
what one cannot.

Within this file a task is a number, its *code*: most of the time goes into timing orders.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from atoll.compiler.schedules.greedy import Problem, Rows
from atoll.compiler.schedules.task import TASK_KINDS, Task

Codes = list[list[int]]

_REACH = 4  # the most places that a task is moved by
_PATIENCE = 25  # the search gives up after this many steps without gain


@dataclass(frozen=True)
class Timing:
    """When the tasks of an order end.

    score: the makespan, then the sum of the islands' ends, which ranks orders with the same makespan.
    chain: the critical path: for each task its island, and its place in the row.
    """

    score: tuple[float, float]
    chain: tuple[tuple[int, int], ...]


class Timer:
    """Times orders of a problem's tasks, as `simulate` does, and finds out what each task waited for."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._microbatches, stages = problem.microbatches, problem.stages
        # For each kind of each stage, in the order of the codes: how long it takes, whether it waits for a value, and
        # who gets the value that it makes. Weight tasks do not wait: what they need is made earlier in the same row.
        self._cost = [problem.cost(kind, stage) for kind in TASK_KINDS for stage in range(stages)]
        self._waits = [False] + [True] * (2 * stages - 1) + [False] * stages
        forward = [self._onward(stage, stage + 1) for stage in range(stages - 1)]
        # The last stage's forward task feeds its own backward task, which is on the same island: over no link.
        turn = [(stages * self._microbatches, None, 0.0, 0.0)]
        backward = [self._onward(stage, stage - 1) for stage in range(1, stages)]
        self._sends = [*forward, *turn, None, *backward, *[None] * stages]

    def _onward(self, stage: int, following: int) -> "_Sending":
        """Where a stage's value goes: the distance to the code of the task that gets it, the link, and the times."""
        kind = TASK_KINDS[following < stage]
        source, target = self._problem.stage_island[stage], self._problem.stage_island[following]
        occupied, latency = self._problem.costs.sending(kind, stage, source, target)
        return (following - stage) * self._microbatches, (source, target), occupied, latency

    def codes(self, rows: Rows) -> Codes:
        """The rows with a code in place of each task."""
        first = {kind: index * self._problem.stages for index, kind in enumerate(TASK_KINDS)}
        return [
            [(first[task.kind] + task.stage) * self._microbatches + task.microbatch for task in row] for row in rows
        ]

    def tasks(self, codes: Codes) -> Rows:
        """The rows with tasks in place of codes."""
        return [[self._task(code) for code in row] for row in codes]

    def _task(self, code: int) -> Task:
        which, microbatch = divmod(code, self._microbatches)
        kind, stage = divmod(which, self._problem.stages)
        return Task(TASK_KINDS[kind], stage, microbatch)

    def timing(self, rows: Codes) -> Timing | None:
        """When the order ends, and why then; None if its islands wait for ever."""
        count = self._microbatches
        arrivals = [-1.0] * (len(self._cost) * count)
        makers = [-1] * len(arrivals)  # of the value that a task waited for, if it did
        links: dict[tuple[int, int], float] = {}
        waiting: dict[int, int] = {}
        free, places = [0.0] * len(rows), [0] * len(rows)
        cost, waits, sends = self._cost, self._waits, self._sends
        runnable = list(range(len(rows)))
        while runnable:
            island = runnable.pop()
            now = free[island]
            for code in itertools.islice(rows[island], places[island], None):
                which = code // count
                if waits[which]:
                    arrival = arrivals[code]
                    if arrival < 0:
                        waiting[code] = island
                        break
                    if arrival > now:
                        now = arrival
                    else:  # the value was there already, so the task waited for its island alone
                        makers[code] = -1
                now += cost[which]
                places[island] += 1
                sending = sends[which]
                if sending is not None:
                    shift, link, occupied, latency = sending
                    sent = now if link is None else max(now, links.get(link, 0.0)) + occupied
                    if link is not None:
                        links[link] = sent
                    arrivals[code + shift] = sent + latency
                    makers[code + shift] = code
                    if code + shift in waiting:
                        runnable.append(waiting.pop(code + shift))
            free[island] = now
        if waiting:
            return None
        ends = [end + update for end, update in zip(free, self._problem.costs.update, strict=True)]
        return Timing((max(ends), sum(ends)), self._chain(rows, makers, ends.index(max(ends))))

    def score(self, rows: Codes) -> tuple[float, float]:
        """That of an order that can be followed."""
        timing = self.timing(rows)
        assert timing is not None, "the order can be followed"
        return timing.score

    def _chain(self, rows: Codes, makers: list[int], island: int) -> tuple[tuple[int, int], ...]:
        """From the last task of the island that ends last, back to a task that waited for nothing."""
        places: dict[int, dict[int, int]] = {}
        at, chain = len(rows[island]) - 1, []
        while at >= 0:
            chain.append((island, at))
            maker = makers[rows[island][at]]
            if maker < 0:
                at -= 1
                continue
            island = self._problem.stage_island[maker // self._microbatches % self._problem.stages]
            if island not in places:
                places[island] = {code: place for place, code in enumerate(rows[island])}
            at = places[island][maker]
        return tuple(reversed(chain))


_Sending = tuple[int, tuple[int, int] | None, float, float]


def improved(timer: Timer, moves: "Moves", rows: Codes, bound: float, effort: int) -> Codes:
    """An order at least as fast that fits into memory.

    bound: a makespan that no order can beat, where there is nothing left to gain.
    effort: how many tasks may be timed in all.
    """
    timing = timer.timing(rows)
    assert timing is not None, "an order that is to be improved can be followed"
    best, best_score = rows, timing.score
    seen = {_key(rows)}
    left, idle = effort // max(1, sum(map(len, rows))), 0
    while left > 0 and idle < _PATIENCE and best_score[0] > bound * (1 + 1e-12):
        steps: list[tuple[tuple[float, float], Codes, Timing]] = []
        for candidate in moves.neighbours(rows, timing.chain):
            if left <= 0:
                break
            if _key(candidate) not in seen:
                left -= 1
                timed = timer.timing(candidate)
                if timed is not None:
                    steps.append((timed.score, candidate, timed))
        if not steps:
            break
        score, rows, timing = min(steps, key=lambda step: step[0])
        seen.add(_key(rows))
        idle += 1
        if score < best_score:
            best, best_score, idle = rows, score, 0
    return best


def _key(rows: Codes) -> int:
    # A hash takes less memory than an order; should two collide, one candidate is missed.
    return hash(tuple(map(tuple, rows)))


class Moves:
    """The orders that are one move away from an order."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._count, self._stages = problem.microbatches, problem.stages
        size, stages = problem.costs.activations, range(problem.stages)
        frees_late = [stage not in problem.whole for stage in stages]
        # What each kind of each stage, in the order of the codes, adds to what its island keeps.
        self._adds = [size[stage] for stage in stages]
        self._adds += [0.0 if frees_late[stage] else -size[stage] for stage in stages]
        self._adds += [-size[stage] for stage in stages]

    def neighbours(self, rows: Codes, chain: Sequence[tuple[int, int]]) -> Iterator[Codes]:
        """The orders one move away that fit into memory; the chain says where a move can help."""
        for island, places in itertools.groupby(chain, key=lambda place: place[0]):
            stretch = [at for _, at in places]
            row = rows[island]
            for source, target in self._within(row, stretch[0], stretch[-1]):
                moved = row[:source] + row[source + 1 :]
                moved.insert(target, row[source])
                if self._keeps_order(moved, source, target) and self._fits(island, moved):
                    yield [*rows[:island], moved, *rows[island + 1 :]]

    def fit(self, rows: Codes) -> bool:
        """Whether every island can keep what it has to."""
        return all(self._fits(island, row) for island, row in enumerate(rows))

    def _within(self, row: Sequence[int], first: int, last: int) -> Iterator[tuple[int, int]]:
        """Moves within a stretch: of its last task, of its first one, and of weight tasks to its end."""
        for target in range(max(first, last - _REACH), last):
            yield last, target
        for target in range(first + 2, min(last, first + _REACH) + 1):
            yield first, target
        for source in range(max(first, last - 2 * _REACH), last - 1):
            if row[source] >= 2 * self._stages * self._count:  # the codes of weight tasks
                yield source, last

    def _keeps_order(self, row: Sequence[int], source: int, target: int) -> bool:
        """Whether the moved task still comes after what it needs and before what needs it, on this island."""
        if source > target:
            needs = self._needs(row[target])
            return not any(other in needs for other in row[target + 1 : source + 1])
        return not any(row[target] in self._needs(other) for other in row[source:target])

    def _needs(self, code: int) -> tuple[int, ...]:
        """As `walk.needs`, in codes. At the ends of the pipeline some are of no task it needs, or of no task at all."""
        stages, count = self._stages, self._count
        if code < stages * count:
            return (code - count,)
        if code < 2 * stages * count:
            return code - stages * count, code + count
        return (code - stages * count,)

    def _fits(self, island: int, row: Sequence[int]) -> bool:
        limit = self._problem.limits[island] * (1 + 1e-12)
        if limit == math.inf:
            return True
        return max(itertools.accumulate(self._adds[code // self._count] for code in row)) <= limit
