"""What a constant says, whatever its elements are: the one place that reads `stablehlo.constant`.

The bindings hand out no complex numbers, and of narrow integers no arrays; both can be had as text.
"""

import re
from collections.abc import Hashable
from typing import Any

import numpy
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import named_attributes

# A splat of complex numbers as MLIR prints it.
_COMPLEX = re.compile(r"dense<\(([^,()]+),([^,()]+)\)> : ")
_WHOLE = re.compile(r"-?\d+")


def print_operation(operation: ir.Operation, most_numbers: int | None = None) -> str:
    """An operation as text. most_numbers: what has more of them, and is no splat, is shown without."""
    text = operation.get_asm(large_elements_limit=most_numbers)
    assert isinstance(text, str)
    return text


def given_value(constant: ir.Operation) -> ir.Attribute | None:
    """A constant's numbers as they stand in the module; None if these are complex."""
    try:
        return constant.attributes["value"]
    except TypeError:  # a kind of attribute that the bindings do not know
        return None


def is_splat(constant: ir.Operation) -> bool:
    """Whether it is the same number everywhere."""
    if is_complex(constant):
        return _complex_parts(constant) is not None
    return ir.DenseElementsAttr(constant.attributes["value"]).is_splat


def splat_number(constant: ir.Operation) -> int | float | None:
    """The number that it is everywhere; None if there is no such, or it is complex. A boolean counts as 0 or 1."""
    if is_complex(constant) or not is_splat(constant):
        return None
    value = ir.DenseElementsAttr(constant.attributes["value"]).get_splat_value()
    if isinstance(value, ir.BoolAttr):
        return int(value.value)
    return value.value if isinstance(value, ir.IntegerAttr | ir.FloatAttr) else None


def splat_integer(constant: ir.Operation) -> int | None:
    """The same of a constant of integers or booleans; None of any other."""
    number = splat_number(constant)
    return number if isinstance(number, int) else None


def integers(constant: ir.Operation) -> "numpy.typing.NDArray[Any] | None":
    """All elements of a constant of integers or booleans, in their shape; None of any other."""
    type_ = ir.RankedTensorType(constant.results[0].type)
    if not isinstance(type_.element_type, ir.IntegerType):
        return None
    number = splat_integer(constant)
    if number is not None:
        return numpy.broadcast_to(number, tuple(type_.shape))
    if type_.element_type.width in (1, 8, 16, 32, 64):
        return numpy.asarray(constant.attributes["value"])
    return _narrow_integers(constant, type_)


def with_type(constant: ir.Operation, type_: ir.RankedTensorType) -> ir.DenseElementsAttr:
    """A splat once more, in another shape."""
    if is_complex(constant):
        parts = _complex_parts(constant)
        assert parts is not None, "a splat"
        return complex_splat(type_, *parts)
    number = ir.DenseElementsAttr(constant.attributes["value"]).get_splat_value()
    return ir.DenseElementsAttr.get_splat(type_, number)


def is_value(constant: ir.Operation, value: ir.DenseElementsAttr) -> bool:
    """Whether these are a constant's numbers, to the bit."""
    if is_complex(constant):
        return f" {value}" in print_operation(constant, most_numbers=1)
    return constant.attributes["value"] == value


def comparable_attributes(operation: ir.Operation) -> Hashable:
    """All attributes of an operation, constant or not: equal where they say the same."""
    if operation.name == "stablehlo.constant" and is_complex(operation):
        return print_operation(operation)
    return frozenset(named_attributes(operation.attributes).items())


def is_complex(constant: ir.Operation) -> bool:
    return isinstance(ir.RankedTensorType(constant.results[0].type).element_type, ir.ComplexType)


def complex_splat(type_: ir.RankedTensorType, real: Any, imaginary: Any) -> ir.DenseElementsAttr:  # noqa: ANN401 (numbers)
    parts = numpy.array([real, imaginary], _part_type(type_))
    return ir.DenseElementsAttr.get(parts.tobytes(), type=type_)


def _complex_parts(constant: ir.Operation) -> Any:  # noqa: ANN401 (two floats of numpy's, or None)
    """Real and imaginary part of a splat of complex numbers; None if it is none."""
    found = _COMPLEX.search(print_operation(constant, most_numbers=1))
    if found is None:
        return None
    part = _part_type(ir.RankedTensorType(constant.results[0].type))
    return [_float(text.strip(), part) for text in found.groups()]


def _part_type(type_: ir.RankedTensorType) -> "numpy.dtype[Any]":
    return numpy.dtype(str(ir.ComplexType(type_.element_type).element_type).replace("f", "float"))


def _float(text: str, type_: "numpy.dtype[Any]") -> Any:  # noqa: ANN401 (a float of numpy's)
    """What is not finite is printed as its bits."""
    if text.startswith("0x"):
        return numpy.array(int(text, 16), f"u{type_.itemsize}").view(type_)[()]
    return type_.type(text)


def _narrow_integers(constant: ir.Operation, type_: ir.RankedTensorType) -> "numpy.typing.NDArray[Any]":
    text = str(constant.attributes["value"]).removeprefix("dense<").rpartition("> : ")[0]
    if text.startswith('"0x'):
        bits = numpy.frombuffer(bytes.fromhex(text.strip('"')[2:]), numpy.uint8)
        width, is_signed = ir.IntegerType(type_.element_type).width, not ir.IntegerType(type_.element_type).is_unsigned
        kept = bits.astype(numpy.int64) & ((1 << width) - 1)
        found = kept - (kept >> (width - 1) << width) if is_signed else kept
    else:
        found = numpy.array([int(one) for one in _WHOLE.findall(text)], numpy.int64)
    return found.reshape(tuple(type_.shape))
