"""Gantt charts as SVG text, which fit a page: a long one goes on in a band below, as lines of a text do."""

import colorsys
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from atoll.compiler.schedules.simulate import Simulation
from atoll.compiler.schedules.task_table import TaskTable
from atoll.compiler.task_name import BACKWARD, FORWARD, WEIGHT

# For each kind of bar its name in the legend, its hue, and its saturation and the lightness of the first chunk in per
# cent: colours of Okabe and Ito, which colour-blind people tell apart.
_LOOKS = {
    FORWARD: ("forward", 202, 100, 35),
    BACKWARD: ("backward", 26, 100, 42),
    WEIGHT: ("weight gradient", 164, 100, 31),
    "U": ("update", 327, 45, 64),
}
_OTHER = ("other", 0, 0, 45)
_LIGHTEST = 76  # the last chunk's lightness
_DARK_TEXT = 0.25  # the luminance above which text on a colour is black; else it is white
_PALER = 0.9  # how much saturation goes with each per cent of lightness, so that light colours do not glare

_ROW, _TALLEST, _GAP, _AXIS, _LEGEND, _MARGIN = 24.0, 48.0, 4, 26, 22, 10
_LETTER = 6.2  # the width of a letter of the labels, in pixels
_PANEL_TITLE = 20
_LEAST_WIDTH, _PAGE = 480.0, 1000.0  # of a band, without the names of rows
_MOST_HEIGHT = 1600.0  # of all bands; a chart that is longer has bars too short for labels
_FLATTEST = 4.0  # width to height
_READABLE = 17.0  # the width at which a bar holds a microbatch of two digits
_TICK_WIDTH = 70.0  # at least, from one mark of the axis to the next
_SHORTEST = 1e-290  # what is shorter cannot be divided by
_LEAST_BAND = 0.9  # of a band's length, where fewer bars are cut than at its end


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


@dataclass(frozen=True)
class _Band:
    """A stretch of time, and where in the picture it is. axis: how far below its top."""

    begin: float
    end: float
    top: float
    axis: float


