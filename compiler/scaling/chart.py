"""The efficiency of more and more copies as a picture: weak and strong scaling side by side."""

from collections.abc import Iterator, Sequence
from math import log2
from xml.sax.saxutils import escape

from atoll.compiler.scaling.scale import Scale
from atoll.compiler.scaling.scaling import Scaling

_WIDTH, _HEIGHT = 960, 290
_LEFT, _TOP, _BOTTOM, _GAP = 52, 62, 46, 60
_LETTER = 6.6  # the width of a letter, in pixels
_MARKS = 8  # of the axis below, at the most

# The lines: what they show, and their class in the style. Colours of Okabe and Ito, lighter on a dark page.
_STEP, _KEPT, _OTHERS = ("the step", "l0"), ("with failures", "l1"), ("if others went on", "l2")
_STYLE = (
    "<style>text{fill:#222}.axis{stroke:#888;fill:none}.grid{stroke:#888;stroke-opacity:.25}"
    "polyline{fill:none;stroke-width:2.2}.l0{stroke:#b45309}.l1{stroke:#0072b2}.l2{stroke:#008060;stroke-dasharray:6 4}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.l0{stroke:#f0a040}.l1{stroke:#60b8f0}.l2{stroke:#40d0a0}}"
    "</style>"
)

_Line = tuple[str, list[float]]  # its class, and a part of 1 for each row


def scaling_svg(found: Scaling) -> str:
    """Of each device the work that is done in a second, as a part of what it does in the first row."""
    panels = [(title, rows) for title, rows in (("weak scaling", found.weak), ("strong scaling", found.strong)) if rows]
    width = (_WIDTH - _LEFT - _GAP * (len(panels) - 1) - 24) / len(panels)
    shown = [_STEP, *([_KEPT] if found.losses else []), *([_OTHERS] if _has_others(found) else [])]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        _STYLE,
        *_legend(shown),
    ]
    for number, (title, rows) in enumerate(panels):
        lines = _lines(found, rows, is_first=number == 0)
        parts += _panel(title, rows, lines, _LEFT + number * (width + _GAP), width)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _has_others(found: Scaling) -> bool:
    return found.losses is not None and any(one.goes_on is not None for one in found.losses.copies)


def _lines(found: Scaling, rows: Sequence[Scale], *, is_first: bool) -> list[_Line]:
    """Failures are known of the first panel's rows."""
    lines = [(_STEP[1], [row.efficiency for row in rows])]
    if found.losses is not None and is_first:
        losses = found.losses.copies
        lines.append((_KEPT[1], [row.efficiency * one.stops.goodput for row, one in zip(rows, losses, strict=True)]))
        if _has_others(found):
            kept = [one.stops.goodput if one.goes_on is None else one.goes_on for one in losses]
            lines.append((_OTHERS[1], [row.efficiency * part for row, part in zip(rows, kept, strict=True)]))
    return lines


def _legend(shown: Sequence[tuple[str, str]]) -> Iterator[str]:
    x = float(_LEFT)
    for name, look in shown:
        yield f'<polyline class="{look}" points="{x:.0f},14 {x + 26:.0f},14"/>{_text(x + 32, 18, name)}'
        x += 32 + _LETTER * len(name) + 24


def _panel(title: str, rows: Sequence[Scale], lines: Sequence[_Line], left: float, width: float) -> Iterator[str]:
    height = _HEIGHT - _TOP - _BOTTOM
    tallest = max(1.0, *(part for _, line in lines for part in line))
    ends = [log2(row.copies) for row in (rows[0], rows[-1])]

    def x(row: Scale) -> float:
        return left + width * (log2(row.copies) - ends[0]) / ((ends[1] - ends[0]) or 1.0)

    def y(part: float) -> float:
        return _TOP + height * (1 - part / tallest)

    yield _text(left, _TOP - 16, f"{title}: what a device does, of what it does in the first row")
    for part in (0.25, 0.5, 0.75, 1.0):
        yield f'<line class="grid" x1="{left:.1f}" x2="{left + width:.1f}" y1="{y(part):.1f}" y2="{y(part):.1f}"/>'
        yield _text(left - 6, y(part) + 4, f"{part:.0%}", "end")
    corner = f"{left:.1f},{_TOP} {left:.1f},{_TOP + height} {left + width:.1f},{_TOP + height}"
    yield f'<polyline class="axis" style="stroke-width:1" points="{corner}"/>'
    for row in rows[:: -(-len(rows) // _MARKS)]:
        yield _text(x(row), _TOP + height + 16, str(row.devices), "middle")
    yield _text(left + width / 2, _TOP + height + 34, "devices", "middle")
    for look, line in lines:
        points = " ".join(f"{x(row):.1f},{y(part):.1f}" for row, part in zip(rows, line, strict=True))
        yield f'<polyline class="{look}" points="{points}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
