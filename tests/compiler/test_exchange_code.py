"""The tasks of exchanges: how what devices divide is cut into slices and joined again."""

import jax
import numpy
import pytest
from atoll.compiler.emit.exchange_code import ExchangedArray, Slicing, cut_code, join_code
from atoll.compiler.mlir.bindings import new_context
from atoll.compiler.replicas.exchange import slice_bounds
from atoll.runtime.fragment import lower_ahead
from atoll.runtime.program import Buffer
from evaluated import Module

pytestmark = pytest.mark.own

# Each of four devices has 8 of the 32 rows and 3 of the 6 columns of a layer; the rows are cut into three slices.
ARRAY = ExchangedArray(Buffer((2, 32, 6), "float32", ((), ("x",), ("y",))), "f32")
AXES = {"x": 4, "y": 2}
SLICING = Slicing(1, 4, tuple(slice_bounds(8, 3)))


def codes():
    context = new_context()
    return cut_code([ARRAY], SLICING, context), join_code([ARRAY], SLICING, context)


def test_a_slice_has_the_same_stretch_of_every_part():
    cut, join = (Module(code.module) for code in codes())
    given = numpy.arange(2 * 32 * 6, dtype="float32").reshape(ARRAY.shape)
    slices = cut(given)
    assert (
        [one.shape for one in slices]
        == [one.shape for one in SLICING.of(ARRAY)]
        == [(2, 4 * size, 6) for size in (3, 3, 2)]
    )
    parts = given.reshape(2, 4, 8, 6)
    for one, (start, stop) in zip(slices, SLICING.bounds, strict=True):
        assert (one.reshape(2, 4, stop - start, 6) == parts[:, :, start:stop]).all()
    (joined,) = join(*slices)
    assert (joined == given).all()


def test_slices_are_divided_as_the_whole_is():
    assert ARRAY.parts(AXES) == (1, 4, 2)
    assert {one.buffer.spec for one in SLICING.of(ARRAY)} == {ARRAY.buffer.spec}


@pytest.mark.xla
def test_devices_cut_and_join_without_each_other():
    mesh = jax.sharding.Mesh(numpy.array(jax.devices()[:8]).reshape(4, 2), ("x", "y"))
    cut, join = codes()
    slices = [one.buffer for one in SLICING.of(ARRAY)]
    for code, inputs in ((cut, [ARRAY.buffer]), (join, slices)):
        text = lower_ahead(code, inputs, (), mesh).compile().as_text()
        assert not [line for line in text.splitlines() if "all-" in line or "collective" in line]
