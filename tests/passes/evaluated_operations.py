"""What StableHLO's operations do to numpy arrays, by name. Each is read once and then run many times."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy
from atoll.compiler.mlir.bindings import ir, stablehlo
from evaluated_reading import UnknownError, dtype_of, ints, shape_of, whole
from evaluated_windows import (
    convolved,
    dots,
    fourier,
    gathered,
    padded,
    ragged,
    reduced,
    reduced_windows,
    scattered,
    selected_and_scattered,
    sorted_along,
)

Array = numpy.ndarray
Compute = Callable[..., Any]


# One element at a time.


def _divided(one: Array, other: Array) -> Array:
    """Of integers towards zero; by zero all bits are one, which is what XLA gives on CPUs."""
    if one.dtype.kind not in "iu":
        return numpy.divide(one, other)
    is_zero = other == 0
    safe = numpy.where(is_zero, 1, other).astype(one.dtype)
    quotient = numpy.floor_divide(one, safe)
    if one.dtype.kind == "i":
        quotient = quotient + ((quotient < 0) & (quotient * safe != one)).astype(one.dtype)
    return numpy.where(is_zero, numpy.array(-1).astype(one.dtype), quotient)


def _remainder(one: Array, other: Array) -> Array:
    if one.dtype.kind not in "iu":
        return numpy.fmod(one, other)
    is_zero = other == 0
    return numpy.where(is_zero, one, numpy.fmod(one, numpy.where(is_zero, 1, other).astype(one.dtype)))


def _shifted(shift: Compute, is_logical: bool) -> Compute:
    """By as many bits as there are, or more, nothing is left but the sign of an arithmetic shift."""

    def compute(one: Array, other: Array) -> Array:
        bits = one.dtype.itemsize * 8
        unsigned = numpy.dtype(f"u{one.dtype.itemsize}")
        is_far = (other.view(unsigned) if other.dtype.kind == "i" else other) >= bits
        given = one.view(unsigned) if is_logical else one
        by = numpy.where(is_far, 0 if is_logical else bits - 1, other).astype(given.dtype)
        result = shift(given, by)
        return numpy.where(is_far, 0, result).astype(given.dtype).view(one.dtype) if is_logical else result

    return compute


def _sign(one: Array) -> Array:
    if one.dtype.kind == "c":
        size = numpy.abs(one)
        return numpy.where(size == 0, 0, one / numpy.where(size == 0, 1, size)).astype(one.dtype)
    return numpy.where(one == 0, one, numpy.sign(one))


def _half_away(one: Array) -> Array:
    return numpy.copysign(numpy.floor(numpy.abs(one) + numpy.array(0.5, one.dtype)), one)


def _logistic(one: Array) -> Array:
    unit = numpy.array(1, one.dtype)
    return unit / (unit + numpy.exp(-one))


def _bits(one: Array) -> Array:
    return one.view(numpy.dtype(f"u{one.dtype.itemsize}"))


def _leading_zeros(one: Array) -> Array:
    bits, found = one.dtype.itemsize * 8, numpy.zeros(one.shape, one.dtype)
    left = _bits(one)
    for place in range(bits):
        found = found + ((left >> numpy.array(place, left.dtype)) == 0).astype(one.dtype)
    return found


UNARY: dict[str, Compute] = {
    "abs": numpy.abs,
    "negate": numpy.negative,
    "exponential": numpy.exp,
    "exponential_minus_one": numpy.expm1,
    "log": numpy.log,
    "log_plus_one": numpy.log1p,
    "logistic": _logistic,
    "tanh": numpy.tanh,
    "sine": numpy.sin,
    "cosine": numpy.cos,
    "tan": numpy.tan,
    "sqrt": numpy.sqrt,
    "rsqrt": lambda one: numpy.array(1, one.dtype) / numpy.sqrt(one),
    "cbrt": numpy.cbrt,
    "floor": numpy.floor,
    "ceil": numpy.ceil,
    "sign": _sign,
    "not": numpy.invert,
    "round_nearest_even": numpy.rint,
    "round_nearest_afz": _half_away,
    "is_finite": numpy.isfinite,
    "real": numpy.real,
    "imag": numpy.imag,
    "popcnt": lambda one: numpy.bitwise_count(_bits(one)).astype(one.dtype),
    "count_leading_zeros": _leading_zeros,
}
BINARY: dict[str, Compute] = {
    "add": lambda one, other: one | other if one.dtype.kind == "b" else one + other,
    "subtract": lambda one, other: one ^ other if one.dtype.kind == "b" else one - other,
    "multiply": lambda one, other: one & other if one.dtype.kind == "b" else one * other,
    "divide": _divided,
    "remainder": _remainder,
    "maximum": numpy.maximum,
    "minimum": numpy.minimum,
    "power": numpy.power,
    "atan2": numpy.arctan2,
    "and": numpy.bitwise_and,
    "or": numpy.bitwise_or,
    "xor": numpy.bitwise_xor,
    "shift_left": _shifted(numpy.left_shift, True),
    "shift_right_logical": _shifted(numpy.right_shift, True),
    "shift_right_arithmetic": _shifted(numpy.right_shift, False),
    "complex": lambda one, other: one + 1j * other,
}
# Kinds of numbers with which numpy does something else.
_OTHERWISE = {"stablehlo.maximum": "c", "stablehlo.minimum": "c", "stablehlo.power": "iu"}
_COMPARISONS = {
    "EQ": numpy.equal,
    "NE": numpy.not_equal,
    "LT": numpy.less,
    "LE": numpy.less_equal,
    "GT": numpy.greater,
    "GE": numpy.greater_equal,
}


def _typed(compute: Compute, operation: ir.Operation) -> Compute:
    """Results have the type that they should: numpy has scalars, and widens some."""
    dtype = dtype_of(operation.results[0])
    if dtype.kind in _OTHERWISE.get(operation.name, ""):
        raise UnknownError(f"{operation.name} of {dtype}")
    return lambda *operands: numpy.asarray(compute(*operands), dtype)


def _compare(operation: ir.Operation) -> Compute:
    direction = stablehlo.ComparisonDirectionAttr(operation.attributes["comparison_direction"]).value
    compare = _COMPARISONS[direction]
    if str(operation.attributes.get("compare_type", "")) != "#stablehlo<comparison_type TOTALORDER>":
        return compare
    return lambda one, other: compare(_total(one), _total(other))


def _total(one: Array) -> Array:
    """Integers in the total order of floats: -NaN, -inf, ..., -0, 0, ..., inf, NaN."""
    if one.dtype.kind not in "f":
        return one
    bits = one.view(numpy.dtype(f"i{one.dtype.itemsize}"))
    return numpy.where(bits < 0, bits ^ numpy.iinfo(bits.dtype).max, bits)


def _converted(operation: ir.Operation) -> Compute:
    """To booleans whatever is not zero; from floats to integers the nearest there is, and of NaN zero."""
    target = dtype_of(operation.results[0])
    is_float = dtype_of(operation.operands[0]).kind in "f"

    def convert(one: Array) -> Array:
        if target.kind == "b":
            return numpy.asarray(one != 0)
        if is_float and target.kind in "iu":
            least, most = numpy.iinfo(target).min, numpy.iinfo(target).max
            wide = numpy.nan_to_num(one.astype(numpy.float64), nan=0.0)
            result = numpy.clip(wide, least, most).astype(target)
            return numpy.where(wide >= float(most), numpy.array(most, target), result)
        if one.dtype.kind == "c" and target.kind != "c":
            one = one.real
        return one.astype(target)

    return convert


def _less_precise(operation: ir.Operation) -> Compute:
    """Rounded to as many bits as another type has."""
    bits = whole(operation, "exponent_bits"), whole(operation, "mantissa_bits")
    dtype, through = dtype_of(operation.results[0]), {(8, 23): "float32", (11, 52): "float64", (5, 10): "float16"}
    if bits not in through:
        raise UnknownError(f"floats of {bits} bits")
    return lambda one: one.astype(through[bits]).astype(dtype)


def _bitcast(operation: ir.Operation) -> Compute:
    dtype, shape = dtype_of(operation.results[0]), shape_of(operation.results[0])
    return lambda one: numpy.ascontiguousarray(one).reshape(*one.shape, 1).view(dtype).reshape(shape)


def _iota(operation: ir.Operation) -> Compute:
    shape, dimension = shape_of(operation.results[0]), whole(operation, "iota_dimension")
    line = [size if number == dimension else 1 for number, size in enumerate(shape)]
    numbers = numpy.arange(shape[dimension]).astype(dtype_of(operation.results[0]))
    value = numpy.broadcast_to(numbers.reshape(line), shape)
    return lambda: value


def _constant(operation: ir.Operation) -> Compute:
    value = _constant_value(operation)
    return lambda: value


def _constant_value(operation: ir.Operation) -> Array:
    dtype, shape = dtype_of(operation.results[0]), shape_of(operation.results[0])
    if dtype.kind != "c":
        return numpy.array(operation.attributes["value"], dtype).reshape(shape)
    text = re.search(r"dense<(.*)> : tensor", operation.get_asm(), re.DOTALL)[1]
    if text.startswith('"0x'):
        found = numpy.frombuffer(bytes.fromhex(text.strip('"')[2:]), dtype)
    else:
        part = numpy.dtype(f"f{dtype.itemsize // 2}")
        tokens = re.findall(r"0x[0-9A-F]+|[-+]?\d[\d.]*(?:[eE][-+]?\d+)?", text)
        found = numpy.array([_number(one, part) for one in tokens], part).view(dtype)
    return numpy.broadcast_to(found[0], shape) if found.size == 1 else found.reshape(shape)


def _number(text: str, dtype: numpy.dtype) -> Any:
    if not text.startswith("0x"):
        return dtype.type(float(text))
    return numpy.array(int(text, 16), f"u{dtype.itemsize}").view(dtype)[()]


# What moves elements.


def _reshape(operation: ir.Operation) -> Compute:
    shape = shape_of(operation.results[0])
    return lambda one: one.reshape(shape)


def _broadcast(operation: ir.Operation) -> Compute:
    shape, places = shape_of(operation.results[0]), ints(operation, "broadcast_dimensions")
    order = sorted(range(len(places)), key=places.__getitem__)

    def compute(one: Array) -> Array:
        line = [1] * len(shape)
        for number, place in enumerate(places):
            line[place] = one.shape[number]
        return numpy.broadcast_to(one.transpose(order).reshape(line), shape)

    return compute


def _transpose(operation: ir.Operation) -> Compute:
    order = ints(operation, "permutation")
    return lambda one: one.transpose(order)


def _slice(operation: ir.Operation) -> Compute:
    bounds = (ints(operation, name) for name in ("start_indices", "limit_indices", "strides"))
    index = tuple(slice(*one) for one in zip(*bounds, strict=True))
    return lambda one: one[index]


def _starts(starts: Sequence[Array], shape: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Where a window of these sizes begins: as near as it fits in."""
    return [max(0, min(int(start), whole - size)) for start, whole, size in zip(starts, shape, sizes, strict=True)]


