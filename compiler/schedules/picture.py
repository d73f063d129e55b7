"""Gantt charts as SVG text."""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from atoll.compiler.schedules.simulate import Simulation
from atoll.compiler.schedules.task_table import TaskTable
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT

# For each kind of bar its name in the legend, hue, saturation and the lightness of the first chunk, in per cent.
_LOOKS = {
    FORWARD: ("forward", 212, 70, 42),
    BACKWARD: ("backward", 28, 85, 42),
    WEIGHT: ("weight gradient", 142, 45, 34),
    "U": ("update", 280, 35, 45),
}
_OTHER = ("other", 0, 0, 45)
_LIGHTEST = 76  # of a last chunk; black text reads well on what is lighter than _DARK_TEXT, white on what is not
_DARK_TEXT = 55

_ROW, _GAP, _AXIS, _LEGEND, _MARGIN = 24, 4, 26, 26, 10
_LETTER = 6.2  # the width of a letter of the labels, in pixels
_PANEL_TITLE = 20
_LEAST_WIDTH, _MOST_WIDTH = 640.0, 24_000.0
_READABLE = 17.0  # the width at which a bar holds a microbatch of two digits
_TICK_WIDTH = 70.0  # at least, from one mark of the axis to the next


@dataclass(frozen=True)
class Bar:
    """One bar of a chart.

    row: which row it is in, from 0.
    kind: `F`, `B`, `W` or `U`, which is its colour; anything else is grey.
    label: what is written in it where that fits.
    start, end: in the unit of the axis.
    title: what is shown while the pointer is over it.
    chunk: which of its island's stages it is of, which is its shade.
    """

    row: int
    kind: str
    label: str
    start: float
    end: float
    title: str
    chunk: int = 0


@dataclass(frozen=True)
class Panel:
    """One chart among others on the same axis, such as the prediction above what was measured.

    title: what it shows; may be empty.
    rows: the names of its rows.
    """

    title: str
    rows: Sequence[str]
    bars: Sequence[Bar]


def gantt_svg(panels: Sequence[Panel], unit: str = "") -> str:
    """A chart of the panels, one below the other; unit names the unit of the time axis."""
    return _Chart(panels, unit).text()


def schedule_panel(schedule: TaskTable, simulation: Simulation, title: str = "") -> Panel:
    """The panel of a simulated schedule."""
    bars = []
    for task, island, start, end in simulation.tasks:
        name = _LOOKS[task.kind][0]
        if task.kind == BACKWARD and schedule.has_backward and task.stage not in schedule.split_stages:
            name = "whole backward"
        what = f"{name} of microbatch {task.microbatch}, stage {task.stage}, island {island}"
        hover = f"{what}: {_time(start)} to {_time(end)}"
        chunk = schedule.stage_island[: task.stage].count(island)
        bars.append(
            Bar(row=island, kind=task.kind, label=str(task.microbatch), start=start, end=end, title=hover, chunk=chunk)
        )
    for island, (start, end) in enumerate(simulation.updates):
        if end > start:
            bars.append(
                Bar(
                    row=island,
                    kind="U",
                    label="U",
                    start=start,
                    end=end,
                    title=f"update, island {island}: {_time(start)} to {_time(end)}",
                )
            )
    return Panel(title, [f"island {island}" for island in range(schedule.islands)], bars)


