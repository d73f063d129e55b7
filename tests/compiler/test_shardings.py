"""What an island can follow of a sharding: on numbers alone."""

import pytest
from atoll.compiler.module.shardings import not_followed, on_island
from atoll.compiler.topology.topology import topology

pytestmark = pytest.mark.own


@pytest.mark.parametrize(
    ("spec", "followed", "left_out"),
    [
        ((("data",), ()), (("data",), ()), []),
        (((), ("data",)), (), ["data"]),  # two devices cannot share three columns
        ((("model", "data"), ()), (("data",), ()), ["model"]),  # an axis of another island
        ((("data", "rows"), ()), (), ["data", "rows"]),  # one of them would divide the rows, but not both
        ((("rows",), ("data",)), (("rows",), ()), ["data"]),
    ],
)
def test_axes_that_are_there_and_divide_evenly_are_followed(spec, followed, left_out):
    (island,) = topology("1 x cpu[data=2, rows=2]").islands
    assert on_island(spec, (6, 3), island) == followed
    assert not_followed(spec, (6, 3), island) == left_out
