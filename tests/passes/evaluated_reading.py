"""Reads what an operation of StableHLO says beside its operands."""

from collections.abc import Sequence

import numpy
from atoll.compiler.mlir.bindings import ir


class UnknownError(Exception):
    """What numpy is not told how to do."""


# Floats of half precision are missing, as XLA rounds them less often than after each operation.
_DTYPES = {
    "f32": numpy.float32,
    "f64": numpy.float64,
    "i1": numpy.bool_,
    "complex<f32>": numpy.complex64,
    "complex<f64>": numpy.complex128,
    **{f"{sign}i{bits}": f"{'u' if sign else ''}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def dtype_of(value: ir.Value) -> numpy.dtype:
    """Of a tensor's elements."""
    name = str(ir.RankedTensorType(value.type).element_type)
    if name not in _DTYPES:
        raise UnknownError(f"elements of type {name}")
    return numpy.dtype(_DTYPES[name])


def shape_of(value: ir.Value) -> tuple[int, ...]:
    return tuple(ir.RankedTensorType(value.type).shape)


def ints(operation: ir.Operation, name: str) -> list[int]:
    return list(ir.DenseI64ArrayAttr(operation.attributes[name]))


def optional_ints(operation: ir.Operation, name: str, otherwise: Sequence[int]) -> list[int]:
    return ints(operation, name) if name in operation.attributes else list(otherwise)


def whole(operation: ir.Operation, name: str) -> int:
    return ir.IntegerAttr(operation.attributes[name]).value
