"""Which numbers have the same bits whenever they are made, which may be rounded otherwise, and which decide about such.

An operation that is made in two loops stands among others in each, and XLA fuses it otherwise: a product and a sum
become one rounding, a sum takes another order. So a float may differ in its last bits; what is decided about it by a
comparison, a sort or a rounding may differ wholly.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum

from atoll.compiler.batch_rules.nodes import Body, Node
from atoll.compiler.mlir.bindings import ir
from atoll.passes.time.folding.kinks import is_continuous, is_number


class Bits(IntEnum):
    """How sure the bits of a value are.

    ONCE: made by one operation that is rounded correctly, of numbers that are sure; alone that gives the same anywhere.
    """

    SURE = 0
    ONCE = 1
    ROUNDED = 2
    DECIDED = 3


# These move or choose what they take, or change it in a way that is exact.
EXACT = frozenset(
    f"stablehlo.{name}"
    for name in (
        "abs",
        "bitcast_convert",
        "broadcast_in_dim",
        "ceil",
        "clamp",
        "compare",
        "concatenate",
        "constant",
        "convert",
        "dynamic_slice",
        "dynamic_update_slice",
        "floor",
        "gather",
        "imag",
        "iota",
        "is_finite",
        "maximum",
        "minimum",
        "negate",
        "optimization_barrier",
        "pad",
        "real",
        "reshape",
        "reverse",
        "round_nearest_afz",
        "round_nearest_even",
        "select",
        "sign",
        "slice",
        "sort",
        "transpose",
    )
)
# Of these one alone is rounded correctly.
_ROUNDED_ONCE = frozenset(f"stablehlo.{name}" for name in ("add", "multiply", "subtract"))
_UNIT = {"stablehlo.add": 0.0, "stablehlo.subtract": 0.0, "stablehlo.multiply": 1.0}

_JUMPS = frozenset(
    f"stablehlo.{name}"
    for name in ("ceil", "floor", "is_finite", "remainder", "round_nearest_afz", "round_nearest_even", "sign")
)
_CHOOSES = frozenset(("stablehlo.compare", "stablehlo.sort", "chlo.top_k", "stablehlo.select_and_scatter"))
# What gives whole numbers decides, as argmax does, or a library that says which rows it has changed about.
_MAY_COUNT = frozenset(f"stablehlo.{name}" for name in ("bitcast_convert", "convert", "custom_call", "reduce"))


def decides(node: Node) -> bool:
    """Whether an operation makes a decision about floats, itself or in its regions: a comparison, an order, a
    rounding."""
    return any(map(_decides_itself, (node, *node.inner())))


def bits_of_results(node: Node, taken: Sequence[Bits], captured: Mapping[int, Bits]) -> list[Bits]:
    """The bits of each result. taken: those of the operands; captured: those of values outside that regions take."""
    if node.name == "stablehlo.while":
        return _of_while(node, taken, captured)
    if node.name in ("stablehlo.case", "stablehlo.if"):
        branches = [_of_body(body, {}, captured) for body in node.bodies]
        chosen = max(taken, default=Bits.SURE)
        return [Bits.DECIDED if chosen >= Bits.ROUNDED else max(one) for one in zip(*branches, strict=True)]
    inside = (captured.get(value, Bits.SURE) for value in node.captured)
    worst = max((*taken, *inside), default=Bits.SURE)
    if worst == Bits.DECIDED:
        is_smooth = is_continuous(node) and max(taken[1:]) < Bits.DECIDED
        return [Bits.ROUNDED if is_smooth else Bits.DECIDED] * len(node.results)
    if worst == Bits.ROUNDED:
        return [Bits.DECIDED if decides(node) else Bits.ROUNDED] * len(node.results)
    return [_of_sure(node, worst, index) for index in range(len(node.results))]


def _of_sure(node: Node, worst: Bits, index: int) -> Bits:
    """Of an operation on numbers that are sure."""
    floats = [node.operand_type(one) for one in range(len(node.operands))] + [node.result_type(index)]
    if not any(map(_is_float, floats)) and not node.bodies:
        return Bits.SURE
    if node.name in EXACT and not _narrows(node):
        return worst if _is_float(node.result_type(index)) else Bits.SURE
    if node.name in _ROUNDED_ONCE and _is_wide(node.result_type(index)):
        if is_number(node.program, node.operands[1], _UNIT[node.name]):
            return worst
        if worst == Bits.SURE:
            return Bits.ONCE
    return Bits.ROUNDED


def _of_while(node: Node, taken: Sequence[Bits], captured: Mapping[int, Bits]) -> list[Bits]:
    condition, body = node.bodies
    carried = list(taken)
    while True:
        (goes_on,) = _of_body(condition, dict(zip(condition.arguments, carried, strict=True)), captured)
        made = _of_body(body, dict(zip(body.arguments, carried, strict=True)), captured)
        if goes_on >= Bits.ROUNDED:
            made = [Bits.DECIDED] * len(made)
        joined = [max(pair) for pair in zip(carried, made, strict=True)]
        if joined == carried:
            return carried
        carried = joined


def _of_body(body: Body, known: Mapping[int, Bits], captured: Mapping[int, Bits]) -> list[Bits]:
    """The bits of what a region returns."""
    bits = {**captured, **known}
    for node in body.nodes:
        taken = [bits.get(value, Bits.SURE) for value in node.operands]
        bits.update(zip(node.results, bits_of_results(node, taken, bits), strict=True))
    return [bits.get(value, Bits.SURE) for value in body.returned]


def _decides_itself(node: Node) -> bool:
    if node.name not in _JUMPS | _CHOOSES | _MAY_COUNT or not any(
        _is_float(node.operand_type(index)) for index in range(len(node.operands))
    ):
        return False
    return node.name not in _MAY_COUNT or not all(
        _is_float(node.result_type(index)) for index in range(len(node.results))
    )


def _is_float(type_: ir.RankedTensorType) -> bool:
    return isinstance(type_.element_type, ir.FloatType)


def _is_wide(type_: ir.RankedTensorType) -> bool:
    """Narrow floats are computed with in wider ones, and rounded as often as XLA likes."""
    element = type_.element_type
    return not isinstance(element, ir.FloatType) or element.width >= 32


def _narrows(node: Node) -> bool:
    return node.name == "stablehlo.convert" and _is_float(node.operand_type(0)) and not _is_wide(node.result_type())