def _dynamic_slice(operation: ir.Operation) -> Compute:
    sizes = ints(operation, "slice_sizes")

    def compute(one: Array, *starts: Array) -> Array:
        found = _starts(starts, one.shape, sizes)
        return one[tuple(slice(start, start + size) for start, size in zip(found, sizes, strict=True))]

    return compute


def _dynamic_update_slice(operation: ir.Operation) -> Compute:
    def compute(one: Array, update: Array, *starts: Array) -> Array:
        found = _starts(starts, one.shape, update.shape)
        result = one.copy()
        result[tuple(slice(start, start + size) for start, size in zip(found, update.shape, strict=True))] = update
        return result

    return compute


def _concatenate(operation: ir.Operation) -> Compute:
    dimension = whole(operation, "dimension")
    return lambda *operands: numpy.concatenate(operands, dimension)


def _pad(operation: ir.Operation) -> Compute:
    amounts = [ints(operation, name) for name in ("edge_padding_low", "edge_padding_high", "interior_padding")]
    return lambda one, value: padded(one, value, *amounts)


def _reverse(operation: ir.Operation) -> Compute:
    dimensions = ints(operation, "dimensions")
    return lambda one: numpy.flip(one, dimensions)


def _clamp(operation: ir.Operation) -> Compute:
    return lambda least, one, most: numpy.minimum(numpy.maximum(one, least), most)


