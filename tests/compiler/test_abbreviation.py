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
    ],
)
def test_folded(names, parts):
    assert folded(names.split()) == parts


def test_what_is_folded_can_be_unfolded():
    names = [f"{'FBW'[index * index % 7 % 3]}{index % 2}" for index in range(200)]
    unfolded = []
    for part in folded(names):
        times, _, inner = part.rpartition(" x ")
        unfolded += int(times or 1) * inner.strip("()").split()
    assert unfolded == names
