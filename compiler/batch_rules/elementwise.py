"""Rules for operations that do the same to every element."""

from collections.abc import Sequence

from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.rule import FactorRule, Linear
from atoll.compiler.batch_rules.states import COMBINE
from atoll.compiler.mlir.bindings import ir

ALL_KINDS = frozenset(COMBINE)


def every_dimension(node: Node) -> Sequence[Factor]:
    """Every dimension runs through; a scalar operand (a predicate, a bound) has none of them."""
    rank = len(node.result_shape())
    has_all = [len(node.operand_shape(index)) == rank for index in range(len(node.operands))]
    factors = []
    for one in range(rank):
        operands = tuple(one if is_array else None for is_array in has_all)
        factors.append(Factor(operands, (one,) * len(node.results)))
    return factors


def leading_dimensions(node: Node) -> Sequence[Factor]:
    """For operations that may split or merge the last dimension: all others run through."""
    ranks = (len(node.operand_shape()), len(node.result_shape()))
    rank = ranks[0] if ranks[0] == ranks[1] else min(ranks)
    return [Factor((one,), (one,)) for one in range(rank)]


def _division(node: Node) -> Linear | None:
    is_whole = isinstance(node.result_type().element_type, ir.IntegerType)
    return None if is_whole else Linear(alone=(0,))


# For each float type, those that hold all of its values.
_WIDER: dict[type[ir.Type], tuple[type[ir.Type], ...]] = {
    ir.BF16Type: (ir.F32Type, ir.F64Type),
    ir.F16Type: (ir.F32Type, ir.F64Type),
    ir.F32Type: (ir.F64Type,),
}


def _conversion(node: Node) -> Linear | None:
    """Floats: rounding each part is no worse than rounding the sum. Integers wrap around, and sums of others do not.

    A float that only becomes wider keeps its value, so the greatest stays the greatest.
    """
    before, after = node.operand_type(0).element_type, node.result_type().element_type
    if isinstance(before, ir.IntegerType) or isinstance(after, ir.IntegerType):
        return None
    is_exact = isinstance(after, _WIDER.get(type(before), ()))
    return Linear(alone=(0,), kinds=frozenset(("add", "max", "min") if is_exact else ("add",)))


def _combining(kind: str) -> FactorRule:
    linear = Linear(together=(0, 1), kinds=frozenset((kind,)))
    return FactorRule((COMBINE[kind],), "every example by itself", every_dimension, lambda _: linear)


_PLAIN = (
    "chlo.acos",
    "chlo.acosh",
    "chlo.asin",
    "chlo.asinh",
    "chlo.atan",
    "chlo.atanh",
    "chlo.bessel_i1e",
    "chlo.conj",
    "chlo.cosh",
    "chlo.digamma",
    "chlo.erf",
    "chlo.erf_inv",
    "chlo.erfc",
    "chlo.is_inf",
    "chlo.is_neg_inf",
    "chlo.is_pos_inf",
    "chlo.lgamma",
    "chlo.mulhi",
    "chlo.next_after",
    "chlo.polygamma",
    "chlo.sinh",
    "chlo.square",
    "chlo.tan",
    "chlo.zeta",
    "stablehlo.abs",
    "stablehlo.atan2",
    "stablehlo.cbrt",
    "stablehlo.ceil",
    "stablehlo.clamp",
    "stablehlo.compare",
    "stablehlo.cosine",
    "stablehlo.count_leading_zeros",
    "stablehlo.exponential",
    "stablehlo.exponential_minus_one",
    "stablehlo.floor",
    "stablehlo.is_finite",
    "stablehlo.log",
    "stablehlo.log_plus_one",
    "stablehlo.logistic",
    "stablehlo.not",
    "stablehlo.popcnt",
    "stablehlo.power",
    "stablehlo.reduce_precision",
    "stablehlo.remainder",
    "stablehlo.round_nearest_afz",
    "stablehlo.round_nearest_even",
    "stablehlo.rsqrt",
    "stablehlo.shift_left",
    "stablehlo.shift_right_arithmetic",
    "stablehlo.shift_right_logical",
    "stablehlo.sign",
    "stablehlo.sine",
    "stablehlo.sqrt",
    "stablehlo.tan",
    "stablehlo.tanh",
    "stablehlo.xor",
)

RULES = (
    FactorRule(_PLAIN, "every example by itself", every_dimension),
    _combining("add"),
    _combining("max"),
    _combining("min"),
    _combining("and"),
    _combining("or"),
    FactorRule(
        ("stablehlo.subtract", "stablehlo.complex"),
        "every example by itself",
        every_dimension,
        lambda _: Linear(together=(0, 1)),
    ),
    FactorRule(
        ("stablehlo.negate", "stablehlo.real", "stablehlo.imag"),
        "every example by itself",
        every_dimension,
        lambda _: Linear(alone=(0,)),
    ),
    FactorRule(("stablehlo.multiply",), "every example by itself", every_dimension, lambda _: Linear(alone=(0, 1))),
    FactorRule(("stablehlo.divide",), "every example by itself", every_dimension, _division),
    FactorRule(("stablehlo.convert",), "every example by itself", every_dimension, _conversion),
    FactorRule(
        ("stablehlo.select",),
        "every example by itself",
        every_dimension,
        lambda _: Linear(together=(1, 2), kinds=ALL_KINDS),
    ),
    FactorRule(
        ("sdy.sharding_constraint",), "as it is", every_dimension, lambda _: Linear(alone=(0,), kinds=ALL_KINDS)
    ),
    FactorRule(("stablehlo.bitcast_convert",), "every example by itself", leading_dimensions),
)
