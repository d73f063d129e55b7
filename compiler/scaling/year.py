"""A year of random failures, event by event: what of the time is work that is kept, and where the rest goes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from heapq import heappop, heappush
from math import inf
from random import Random

from atoll.compiler.scaling.failures import YEAR


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What is simulated. Times in seconds.

    step: of all replicas together. steps: how many from one checkpoint to the next. save, restart, spare: as `Failures`
    has them. between: the mean time between two failures of anything on all replicas.
    """

    step: float
    steps: int
    save: float
    restart: float
    spare: float
    between: float
    replicas: int = 1

    @property
    def work(self) -> float:
        return self.step * self.steps


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The parts of the time: they sum up to 1.

    goodput: steps that count in the end. saving: checkpoints. again: steps whose results are lost, and so are done
        again, and checkpoints that a failure ends. restarting: from failures on. short: what lost replicas would have
        done while the others went on.
    failures: how many there were.
    """

    goodput: float
    saving: float
    again: float
    restarting: float
    short: float
    failures: float


def mean_of(outcomes: Sequence[Outcome]) -> Outcome:
    """The mean of several years."""
    return Outcome(
        **{one.name: sum(getattr(year, one.name) for year in outcomes) / len(outcomes) for one in fields(Outcome)}
    )


def stopping(habits: Habits, random: Random, span: float = YEAR) -> Outcome:
    """All islands stop at a failure, and go on from the last checkpoint: what atoll can do."""
    now = good = saving = again = restarting = 0.0
    failures = 0
    cycle = habits.work + habits.save
    while now < span:
        alive = random.expovariate(1 / habits.between)
        is_over = now + alive >= span
        alive = min(alive, span - now)
        saved = int(alive / cycle)
        good += saved * habits.work
        saving += saved * habits.save
        rest = alive - saved * cycle
        now += alive
        if is_over:  # nothing is lost
            good += min(rest, habits.work)
            saving += max(0.0, rest - habits.work)
            break
        again += rest
        failures += 1
        down, more = _down(habits, random, span - now)
        failures += more
        restarting += min(down, span - now)
        now += down
    return Outcome(
        goodput=good / span,
        saving=saving / span,
        again=again / span,
        restarting=restarting / span,
        short=0.0,
        failures=failures,
    )


def _down(habits: Habits, random: Random, left: float) -> tuple[float, int]:
    """How long a restart takes with the failures that come while it lasts, and how many these are.

    left: of the year, after which nobody looks.
    """
    down, failures = 0.0, 0
    while down < left and (alive := random.expovariate(1 / habits.between)) < habits.restart:
        down += alive
        failures += 1
    return down + habits.restart, failures


def going_on(habits: Habits, random: Random, span: float = YEAR) -> Outcome:
    """Replicas that are left go on with their part of the batch while a lost one is replaced.

    All have the same parameters after every step, so that only the step in which one is lost is done again. A
    replacement takes them from another replica, for which all pause as long as for a checkpoint, and nothing fails in
    this time. If none is left, all go on from the last checkpoint.
    """
    year = _ReplicaYear(habits, span)
    while year.now < span:
        year.run(random)
    return year.outcome()


class _ReplicaYear:
    """How far the steps have come, how many replicas are there, and when replacements for the others come."""

    def __init__(self, habits: Habits, span: float) -> None:
        self._habits, self._span = habits, span
        self.now = 0.0
        self._spares: list[float] = []  # a heap of the times when they come
        self._place = 0.0  # in the work from one checkpoint to the next, and in the checkpoint after it
        self._since = 0.0  # the work since the last checkpoint, in steps of all replicas
        self._good = self._saving = self._again = self._restarting = self._short = 0.0
        self._failures = 0

    def run(self, random: Random) -> None:
        """Up to the next failure or replacement."""
        there = self._habits.replicas - len(self._spares)
        fails = self.now + random.expovariate(there / self._habits.replicas / self._habits.between)
        comes = self._spares[0] if self._spares else inf
        self._work(max(0.0, min(fails, comes, self._span) - self.now), there / self._habits.replicas)
        if self.now >= self._span:
            return
        if comes <= fails:
            heappop(self._spares)
            self._pause(self._habits.save)
            return
        self._failures += 1
        self._lose_step(there / self._habits.replicas)
        heappush(self._spares, self.now + self._habits.spare)
        if there == 1:
            self._restart(random)

    def _work(self, seconds: float, part: float) -> None:
        """So long with a part of the replicas: what is left of this checkpoint's time, whole ones, and a begun one."""
        cycle = self._habits.work + self._habits.save
        own = min(seconds, cycle - self._place)
        self._spend(own, part)
        if self._place < cycle * (1 - 1e-12):
            self.now += own
            return
        self._place = self._since = 0.0
        whole = int((seconds - own) / cycle)
        self._good += whole * self._habits.work * part
        self._short += whole * self._habits.work * (1 - part)
        self._saving += whole * self._habits.save
        self._spend(seconds - own - whole * cycle, part)
        self.now += seconds

    def _spend(self, seconds: float, part: float) -> None:
        """Within the time from one checkpoint to the next."""
        working = min(seconds, max(0.0, self._habits.work - self._place))
        self._good += working * part
        self._since += working * part
        self._short += working * (1 - part)
        self._saving += seconds - working
        self._place += seconds

    def _lose_step(self, part: float) -> None:
        """What of the step was done is done again; so is a checkpoint that was not complete."""
        habits = self._habits
        if self._place >= habits.work:
            begun = self._place - habits.work
            self._saving -= begun
            self._again += begun
            self._place = habits.work
            return
        begun = self._place % habits.step
        self._good -= begun * part
        self._since -= begun * part
        self._again += begun * part
        self._place -= begun

    def _pause(self, seconds: float) -> None:
        took = min(seconds, self._span - self.now)
        self._restarting += took
        self.now += took

    def _restart(self, random: Random) -> None:
        """None is left: what was done since the last checkpoint is lost, and a restart brings all replicas."""
        self._good -= self._since
        self._again += self._since
        self._place = self._since = 0.0
        self._spares.clear()
        down, failures = _down(self._habits, random, self._span - self.now)
        self._failures += failures
        self._pause(down)

    def outcome(self) -> Outcome:
        parts = (self._good, self._saving, self._again, self._restarting, self._short)
        names = ("goodput", "saving", "again", "restarting", "short")
        return Outcome(
            **{name: part / self._span for name, part in zip(names, parts, strict=True)}, failures=self._failures
        )
