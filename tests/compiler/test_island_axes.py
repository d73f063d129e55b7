"""Which divisions of a user's mesh islands can follow."""

import pytest
from atoll.compiler.module.island_axes import axes_of_islands, misfit

from atoll import topology

ISLANDS = topology("2 x cpu[data=2, model=2]")
MESHES = "the mesh is ({}), and that of the islands (data=2, model=2)"

pytestmark = pytest.mark.own


def test_where_islands_differ_the_first_counts():
    unlike = topology("island a : cpu[data=4, model=1]; island b : cpu[rows=2, data=2]")
    assert list(axes_of_islands(unlike).items()) == [("data", 4), ("model", 1), ("rows", 2)]


@pytest.mark.parametrize("named", [(), ("data",), ("data", "model"), ("stage",)])
@pytest.mark.parametrize("mesh", [{"data": 2, "model": 2, "stage": 1}, {"stage": 1, "model": 4, "data": 8}], ids=str)
def test_larger_axes_and_those_of_one_device_fit(named, mesh):
    assert misfit(named, mesh, ISLANDS) is None


def test_what_is_not_named_does_not_matter():
    assert misfit(["data"], {"data": 2, "rows": 3}, ISLANDS) is None


def test_an_axis_that_no_island_has():
    what, remedy = misfit(["data", "rows"], {"data": 2, "rows": 2}, ISLANDS)
    assert what == "the islands have no axis rows: " + MESHES.format("data=2, rows=2")
    assert remedy == 'give them one, as in topology="2 x cpu[data=2, rows=2]"'


@pytest.mark.parametrize("size", [3, 5])
def test_an_axis_of_another_size(size):
    what, remedy = misfit(["data"], {"data": size}, ISLANDS)
    assert what == f"axis data of size {size} is no multiple of the islands': " + MESHES.format(f"data={size}")
    assert remedy == f'give the islands equal sizes, as in topology="2 x cpu[data={size}]"'
