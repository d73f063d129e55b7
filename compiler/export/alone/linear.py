"""Shows that what stands on the way back of a scope is linear in what comes back to it.

What comes back to a mean is divided among the microbatches, which is right if all that is made of it is linear in it.
jax makes such a way back of linear operations alone; this table says in which of their operands they are. Whatever is
not in it is refused, so that a value that was taken for a gradient and is none cannot lead to a wrong answer.
"""

from collections.abc import Sequence
from typing import Any

from atoll.compiler.export.alone.pairs import is_float
from atoll.compiler.export.alone.values import AloneValue
from atoll.compiler.mlir.bindings import is_literal

_Equation = Any  # of jax

# In any one of their operands.
_IN_ONE = frozenset(("conv_general_dilated", "dot_general", "mul"))
# In their first operand alone.
_IN_FIRST = frozenset(
    (
        "broadcast_in_dim",
        "conj",
        "convert_element_type",
        "copy",
        "copy_p",
        "cumsum",
        "div",
        "dynamic_slice",
        "expand_dims",
        "fft",
        "gather",
        "imag",
        "neg",
        "real",
        "reduce_precision",
        "reduce_sum",
        "reduce_window_sum",
        "reshape",
        "rev",
        "select_and_scatter_add",
        "sharding_constraint",
        "slice",
        "split",
        "squeeze",
        "transpose",
    )
)
# In all of their operands that are no whole numbers and no choices, together.
_TOGETHER = frozenset(
    (
        "add",
        "add_any",
        "complex",
        "concatenate",
        "dynamic_update_slice",
        "optimization_barrier",
        "pad",
        "psum",
        "scatter-add",
        "select_n",
        "sub",
    )
)


def is_linear(primitive: str, operands: Sequence[AloneValue], floats: Sequence[bool]) -> bool:
    """Whether an operation is linear in those of its operands that follow from the seed of a gradient.

    floats: which of its operands are numbers that have gradients.
    """
    back = [number for number, one in enumerate(operands) if one.is_cotangent and not one.is_zero]
    if not back:
        return True
    if primitive in _TOGETHER:
        pairs = zip(operands, floats, strict=True)
        return all(one.is_cotangent or one.is_zero or not is_float for one, is_float in pairs)
    return len(back) == 1 and (primitive in _IN_ONE or (primitive in _IN_FIRST and back == [0]))


def has_seed(equation: _Equation, operands: Sequence[AloneValue]) -> bool:
    """Whether an operation on the way back takes the seed of a gradient: a one in the program, in place of a number.

    So no other number that it takes has dimensions, but for a product's, and zeros into which the seed goes.
    """
    pairs = list(zip(equation.invars, operands, strict=True))
    is_there = any(is_literal(one) and is_float(one) and one.val == 1 for one, _ in pairs)
    others = any(is_float(one) and one.aval.shape and not value.is_zero for one, value in pairs)
    return is_there and (not others or equation.primitive.name == "dot_general")


# What leaves zeros zeros.
_KEEPS_ZEROS = frozenset(("broadcast_in_dim", "convert_element_type", "copy", "neg", "reshape", "squeeze", "transpose"))


def gives_zeros(primitive: str, operands: Sequence[AloneValue]) -> bool:
    """Whether an operation makes nothing but zeros."""
    return primitive in _KEEPS_ZEROS and bool(operands) and operands[0].is_zero
