"""Runs StableHLO by its reference interpreter: nothing is compiled, which is what takes the time for tiny programs.

It is not to be trusted by itself: its scatter writes into its operand, which others may use.
"""

import functools
from collections.abc import Sequence

import jax
import numpy
from atoll.compiler.mlir.bindings import PassManager, ir, new_context, stablehlo
from atoll.runtime.fragment import Fragment


def interpret(fragment: Fragment, arguments: Sequence[numpy.ndarray]) -> list[numpy.ndarray]:
    """What a fragment's `@main` computes."""
    context = _context()
    with context, ir.Location.unknown():
        module = ir.Module.parse(fragment.bytecode)
        PassManager.parse("builtin.module(func.func(chlo-legalize-to-stablehlo))").run(module.operation)
        given = [_constant(numpy.asarray(argument)) for argument in arguments]
        results = stablehlo.eval_module(module, given)
        shapes = zip(results, fragment.results, strict=True)
        return [_array(result, shape) for result, shape in shapes]


@functools.cache
def _context() -> ir.Context:
    context = new_context()
    stablehlo.register_interpreter_dialect(context)
    return context


def _constant(array: numpy.ndarray) -> ir.DenseElementsAttr:
    if array.dtype.kind != "u":
        return ir.DenseElementsAttr.get(array)
    kind = ir.IntegerType.get_unsigned(array.dtype.itemsize * 8)
    return ir.DenseElementsAttr.get(array, type=ir.RankedTensorType.get(array.shape, kind))


def _array(constant: ir.DenseElementsAttr, shape: jax.core.ShapedArray) -> numpy.ndarray:
    if shape.dtype == bool:  # packed
        elements = list(ir.DenseIntElementsAttr(constant))
        return numpy.array(elements, bool).reshape(shape.shape)
    return numpy.array(constant).astype(shape.dtype, copy=False).reshape(shape.shape)
