"""Lists of names, folded."""

import pytest
from atoll.compiler.report.abbreviation import folded

pytestmark = pytest.mark.own


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ("", ()),
        ("F0 B0 U0", ("F0", "B0", "U0")),
        ("I0 F0 B0 F0 B0 U0", ("I0", "2 x (F0 B0)", "U0")),
        ("F0 F0 F0 B0 F0 B0 F0 B0", ("3 x F0", "2 x (B0 F0)", "B0")),
        ("F0 F0 F0 F0", ("4 x F0",)),
        ("B0 B0 W0 W0 B0 B0 W0 W0", ("2 x (B0 B0 W0 W0)",)),
        ("F0 F1 F2 B2 B1 B0 U0 U1", ("F0..F2", "B2..B0", "U0", "U1")),
        ("F9 F10 F11 B11 B10 B9 F9 F10 F11 B11 B10 B9", ("2 x (F9..F11 B11..B9)",)),
        ("F0 F1 F2 F1 F0 F2 F4", ("F0..F2", "F1", "F0", "F2", "F4")),
        ("X1.add X2.add X3.add U0.1 U1.1 U1.2 U1.3", ("X1.add..X3.add", "U0.1", "U1.1..U1.3")),
        ("F0 B1 W2 F F F3", ("F0", "B1", "W2", "2 x F", "F3")),
    ],
)
def test_folded(names, parts):
    assert folded(names.split()) == parts


def _counted(first, last):
    letter, start, end = first[0], int(first[1:]), int(last[1:])
    step = 1 if start < end else -1
    return [f"{letter}{number}" for number in range(start, end + step, step)]


@pytest.mark.parametrize("stages", [2, 5])
def test_what_is_folded_can_be_unfolded(stages):
    names = [f"{'FBW'[index * index % 7 % 3]}{index // 3 % stages}" for index in range(200)]
    names += [f"F{stage}" for stage in range(stages)] + [f"B{stage}" for stage in reversed(range(stages))]
    unfolded = []
    for part in folded(names):
        times, _, inner = part.rpartition(" x ")
        ends = [name.split("..") for name in inner.strip("()").split()]
        unfolded += int(times or 1) * [name for one in ends for name in (_counted(*one) if one[1:] else one)]
    assert unfolded == names
