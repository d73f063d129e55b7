"""`--times=FILE`: what every test takes, and at the end the sums of each folder.

Processor seconds count, also those of processes that a test has started: what else the machine does makes everything
take longer, and changes these least. Fixtures that tests share belong to the first of them; what a standing Python has
run is seen when it is asked the next time.
"""

import collections
import json
import os
import time
from collections.abc import Generator, Iterable
from pathlib import Path

import pytest
import standing_python


class Times:
    """The plugin. Each process adds its lines to one file, which the first has emptied."""

    def __init__(self, file: Path, is_first: bool) -> None:
        self._file = file
        if is_first:
            file.write_text("")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        processor, wall = spent(), time.monotonic()
        ran = yield
        line = [item.nodeid, round(spent() - processor, 3), round(time.monotonic() - wall, 3)]
        with self._file.open("a") as lines:
            lines.write(json.dumps(line) + "\n")
        return ran

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in table(self._file.read_text().splitlines()):
            terminalreporter.write_line(line)


def spent() -> float:
    """Processor seconds of this process, and of those that it has started and that have ended."""
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system + standing_python.spent()


def table(lines: Iterable[str]) -> list[str]:
    """The sums by folder, the largest first."""
    sums: dict[str, list[float]] = collections.defaultdict(lambda: [0, 0.0, 0.0])
    for line in lines:
        name, processor, wall = json.loads(line)
        for kind in (_folder(name), "all"):
            sums[kind] = [one + more for one, more in zip(sums[kind], (1, processor, wall), strict=True)]
    rows = sorted(sums.items(), key=lambda row: -row[1][1])
    return [
        f"{'':<20}{'tests':>7}{'processor s':>13}{'wall s':>9}",
        *(f"{kind:<20}{count:>7}{processor:>13.1f}{wall:>9.1f}" for kind, (count, processor, wall) in rows),
    ]


def _folder(name: str) -> str:
    file = Path(name.partition("::")[0])
    return "/".join(file.parent.parts[:2]) or file.name
