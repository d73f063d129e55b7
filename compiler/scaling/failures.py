"""How often devices and islands fail, and what a failure costs: rates that the user gives, as a text."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atoll.compiler.errors import UsageError
from atoll.compiler.text.language import MOST_DIGITS, Language, Reader, known_names, shown
from lark import Token, v_args

YEAR = 365 * 86400.0

_LEAST = 60.0  # seconds between failures
_UNITS: Mapping[str, float] = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "y": YEAR}

_LANGUAGE = Language(
    name="failures text",
    grammar=Path(__file__).with_name("failures.lark"),
    error=UsageError,
    terminals={"NAME": "a name", "NUMBER": "a number", "UNIT": "a unit of time"},
)


@dataclass(frozen=True, kw_only=True)
class Failures:
    """All in seconds.

    device, island: the mean time between two failures of one device, and of one island as a whole, such as its power or
        its network; None for what never fails.
    restart: from a failure until the step goes on, on all islands: it is noticed, a spare takes the place of what
        failed, and the last checkpoint is read.
    save: how long all islands pause while a checkpoint is written.
    spare: until a lost replica is there again while the others go on; None for as long as a restart.
    interval: of work, from one checkpoint to the next; None for the best one.
    """

    restart: float
    save: float
    device: float | None = None
    island: float | None = None
    spare: float | None = None
    interval: float | None = None

    def __post_init__(self) -> None:
        if self.device is None and self.island is None:
            raise UsageError("nothing fails", remedy="say how often: device=5 y, or island=30 d")
        for name in ("device", "island", "interval"):
            if getattr(self, name) == 0:
                raise UsageError(f"{name} is 0", remedy="write a time that is longer than 0")

    @classmethod
    def parse(cls, text: str) -> "Failures":
        """The rates that a text writes."""
        parsed: Failures = _Reader(_LANGUAGE.source(text)).read()
        return parsed

    def between(self, devices: int, islands: int) -> float:
        """The mean time between two failures of anything among so many."""
        rates = ((devices, self.device), (islands, self.island))
        return 1 / sum(count / mean for count, mean in rates if mean is not None)

    def check(self, devices: int, islands: int) -> None:
        """UsageError if so many fail so often that no program gets on."""
        between = self.between(devices, islands)
        if between < _LEAST:
            what = f"of {devices} devices on {islands} islands one fails every {time_text(between)}"
            raise UsageError(what, remedy="nothing gets on so: give longer times, or fewer copies")

    def __str__(self) -> str:
        written = ((one.name, getattr(self, one.name)) for one in dataclasses.fields(self))
        return ", ".join(f"{name}={time_text(value)}" for name, value in written if value is not None)


def time_text(seconds: float) -> str:
    """A time in the largest unit of which it is at least one."""
    unit = next((name for name in reversed(list(_UNITS)) if seconds >= _UNITS[name]), "ms" if 0 < seconds < 1 else "s")
    return f"{seconds / _UNITS[unit]:.3g} {unit}"


@v_args(inline=True)
class _Reader(Reader):
    def start(self, *fields: tuple[Token, float]) -> Failures:
        values: dict[str, float] = {}
        for token, value in fields:
            if token in values:
                raise self.at(token).fault(f"{token} is there twice", "write each time once")
            values[str(token)] = value
        for name, example in (("restart", "restart=10 min"), ("save", "save=30 s")):
            if name not in values:
                raise self.at(0).fault(f"{name} is missing", f"write it, such as {example}")
        with self.at(0).blamed():
            return Failures(**values)

    def field(self, name: Token, number: Token, unit: Token) -> tuple[Token, float]:
        known = [one.name for one in dataclasses.fields(Failures)]
        if name not in known:
            raise self.at(name).fault(f"nothing is called {shown(name)}", known_names(name, known))
        if unit not in _UNITS:
            raise self.at(unit).fault(f"unknown unit {shown(unit)}", known_names(unit, _UNITS))
        if len(number) > MOST_DIGITS:
            raise self.at(number).fault(f"the number has {len(number)} digits", f"write at most {MOST_DIGITS}")
        return name, float(number) * _UNITS[unit]
