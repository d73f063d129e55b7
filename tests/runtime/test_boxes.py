"""Which device holds what, and what goes from which process to which."""

import jax
import numpy
import pytest
from atoll.runtime.boxes import boxes_of, common, on_devices, shared_out
from atoll.runtime.fragment import sharding_of
from atoll.runtime.processes.legs import legs
from atoll.runtime.program import Buffer
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.own

MESHES = [(("a", 8),), (("a", 2), ("b", 4)), (("a", 4), ("b", 2)), (("a", 2), ("b", 2), ("c", 2))]
PARTS = {2: ["{}"], 4: ["{}", "{}:(1)2", "{}:(2)2"], 8: ["{}", "{}:(1)2", "{}:(2)2", "{}:(4)2", "{}:(2)4"]}


@st.composite
def layouts(draw, shape=(8, 16, 8)):
    """The axes of a mesh, and how an array of this shape lies on it."""
    axes = draw(st.sampled_from(MESHES))
    spec = [[] for _ in shape]
    for name, size in draw(st.permutations(axes)):
        if (dimension := draw(st.integers(-1, 2))) >= 0:
            spec[dimension].append(draw(st.sampled_from(PARTS[size])).format(name))
    return axes, Buffer(shape, "float32", tuple(map(tuple, spec)))


@settings(max_examples=100, deadline=None)
@given(layouts())
def test_devices_hold_what_jax_says(layout):
    axes, buffer = layout
    names, sizes = zip(*axes, strict=True)
    mesh = jax.sharding.Mesh(numpy.array(jax.devices()[:8]).reshape(sizes), names)
    found = on_devices(sharding_of(buffer, mesh), buffer.shape)
    assert boxes_of(buffer, axes) == [found[device] for device in mesh.devices.flat]


@settings(max_examples=200, deadline=None)
@given(layouts(), layouts(), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8]))
def test_each_process_gets_once_what_it_needs_and_each_element_crosses_once(one, other, sending, needing):
    given, wanted = (
        shared_out(boxes_of(buffer, axes), count) for (axes, buffer), count in ((one, sending), (other, needing))
    )
    got = [numpy.zeros(one[1].shape, int) for _ in wanted]
    crossed = numpy.zeros(one[1].shape, int)
    for leg in legs(given, wanted):
        index = tuple(slice(*bounds) for bounds in leg.box)
        assert leg.of in given[leg.source]
        assert common(leg.box, leg.of) == leg.box
        crossed[index] += 1
        for target in leg.targets:
            got[target][index] += 1
    assert (crossed == 1).all()
    for its, boxes in zip(got, wanted, strict=True):
        expected = numpy.zeros_like(its)
        for box in boxes:
            expected[tuple(slice(*bounds) for bounds in box)] = 1
        assert (its == expected).all()
