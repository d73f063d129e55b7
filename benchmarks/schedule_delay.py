"""What slow links cost: 1F1B, the best named schedule that fits, the one that is searched, and the bound of that.

Four islands, 16 microbatches, tasks of one unit; over the latency of links and the memory of islands. Prints a table,
and with `--picture FILE` draws it. All is counted in units of a task, so every machine gives the same.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from atoll.compiler.schedules.costs import Costs, LinkCost
from atoll.compiler.schedules.kinds import schedule
from atoll.compiler.schedules.search import search
from atoll.compiler.schedules.simulate import simulate
from rows import Row, tell

ISLANDS, MICROBATCHES = 4, 16
LATENCIES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
LIMITS = (4.0, 6.0, 8.0)  # activations; 1F1B keeps 4
MOST_GAP = 0.05  # of what is found above the bound

_WIDTH, _HEIGHT, _LEFT, _TOP, _PLOT, _STEP = 860, 250, 46, 44, 236, 272
_LEGEND = ("1F1B", "best named that fits", "searched", "no order is faster")


class Point(NamedTuple):
    """Makespans with one latency and one limit."""

    latency: float
    limit: float
    one_f_one_b: float
    named: float
    found: float
    bound: float


def measured(latency: float, limit: float) -> Point:
    each = (1.0,) * ISLANDS
    links = {pair: LinkCost(latency) for pair in permutations(range(ISLANDS), 2)}
    costs = Costs(each, each, each, (0.0,) * ISLANDS, each, links)
    found = search(ISLANDS, MICROBATCHES, costs, [limit] * ISLANDS)
    named = min(known.makespan for known in found.compared if known.fits)
    usual = simulate(schedule("1f1b", ISLANDS, MICROBATCHES), costs).makespan
    return Point(latency, limit, usual, named, found.simulation.makespan, found.lower_bound)


def picture(rows: Sequence[Point]) -> str:
    """A panel for each limit, as SVG that is readable on light and on dark."""
    top = max(row.one_f_one_b for row in rows)
    low = 40.0

    def place(panel: int, latency: float, time: float) -> str:
        x = _LEFT + panel * _STEP + latency / LATENCIES[-1] * _PLOT
        return f"{x:.1f},{_TOP + (top - time) / (top - low) * (_HEIGHT - _TOP - 44):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        "<style>text{fill:#222;font-size:12px}.axis{stroke:#888;fill:none}polyline{fill:none;stroke-width:2.2}"
        ".l0{stroke:#b45309}.l1{stroke:#0072b2}.l2{stroke:#008060}.l3{stroke:#777;stroke-dasharray:3 4}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.l0{stroke:#f0a040}.l1{stroke:#60b8f0}.l2{stroke:#40d0a0}"
        ".l3{stroke:#aaa}}</style>",
    ]
    for number, name in enumerate(_LEGEND):
        x = _LEFT + number * 190
        parts.append(
            f'<polyline class="l{number}" points="{x},12 {x + 24},12"/><text x="{x + 30}" y="16">{name}</text>'
        )
    for panel, limit in enumerate(LIMITS):
        own = [row for row in rows if row.limit == limit]
        corner = [place(panel, 0, top), place(panel, 0, low), place(panel, LATENCIES[-1], low)]
        parts.append(f'<polyline class="axis" points="{" ".join(corner)}"/>')
        x, y = corner[1].split(",")
        parts.append(f'<text x="{float(x) + 8:.0f}" y="{_TOP - 8}">room for {limit:g} activations</text>')
        for latency in (0.0, 1.0, 2.0):
            at = place(panel, latency, low).split(",")[0]
            parts.append(f'<text x="{at}" y="{float(y) + 16:.0f}" text-anchor="middle">{latency:g}</text>')
        for time in (40, 60, 80, 100):
            height = float(place(panel, 0, time).split(",")[1]) + 4
            parts.append(f'<text x="{float(x) - 6:.0f}" y="{height:.0f}" text-anchor="end">{time}</text>')
        for number, points in enumerate(zip(*(row[2:] for row in own), strict=True)):
            line = " ".join(place(panel, row.latency, time) for row, time in zip(own, points, strict=True))
            parts.append(f'<polyline class="l{number}" points="{line}"/>')
    parts.append(
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">units of a task, over the latency of links in units of a task</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    print(f"{'latency':>8}{'room':>6}{'1f1b':>8}{'named':>8}{'found':>8}{'bound':>8}{'saved':>8}{'gap':>8}")
    rows = []
    for limit in LIMITS:
        for latency in LATENCIES:
            row = measured(latency, limit)
            rows.append(row)
            saved, gap = 1 - row.found / row.one_f_one_b, row.found / row.bound - 1
            numbers = "".join(f"{number:>8g}" for number in row[2:])
            beside = {"1f1b": row.one_f_one_b, "best by name": row.named, "bound": row.bound}
            tell(Row(f"latency {latency:g}, room for {limit:g}", "tasks", row.found, beside))
            print(f"{latency:>8g}{limit:>6g}{numbers}{saved:>8.1%}{gap:>8.1%}", flush=True)
    if arguments.picture:
        arguments.picture.write_text(picture(rows), encoding="utf-8")
    widest = max(row.found / row.bound - 1 for row in rows)
    print(f"largest distance to the bound: {widest:.1%} (limit {MOST_GAP:.0%})")
    return 0 if widest <= MOST_GAP else 1


if __name__ == "__main__":
    sys.exit(main())
