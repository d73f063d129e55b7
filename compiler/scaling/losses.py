"""What a year of failures leaves of a program, on more and more copies of its islands, and for each interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from atoll.compiler.scaling.failures import YEAR, Failures, time_text
from atoll.compiler.scaling.goodput import best_steps, expected_goodput, young
from atoll.compiler.scaling.scale import Scale
from atoll.compiler.scaling.year import Habits, Outcome, going_on, mean_of, stopping

# So many years, so that a lucky one does not decide; fewer where each has many failures, as these then decide little.
_YEARS, _LEAST_YEARS, _FAILURES = 16, 2, 20_000
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # the intervals that are compared, of that of the rows


@dataclass(frozen=True, kw_only=True)
class LossRow:
    """Some years on some copies. between: seconds between failures; interval: of work between checkpoints, in seconds.

    stops: where all stop at a failure; low, high: the goodput of its worst and its best year; expected: by closed form.
    goes_on: the goodput where the replicas that are left go on; None if there is one replica.
    """

    copies: int
    devices: int
    between: float
    steps: int
    interval: float
    stops: Outcome
    low: float
    high: float
    expected: float
    years: int
    goes_on: float | None


@dataclass(frozen=True, kw_only=True)
class Losses:
    """copies: a row for each number of copies, at its interval. intervals: other ones for the last of these.

    best: what sqrt(2 save between) says for the last.
    """

    failures: str
    copies: tuple[LossRow, ...]
    intervals: tuple[LossRow, ...]
    young: float

    @property
    def _years(self) -> str:
        counts = sorted({one.years for one in self.copies})
        return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))

    def __str__(self) -> str:
        last = self.copies[-1]
        return "\n".join(
            [
                f"failures  {self.failures}; the mean of {self._years} years at random",
                _HEAD,
                *map(_row, self.copies),
                "",
                f"from one checkpoint to the next, on {last.devices} devices; "
                f"sqrt(2 save between) is {time_text(self.young)}",
                _HEAD,
                *map(_row, self.intervals),
            ]
        )


_HEAD = (
    f"{'devices':>9}{'fail every':>12}{'save every':>12}{'saving':>8}{'again':>7}{'restart':>9}{'goodput':>9}"
    f"{'worst year to best':>20}{'closed form':>13}{'if others went on':>19}"
)


def _row(one: LossRow) -> str:
    stops = one.stops
    years = f"{one.low:.1%} to {one.high:.1%}"
    other = "-" if one.goes_on is None else f"{one.goes_on:.1%}"
    return (
        f"{one.devices:>9}{time_text(one.between):>12}{time_text(one.interval):>12}{stops.saving:>8.1%}"
        f"{stops.again:>7.1%}{stops.restarting:>9.1%}{stops.goodput:>9.1%}{years:>20}{one.expected:>13.1%}{other:>19}"
    )


def losses_of(rows: Sequence[Scale], failures: Failures, seed: int) -> Losses:
    """For each row, and for the last one with other intervals."""
    made = tuple(_loss(row, failures, steps_of(row, failures), seed) for row in rows)
    last = made[-1]
    others = dict.fromkeys(max(1, round(last.steps * factor)) for factor in _FACTORS)
    intervals = tuple(_loss(rows[-1], failures, steps, seed) for steps in others)
    return Losses(
        failures=str(failures),
        copies=made,
        intervals=intervals,
        young=young(failures.save, last.between),
    )


def steps_of(row: Scale, failures: Failures) -> int:
    """How many steps there are from one checkpoint to the next: as was asked for, or as is best."""
    if failures.interval is not None:
        return max(1, round(failures.interval / row.step))
    between = failures.between(row.devices, row.islands)
    return best_steps(row.step, failures.save, failures.restart, between)


def _loss(row: Scale, failures: Failures, steps: int, seed: int) -> LossRow:
    between = failures.between(row.devices, row.islands)
    habits = Habits(
        step=row.step,
        steps=steps,
        save=failures.save,
        restart=failures.restart,
        spare=failures.restart if failures.spare is None else failures.spare,
        between=between,
        replicas=row.replicas,
    )
    years = max(_LEAST_YEARS, min(_YEARS, round(_FAILURES * between / YEAR)))
    stopped = [stopping(habits, Random(seed + year)) for year in range(years)]
    went_on = [going_on(habits, Random(seed + year)) for year in range(years if row.replicas > 1 else 0)]
    return LossRow(
        copies=row.copies,
        devices=row.devices,
        between=between,
        steps=steps,
        interval=habits.work,
        stops=mean_of(stopped),
        low=min(one.goodput for one in stopped),
        high=max(one.goodput for one in stopped),
        expected=expected_goodput(habits.work, habits.save, habits.restart, between),
        years=years,
        goes_on=mean_of(went_on).goodput if went_on else None,
    )
