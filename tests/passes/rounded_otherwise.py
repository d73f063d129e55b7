"""Programs that numpy computes with every rounding another one, each time that an operation is done.

XLA rounds what is made again otherwise only now and then; here it always is. What decides about such numbers, or
compares them with copies of themselves, comes out wholly different then. Only what is exact whatever the order remains
so: a sum of one number and zeros, a product with a power of two, a sum of short numbers such as arguments may be.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import evaluated
import numpy
import pytest
from atoll.compiler.mlir.bindings import ir
from timed_harness import Pair, _numbers, computed, differences

Array = numpy.ndarray

_SIZE = 1e-14  # of the error, as a part of the number
_SHORT = 2.0**20  # of which short numbers are whole multiples of the inverse

_SUMS = frozenset(f"stablehlo.{name}" for name in ("add", "subtract"))
_ONCE = _SUMS | {"stablehlo.multiply"}  # of short numbers there is one answer
_ROUNDING = _ONCE | {
    f"stablehlo.{name}"
    for name in (
        "atan2",
        "cbrt",
        "convolution",
        "cosine",
        "divide",
        "dot_general",
        "exponential",
        "exponential_minus_one",
        "log",
        "log_plus_one",
        "logistic",
        "power",
        "rsqrt",
        "sine",
        "sqrt",
        "tan",
        "tanh",
    )
}
_REDUCING = ("stablehlo.reduce", "stablehlo.reduce_window", "stablehlo.scatter")


def wrong_if_rounded_otherwise(pair: Pair, numbers: numpy.random.Generator) -> str:
    """What is wrong with a pair if all is rounded otherwise, as a text; empty if nothing is, or nobody can say: numpy
    cannot compute it, or jax's own answer hangs on rounding."""
    answers = computed(pair)
    if answers is None:
        return ""
    given = [_numbers(value) for value in pair.given]
    kept = [given[index] for index in pair.kept]
    original, timed = (_module(one.bytecode, numbers) for one in (pair.original, pair.timed))
    near = dataclasses.replace(pair, program=dataclasses.replace(pair.program, rounded_to="float32"))
    if differences(near, answers[0], original(*given)):
        return ""
    wrong = differences(near, answers[0], timed(*kept))
    return "\n".join(["WRONG ANSWER", *wrong, pair.program.text, pair.module]) if wrong else ""


def _module(bytecode: bytes, numbers: numpy.random.Generator) -> evaluated.Module:
    with pytest.MonkeyPatch.context() as patch:
        for table, of_kind in (("ELEMENTWISE", _of_elements), ("OTHERS", _of_sums)):
            rounded = {
                name: functools.partial(of_kind, make, numbers) for name, make in getattr(evaluated, table).items()
            }
            patch.setattr(evaluated, table, rounded)
        return evaluated.Module(bytecode)


def _of_elements(make: Callable[..., Any], numbers: numpy.random.Generator, operation: ir.Operation) -> Any:
    compute, name = make(operation), operation.name  # the module may be gone when it runs
    if name not in _ROUNDING:
        return compute

    def rounded(*operands: Array) -> Array:
        result = numpy.asarray(compute(*operands))
        if result.dtype.kind != "f" or (name in _ONCE and all(map(_is_short, operands))):
            return result
        return numpy.where(_exact(name, operands, compute), result, _other(result, numbers))

    return rounded


def _of_sums(make: Callable[..., Any], numbers: numpy.random.Generator, operation: ir.Operation) -> Any:
    compute = make(operation)
    combined = {one.operation.name for region in operation.regions for block in region for one in block.operations}
    if operation.name not in _REDUCING or "stablehlo.add" not in combined or len(combined) > 2:
        return compute

    def rounded(operands: Sequence[Array], *regions: Any) -> list[Array]:
        results = compute(operands, *regions)
        if results[0].dtype.kind != "f" or all(map(_is_short, operands)):
            return results
        counted = compute([_is_there(one) for one in operands], *regions)
        pairs = zip(results, counted, strict=True)
        return [numpy.where(count <= 1, one, _other(one, numbers)) for one, count in pairs]

    return rounded


def _other(result: Array, numbers: numpy.random.Generator) -> Array:
    return (result * (1 + _SIZE * numbers.uniform(-1, 1, result.shape))).astype(result.dtype)


def _exact(name: str, operands: Sequence[Array], compute: Callable[..., Array]) -> Array | bool:
    """Where a result is exact."""
    one, other = operands[0], operands[-1]
    if name in _SUMS:
        return (one == 0) | (other == 0)
    if name == "stablehlo.multiply":
        return _is_power(one) | _is_power(other)
    if name == "stablehlo.divide":
        return _is_power(other) | (abs(one) == abs(other))
    if name == "stablehlo.dot_general":
        is_moved = _is_power(one).all() or _is_power(other).all()
        return (compute(_is_there(one), _is_there(other)) <= 1) if is_moved else False
    return False if name == "stablehlo.convolution" else (one == 0) | (one == 1)


def _is_there(one: Array) -> Array:
    """Ones in place of numbers that are not zero; places remain."""
    return (one != 0).astype(one.dtype) if one.dtype.kind == "f" else one


def _is_power(one: Array) -> Array:
    """Of two, or zero."""
    return (one == 0) | (abs(numpy.frexp(one)[0]) == 0.5)


def _is_short(one: Array) -> bool:
    return one.dtype.kind != "f" or bool((one * _SHORT == numpy.rint(one * _SHORT)).all())
