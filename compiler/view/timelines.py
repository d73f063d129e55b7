"""The tasks of a step in time, predicted or measured, with the cause of each pause and the critical path."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from atoll.compiler.report.gantt import slowness, slowness_of_whole
from atoll.compiler.report.measurement import Measurement
from atoll.compiler.report.prediction import Prediction
from atoll.compiler.report.whole_step import WholeStep
from atoll.compiler.task_name import UPDATE, TaskName
from atoll.compiler.text.quantities import bytes_text
from atoll.compiler.topology.topology import Topology
from atoll.compiler.view.dependencies import Dependencies, PlacedTask

_LEAST_PAUSE = 1e-3  # of the step; shorter ones cannot be seen


@dataclass(frozen=True)
class TimedTask:
    """A task when it ran, or should run. start, end: in seconds since the step began."""

    island: str
    task: str
    start: float
    end: float


@dataclass(frozen=True)
class Pause:
    """A time in which an island has nothing to do. before: the bar that it ends with; cause: the bar that it waits
    for, if a task is the cause; why: in words."""

    island: str
    start: float
    end: float
    before: int
    cause: int | None
    why: str


@dataclass(frozen=True)
class Timeline:
    """name: `predicted` or `measured`. critical: the bars that the step's length is made of, the last one first."""

    name: str
    title: str
    step: float
    bubble: float
    bars: tuple[TimedTask, ...]
    pauses: tuple[Pause, ...]
    critical: tuple[int, ...]

    def to_data(self) -> dict[str, Any]:
        """As plain data; times in microseconds, which is as fine as anything is known."""
        return {
            "name": self.name,
            "title": self.title,
            "step": self.step,
            "bubble": self.bubble,
            "bars": [
                [one.island, one.task, kind_of(one.task), _micro(one.start), _micro(one.end)] for one in self.bars
            ],
            "pauses": [
                [one.island, _micro(one.start), _micro(one.end), one.before, one.cause, one.why] for one in self.pauses
            ],
            "critical": list(self.critical),
        }


def kind_of(task: str) -> str:
    """The letter of a task's kind."""
    return TaskName.parse(task).kind


def predicted_timeline(
    prediction: Prediction, topology: Topology, measured: Measurement | None, needs: Dependencies
) -> Timeline:
    """For devices of such a speed that the tasks take as long, all together, as the measured ones, if there are any."""
    slower = 1.0 if measured is None else slowness(prediction, topology, measured)
    found = prediction.simulation(topology, slower)
    absent = set(prediction.absent)
    tasks = [
        TimedTask(prediction.islands[one.island], str(one.task.name), one.start, one.end)
        for one in found.tasks
        if str(one.task.name.rolled) not in absent
    ]
    for number, (start, end) in enumerate(found.updates):
        if end > start:
            tasks.append(TimedTask(prediction.islands[number], f"{UPDATE}{number}", start, end))
    title = f"{prediction.name}, {_how(measured)}"
    return _timeline("predicted", title, found.makespan, found.bubble, tasks, _Ways(needs, topology))


def whole_timeline(whole: WholeStep, topology: Topology, measured: Measurement | None, needs: Dependencies) -> Timeline:
    """The same for a step with no loop or several."""
    times = whole.times(topology, 1.0 if measured is None else slowness_of_whole(whole, measured))
    count = len(whole.islands)
    tasks = [
        TimedTask(whole.islands[task.row], task.name, start, end)
        for task, start, end in zip(times.tasks, times.starts, times.ends, strict=True)
        if task.row < count
    ]
    loops = f"{len(whole.loops) or 'no'} loop{'s' * (len(whole.loops) != 1)}"
    title = f"{loops}, {_how(measured)}"
    return _timeline("predicted", title, times.makespan, times.bubble(count), tasks, _Ways(needs, topology))


def _how(measured: Measurement | None) -> str:
    return "for the speed that is assumed of devices" if measured is None else "for devices as fast as measured"