def _same(operation: ir.Operation) -> Compute:
    return lambda one: one


# One result each, which depends on the operands alone.
ELEMENTWISE: dict[str, Callable[[ir.Operation], Compute]] = {
    **{f"stablehlo.{name}": functools.partial(_typed, one) for name, one in (UNARY | BINARY).items()},
    "stablehlo.compare": lambda operation: _typed(_compare(operation), operation),
    "stablehlo.select": lambda operation: _typed(numpy.where, operation),
    "stablehlo.clamp": lambda operation: _typed(_clamp(operation), operation),
    "stablehlo.convert": _converted,
    "stablehlo.bitcast_convert": _bitcast,
    "stablehlo.reduce_precision": _less_precise,
    "stablehlo.iota": _iota,
    "stablehlo.constant": _constant,
    "stablehlo.reshape": _reshape,
    "stablehlo.broadcast_in_dim": _broadcast,
    "stablehlo.transpose": _transpose,
    "stablehlo.slice": _slice,
    "stablehlo.dynamic_slice": _dynamic_slice,
    "stablehlo.dynamic_update_slice": _dynamic_update_slice,
    "stablehlo.concatenate": _concatenate,
    "stablehlo.pad": _pad,
    "stablehlo.reverse": _reverse,
    "stablehlo.dot_general": dots,
    "chlo.ragged_dot": ragged,
    "stablehlo.convolution": convolved,
    "stablehlo.gather": gathered,
    "stablehlo.fft": fourier,
    "sdy.sharding_constraint": _same,
}
# Several results, or with regions, which are called with a list of arrays and return one.
OTHERS: dict[str, Callable[[ir.Operation], Compute]] = {
    "stablehlo.optimization_barrier": lambda operation: lambda operands: operands,
    "stablehlo.reduce": reduced,
    "stablehlo.reduce_window": reduced_windows,
    "stablehlo.select_and_scatter": selected_and_scattered,
    "stablehlo.sort": sorted_along,
    "stablehlo.scatter": scattered,
}