class _Chart:
    """The measures of one chart, and its text."""

    def __init__(self, panels: Sequence[Panel], unit: str) -> None:
        self._panels, self._unit = panels, unit
        bars = [bar for panel in panels for bar in panel.bars]
        self._end = max((bar.end for bar in bars), default=0.0) or 1.0
        self._chunks = max((bar.chunk for bar in bars), default=0) + 1
        self._kinds = [kind for kind in _LOOKS if any(bar.kind == kind for bar in bars)]
        self._others = any(bar.kind not in _LOOKS for bar in bars)
        self._left = 2 * _MARGIN + _LETTER * max((len(row) for panel in panels for row in panel.rows), default=0)
        self._width = self._wide_enough(bars)

    def _wide_enough(self, bars: list[Bar]) -> float:
        """So wide that most bars hold their label, within reason: the tenth part that is shortest may do without."""
        lengths = sorted(bar.end - bar.start for bar in bars)
        typical = lengths[len(lengths) // 10] if lengths else self._end
        wanted = self._end * _READABLE / typical if typical > 0 else _MOST_WIDTH
        return min(max(wanted, _LEAST_WIDTH), _MOST_WIDTH)

    def text(self) -> str:
        lines: list[str] = []
        top = float(_MARGIN)
        for panel in self._panels:
            lines += self._panel(panel, top)
            top += self._height(panel)
        lines += self._axis(top)
        lines += self._legend(top + _AXIS)
        width, height = self._left + self._width + 3 * _MARGIN, top + _AXIS + _LEGEND + _MARGIN
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_number(width)}" height="{_number(height)}" '
            f'viewBox="0 0 {_number(width)} {_number(height)}" font-family="sans-serif" font-size="11">'
        )
        return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *lines, "</svg>", ""])

    def _height(self, panel: Panel) -> float:
        return (_PANEL_TITLE if panel.title else 0) + len(panel.rows) * (_ROW + _GAP) + _MARGIN

    def _x(self, time: float) -> float:
        return self._left + time / self._end * self._width

    def _panel(self, panel: Panel, top: float) -> list[str]:
        lines = []
        if panel.title:
            lines.append(_text(_MARGIN, top + 13, panel.title, "#202020", weight="bold"))
            top += _PANEL_TITLE
        for row, name in enumerate(panel.rows):
            y = top + row * (_ROW + _GAP)
            lines.append(_text(_MARGIN, y + 16, name, "#202020"))
            lines.append(_rectangle(self._left, y, self._width, _ROW, "#efefef"))
        lines += [self._bar(bar, top + bar.row * (_ROW + _GAP)) for bar in panel.bars]
        return lines

    def _bar(self, bar: Bar, y: float) -> str:
        x, width = self._x(bar.start), self._x(bar.end) - self._x(bar.start)
        fill, ink = self._colours(bar.kind, bar.chunk)
        label = ""
        if _LETTER * len(bar.label) + 2 <= width:
            label = _text(x + width / 2, y + 16, bar.label, ink, anchor="middle")
        edge = min(0.5, width / 8)  # a line of the background between bars
        shape = _rectangle(x + edge, y, width - 2 * edge, _ROW, fill)
        return f"<g><title>{_escaped(bar.title)}</title>{shape}{label}</g>"

    def _colours(self, kind: str, chunk: int) -> tuple[str, str]:
        """The colour of a bar and of the text in it: the later the chunk, the lighter."""
        _, hue, saturation, darkest = _LOOKS.get(kind, _OTHER)
        step = (_LIGHTEST - darkest) / max(1, self._chunks - 1)
        lightness = round(darkest + step * chunk)
        parts = colorsys.hls_to_rgb(hue / 360, lightness / 100, saturation / 100)
        fill = "#" + "".join(f"{round(255 * part):02x}" for part in parts)
        return fill, "#000000" if lightness > _DARK_TEXT else "#ffffff"

    def _axis(self, top: float) -> list[str]:
        step = _round_step(self._end * _TICK_WIDTH / self._width)
        lines = []
        for index in range(math.floor(self._end / step + 1e-9) + 1):
            x = self._x(index * step)
            ends = f'x1="{_number(x)}" x2="{_number(x)}" y1="{_MARGIN}" y2="{_number(top)}"'
            lines.append(f'<line {ends} stroke="#000000" stroke-opacity="0.13"/>')
            lines.append(_text(x, top + 12, _time(index * step), "#404040", anchor="middle"))
        if self._unit:
            lines.append(_text(_MARGIN, top + 12, self._unit, "#404040"))
        return lines

    def _legend(self, top: float) -> list[str]:
        entries = [(_LOOKS[kind][0], kind, chunk) for kind in self._kinds for chunk in self._shades(kind)]
        entries += [(_OTHER[0], "", 0)] if self._others else []
        lines, x = [], self._left
        for name, kind, chunk in entries:
            label = name if self._chunks == 1 or kind in ("", "U") else f"{name}, chunk {chunk}"
            lines.append(_rectangle(x, top, 14, 14, self._colours(kind, chunk)[0]))
            lines.append(_text(x + 19, top + 11, label, "#202020"))
            x += 19 + _LETTER * len(label) + 16
        return lines

    def _shades(self, kind: str) -> Sequence[int]:
        """Of many chunks the legend shows the first and the last."""
        if self._chunks == 1 or kind == "U":
            return (0,)
        return (0, self._chunks - 1)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, ... and their parts that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _rectangle(x: float, y: float, width: float, height: float, fill: str) -> str:
    size = f'width="{_number(max(width, 0.0))}" height="{_number(height)}"'
    return f'<rect x="{_number(x)}" y="{_number(y)}" {size} fill="{fill}"/>'


def _text(x: float, y: float, text: str, fill: str, anchor: str = "", weight: str = "") -> str:
    more = (f' text-anchor="{anchor}"' if anchor else "") + (f' font-weight="{weight}"' if weight else "")
    return f'<text x="{_number(x)}" y="{_number(y)}" fill="{fill}"{more}>{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    """As XML text; what XML cannot hold becomes a question mark."""
    return escape("".join(character if character.isprintable() else "?" for character in text))


def _number(value: float) -> str:
    """Short, and the same on every machine."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _time(value: float) -> str:
    return f"{value:.6g}"