def measured_timeline(
    measured: Measurement, islands: Iterable[str], topology: Topology, needs: Dependencies
) -> Timeline:
    """The last step that was traced."""
    tasks = [TimedTask(island, task, start, end) for task, island, start, end in measured.tasks]
    bubble = measured.bubble(list(islands))
    return _timeline("measured", "the last traced step", measured.step, bubble, tasks, _Ways(needs, topology))


def _timeline(name: str, title: str, step: float, bubble: float, tasks: Iterable[TimedTask], ways: "_Ways") -> Timeline:
    bars = tuple(sorted(tasks, key=lambda one: (one.start, one.end)))
    reasons = _Reasons(bars, ways)
    return Timeline(
        name=name,
        title=title,
        step=step,
        bubble=bubble,
        bars=bars,
        pauses=tuple(reasons.pauses(_LEAST_PAUSE * step)),
        critical=tuple(reasons.critical()),
    )


@dataclass(frozen=True)
class _Ways:
    """What tasks take of each other, and how long it is on its way by what the topology says of links."""

    needs: Dependencies
    topology: Topology

    def arrival(self, maker: TimedTask, user: TimedTask) -> float:
        """When what a task makes is there for another one."""
        crossed = self.needs.get(_placed(user), {}).get(_placed(maker), 0)
        if maker.island == user.island or not crossed:
            return maker.end
        link = self.topology.link(maker.island, user.island)
        return maker.end + link.latency / 1e9 + crossed / link.bandwidth


def _placed(bar: TimedTask) -> PlacedTask:
    return PlacedTask(bar.island, bar.task)


class _Reasons:
    """For each bar, what it began after: the bar before it on its island, and those whose results it takes."""

    def __init__(self, bars: tuple[TimedTask, ...], ways: _Ways) -> None:
        self._bars, self._ways = bars, ways
        self._before = _rows(bars)
        self._numbers: dict[PlacedTask, list[int]] = defaultdict(list)
        for number, bar in enumerate(bars):
            self._numbers[_placed(bar)].append(number)

    def pauses(self, least: float) -> Iterable[Pause]:
        for number, bar in enumerate(self._bars):
            before = self._before.get(number)
            free = 0.0 if before is None else self._bars[before].end
            if bar.start - free > least:
                cause = self._latest(number, self._makers(number))
                if cause is not None and self._bars[cause].end <= free and self._bars[cause].island == bar.island:
                    cause = None
                yield Pause(bar.island, free, bar.start, number, cause, self._why(number, cause))

    def critical(self) -> Iterable[int]:
        number = max(range(len(self._bars)), key=lambda one: self._bars[one].end, default=None)
        while number is not None:
            yield number
            before = self._before.get(number)
            number = self._latest(number, [*self._makers(number), *([] if before is None else [before])])

    def _makers(self, number: int) -> list[int]:
        """The bars whose results a bar takes, as far as they began before it."""
        makers = self._ways.needs.get(_placed(self._bars[number]), {})
        found = (one for maker in makers for one in self._numbers.get(maker, ()))
        return [one for one in found if one < number]

    def _latest(self, number: int, others: Iterable[int]) -> int | None:
        """Of other bars the one whose results are there last for this one."""
        bar = self._bars[number]
        return max(others, key=lambda one: self._ways.arrival(self._bars[one], bar), default=None)

    def _why(self, number: int, cause: int | None) -> str:
        bar = self._bars[number]
        if cause is None:
            return f"nothing that {bar.task} takes was missing: the host was at work, or the end of an exchange"
        maker = self._bars[cause]
        crossed = self._ways.needs[_placed(bar)][_placed(maker)]
        if maker.island == bar.island:
            return f"{bar.task} takes what {maker.task} makes"
        return f"{bar.task} takes what {maker.task} on {maker.island} makes: {bytes_text(crossed)} cross"


def _rows(bars: tuple[TimedTask, ...]) -> Mapping[int, int]:
    """For each bar but the first of its island, the one before it there."""
    last: dict[str, int] = {}
    before = {}
    for number, bar in enumerate(bars):
        if bar.island in last:
            before[number] = last[bar.island]
        last[bar.island] = number
    return before


def _micro(seconds: float) -> float:
    return round(1e6 * seconds, 3)
