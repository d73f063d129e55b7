"""Constants of every type of element, read."""

import numpy
import pytest
from atoll.compiler.batch_rules.states import JOIN, identity
from atoll.compiler.mlir.bindings import ir, new_context
from atoll.compiler.mlir.constants import comparable_attributes, integers, is_splat, is_value, splat_number, with_type

pytestmark = pytest.mark.own

# What is written -> the number that it is everywhere, and all of it if it is integers; None where there is no such.
READ = {
    "dense<true> : tensor<3xi1>": (1, [1, 1, 1]),
    "dense<[true, false]> : tensor<2xi1>": (None, [1, 0]),
    "dense<-3> : tensor<2xi4>": (-3, [-3, -3]),
    "dense<[[-8, 7]]> : tensor<1x2xi4>": (None, [[-8, 7]]),
    "dense<[0, 15]> : tensor<2xui4>": (None, [0, 15]),
    "dense<[1, -2]> : tensor<2xi2>": (None, [1, -2]),
    "dense<[1, 65535]> : tensor<2xui16>": (None, [1, 65535]),
    "dense<> : tensor<0xi32>": (None, []),
    "dense<2.5> : tensor<2xbf16>": (2.5, None),
    "dense<-0.125> : tensor<2xf8E4M3FN>": (-0.125, None),
    "dense<[1.0, 2.0]> : tensor<2xf8E5M2>": (None, None),
    "dense<(1.0, 2.0)> : tensor<2xcomplex<f32>>": (None, None),
}


def constant(value, context=None):
    return ir.Operation.parse(f"%0 = stablehlo.constant {value}", context=context or new_context()).operation


@pytest.mark.parametrize("value", READ)
def test_what_a_constant_says(value):
    number, whole = READ[value]
    read = constant(value)
    assert splat_number(read) == number
    assert is_splat(read) == (number is not None or "<(" in value)
    found = integers(read)
    assert (None if found is None else found.tolist()) == whole


def test_many_narrow_integers():
    """More than MLIR prints as a list."""
    numbers = numpy.arange(200, dtype="int8") % 16 - 8
    digits = (numbers.view("uint8") & 15).tobytes().hex()
    assert (integers(constant(f'dense<"0x{digits}"> : tensor<200xi4>')) == numbers).all()


@pytest.mark.parametrize("number", ["(-0.0, 1.5)", "(0x7FC00001, 0xFF800000)"])
def test_complex_numbers_in_another_shape_have_the_same_bits(number):
    context = new_context()
    whole, half = (constant(f"dense<{number}> : tensor<{size}xcomplex<f32>>", context) for size in (4, 2))
    with whole.location:
        types = [ir.RankedTensorType(one.results[0].type) for one in (whole, half)]
        assert is_value(whole, with_type(whole, types[0]))
        assert is_value(half, with_type(whole, types[1]))
        assert str(with_type(whole, types[1])) in str(half)


def test_what_a_sum_of_complex_numbers_begins_with():
    context = new_context()
    zero, other = (constant(f"dense<({real}, 0.0)> : tensor<2xcomplex<f64>>", context) for real in ("0.0", "-0.0"))
    with zero.location:
        type_ = ir.RankedTensorType(zero.results[0].type)
        assert is_value(zero, identity("add", type_))
        assert not is_value(other, identity("add", type_))
        assert str(identity(JOIN, type_)).startswith("dense<(-0.000000e+00,-0.000000e+00)>")
        assert identity("max", type_) is None
    assert comparable_attributes(zero) != comparable_attributes(other)
