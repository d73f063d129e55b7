"""What stands where a microbatch adds nothing of its own changes no number of its type."""

import ml_dtypes
import numpy
import pytest
from atoll.compiler.batch_rules.states import JOIN, identity
from atoll.compiler.mlir.bindings import ir, new_context

pytestmark = pytest.mark.own

# By MLIR's names, all floats that jax has and of which there are few enough to try each number; but for those of
# scales alone, which have no zero.
FLOATS = {
    "f8E3M4": ml_dtypes.float8_e3m4,
    "f8E4M3": ml_dtypes.float8_e4m3,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn,
    "f8E4M3B11FNUZ": ml_dtypes.float8_e4m3b11fnuz,
    "f8E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "f8E5M2": ml_dtypes.float8_e5m2,
    "f8E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "f6E2M3FN": ml_dtypes.float6_e2m3fn,
    "f6E3M2FN": ml_dtypes.float6_e3m2fn,
    "f4E2M1FN": ml_dtypes.float4_e2m1fn,
    "bf16": ml_dtypes.bfloat16,
    "f16": numpy.float16,
}
COMBINE = {"add": numpy.add, "max": numpy.maximum, "min": numpy.minimum, JOIN: numpy.add}


@pytest.mark.parametrize("kind", COMBINE)
@pytest.mark.parametrize("name", FLOATS)
def test_each_number_of_a_type_stays_as_it_is(name, kind):
    with new_context(), ir.Location.unknown():
        neutral = identity(kind, ir.RankedTensorType.parse(f"tensor<{name}>"))
        number = ir.FloatAttr(neutral.get_splat_value()).value
    numbers = every_number(FLOATS[name])
    combined = COMBINE[kind](numbers.dtype.type(number), numbers)
    numpy.testing.assert_array_equal(combined, numbers)
    if kind == JOIN:  # what replicas have written is the same to the bit
        numpy.testing.assert_array_equal(numpy.signbit(combined), numpy.signbit(numbers))


def every_number(dtype):
    bits = ml_dtypes.finfo(dtype).bits
    numbers = numpy.arange(1 << bits, dtype="uint16" if bits > 8 else "uint8").view(dtype)
    with numpy.errstate(invalid="ignore"):  # of those that are none
        return numbers[~numpy.isnan(numbers)]