class _Chart:
    """The dimensions of one chart, and its text."""

    def __init__(self, panels: Sequence[Panel], unit: str) -> None:
        self._panels, self._unit = panels, unit
        self._bars = [bar for panel in panels for bar in panel.bars]
        end = max((bar.end for bar in self._bars), default=0.0)
        self._end = end if end > _SHORTEST else 1.0
        self._chunks = max((bar.chunk for bar in self._bars), default=0) + 1
        self._kinds = [kind for kind in _LOOKS if any(bar.kind == kind for bar in self._bars)]
        self._others = any(bar.kind not in _LOOKS for bar in self._bars)
        self._left = 2 * _MARGIN + _LETTER * max((len(row) for panel in panels for row in panel.rows), default=0)
        self._row = _ROW
        self._cuts = self._divided(self._wanted_width())
        self._scale = self._width / max(end - begin for begin, end in self._cuts)
        rows = len(self._cuts) * sum(len(panel.rows) for panel in panels)
        if rows:  # of a chart that is flat, rows are taller
            missing = (self._left + self._width) / _FLATTEST - self._height
            self._row = min(_TALLEST, _ROW + max(0.0, missing) / rows)

    def _wanted_width(self) -> float:
        """Wide enough for bars to hold their labels; the shortest, which fill a tenth of the time, may do without."""
        lengths = sorted(bar.end - bar.start for bar in self._bars)
        left = sum(lengths) / 10
        typical = next((length for length in lengths if (left := left - length) < 0), 0.0)
        return max(self._end * _READABLE / typical if typical > 0 else 0.0, _LEAST_WIDTH)

    def _divided(self, wanted: float) -> list[tuple[float, float]]:
        """The time of each band. One ends a little early if fewer bars are cut there."""
        self._width = min(wanted, _PAGE)
        most = max(1.0, _MOST_HEIGHT // (self._panels_height() + _AXIS))
        length = self._end / min(most, max(1.0, wanted / _PAGE))
        starts, ends = (sorted(getattr(bar, name) for bar in self._bars) for name in ("start", "end"))
        cuts, begin = [], 0.0
        while begin + length < self._end * (1 - 1e-9):
            first, last = (bisect_left(ends, begin + part * length) for part in (_LEAST_BAND, 1.0))
            places = [*dict.fromkeys(ends[first:last]), begin + length]
            end = min(places, key=lambda time: (bisect_left(starts, time) - bisect_right(ends, time), -time))
            cuts.append((begin, end))
            begin = end
        return [*cuts, (begin, self._end)]

    def _panels_height(self) -> float:
        titles = sum(_PANEL_TITLE for panel in self._panels if panel.title)
        return titles + sum(len(panel.rows) * (self._row + _GAP) + _MARGIN for panel in self._panels)

    @property
    def _height(self) -> float:
        """Of the whole picture."""
        bands = len(self._cuts) * (self._panels_height() + _AXIS)
        return _MARGIN + bands + _LEGEND * (1 + max(line for _, line, _ in self._entries())) + _MARGIN

    def text(self) -> str:
        axis = self._panels_height()
        bands = [
            _Band(begin, end, _MARGIN + number * (axis + _AXIS), axis) for number, (begin, end) in enumerate(self._cuts)
        ]
        lines = [line for band in bands for line in self._band(band)]
        lines += self._all_bars(bands)
        lines += self._legend(_MARGIN + len(bands) * (axis + _AXIS) + 4)
        width = self._left + self._width + 3 * _MARGIN
        height = max(self._height, width / _FLATTEST)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_number(width)}" height="{_number(height)}" '
            f'viewBox="0 0 {_number(width)} {_number(height)}" font-family="sans-serif" font-size="11">'
        )
        return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *lines, "</svg>", ""])

    def _x(self, time: float, band: _Band) -> float:
        return self._left + (time - band.begin) * self._scale

    def _tops(self, top: float) -> Iterator[tuple[Panel, float]]:
        """Each panel, and where its rows begin, in a band with this top."""
        for panel in self._panels:
            top += _PANEL_TITLE if panel.title else 0
            yield panel, top
            top += len(panel.rows) * (self._row + _GAP) + _MARGIN

    def _band(self, band: _Band) -> Iterator[str]:
        """All of a band but its bars."""
        for panel, top in self._tops(band.top):
            if panel.title:
                title = panel.title if band.begin == 0 else f"{panel.title}, from {band.begin:.4g} on"
                yield _text(_MARGIN, top - 7, title, "#202020", weight="bold")
            for row, name in enumerate(panel.rows):
                y = top + row * (self._row + _GAP)
                yield _text(_MARGIN, y + self._row / 2 + 4, name, "#202020")
                yield _rectangle(self._left, y, (band.end - band.begin) * self._scale, self._row, "#efefef")
        yield from self._axis(band)

    def _all_bars(self, bands: Sequence[_Band]) -> Iterator[str]:
        places = [dict(enumerate(top for _, top in self._tops(band.top))) for band in bands]
        ends = [band.end for band in bands]
        for number, panel in enumerate(self._panels):
            for bar in panel.bars:
                first = min(bisect_right(ends, bar.start), len(bands) - 1)
                last = max(first, min(bisect_left(ends, bar.end), len(bands) - 1))
                drawn = range(first, last + 1)
                yield self._bar(bar, [(bands[one], places[one][number]) for one in drawn])

    def _bar(self, bar: Bar, parts: Sequence[tuple[_Band, float]]) -> str:
        """A bar, in one part unless its band ends before it; the longest part has the label."""
        fill, ink = self._colours(bar.kind, bar.chunk)
        boxes = []
        for band, top in parts:
            x = self._x(max(bar.start, band.begin), band)
            boxes.append((self._x(min(bar.end, band.end), band) - x, x, top + bar.row * (self._row + _GAP)))
        shapes = []
        for width, x, y in boxes:
            edge = min(0.5, width / 8)  # a line of the background between bars
            shapes.append(_rectangle(x + edge, y, width - 2 * edge, self._row, fill))
        width, x, y = max(boxes)
        if _LETTER * len(bar.label) + 2 <= width:
            shapes.append(_text(x + width / 2, y + self._row / 2 + 4, bar.label, ink, anchor="middle"))
        return f"<g><title>{_escaped(bar.title)}</title>{''.join(shapes)}</g>"

    def _colours(self, kind: str, chunk: int) -> tuple[str, str]:
        """The colours of a bar and of the text in it: the later the chunk, the lighter the bar."""
        _, hue, saturation, darkest = _LOOKS.get(kind, _OTHER)
        step = (_LIGHTEST - darkest) / max(1, self._chunks - 1)
        lightness = round(darkest + step * chunk)
        paler = max(0.0, saturation - (lightness - darkest) * _PALER)
        parts = colorsys.hls_to_rgb(hue / 360, lightness / 100, paler / 100)
        fill = "#" + "".join(f"{round(255 * part):02x}" for part in parts)
        luminance = sum(weight * part**2.2 for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))
        return fill, "#000000" if luminance > _DARK_TEXT else "#ffffff"

    def _axis(self, band: _Band) -> Iterator[str]:
        step = _round_step(_TICK_WIDTH / self._scale)
        bottom = band.top + band.axis
        first = math.ceil(band.begin / step - 1e-9)
        for index in range(first, math.floor(band.end / step + 1e-9) + 1):
            x = self._x(index * step, band)
            ends = f'x1="{_number(x)}" x2="{_number(x)}" y1="{_number(band.top)}" y2="{_number(bottom)}"'
            yield f'<line {ends} stroke="#000000" stroke-opacity="0.13"/>'
            yield _text(x, bottom + 12, _time(index * step), "#404040", anchor="middle")
        if self._unit:
            yield _text(_MARGIN, bottom + 12, self._unit, "#404040")

    def _entries(self) -> Iterator[tuple[float, int, tuple[str, str]]]:
        """What the legend shows: how far from the left, on which line, the label, and the colour."""
        entries = [(_LOOKS[kind][0], kind, chunk) for kind in self._kinds for chunk in self._shades(kind)]
        entries += [(_OTHER[0], "", 0)] if self._others else []
        x, line = 0.0, 0
        for name, kind, chunk in entries or [("nothing", "", 0)]:
            label = name if self._chunks == 1 or kind in ("", "U") else f"{name}, chunk {chunk}"
            length = 19 + _LETTER * len(label) + 16
            if x and x + length > self._width:
                x, line = 0.0, line + 1
            yield x, line, (label, self._colours(kind, chunk)[0])
            x += length

    def _legend(self, top: float) -> Iterator[str]:
        for x, line, (label, fill) in self._entries() if self._bars else ():
            y = top + line * _LEGEND
            yield _rectangle(self._left + x, y, 14, 14, fill)
            yield _text(self._left + x + 19, y + 11, label, "#202020")

    def _shades(self, kind: str) -> Sequence[int]:
        """The chunks that the legend shows: of many only the first and the last."""
        if self._chunks == 1 or kind == "U":
            return (0,)
        return (0, self._chunks - 1)


def _round_step(least: float) -> float:
    """The smallest of ..., 0.5, 1, 2, 5, 10, ... that is at least this."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _rectangle(x: float, y: float, width: float, height: float, fill: str) -> str:
    size = f'width="{_number(max(width, 0.0))}" height="{_number(height)}"'
    return f'<rect x="{_number(x)}" y="{_number(y)}" {size} fill="{fill}"/>'


def _text(x: float, y: float, text: str, fill: str, anchor: str = "", weight: str = "") -> str:
    more = (f' text-anchor="{anchor}"' if anchor else "") + (f' font-weight="{weight}"' if weight else "")
    return f'<text x="{_number(x)}" y="{_number(y)}" fill="{fill}"{more}>{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    """The text escaped for XML; what XML cannot hold becomes a question mark."""
    return escape("".join(character if character.isprintable() else "?" for character in text))


def _number(value: float) -> str:
    """A number as text: short, and the same on every machine."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _time(value: float) -> str:
    return f"{value:.6g}"
