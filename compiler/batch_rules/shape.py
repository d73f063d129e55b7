"""Rules for operations that move elements without computing."""

import math
from collections.abc import Sequence

from atoll.compiler.batch_rules.decision import Decision
from atoll.compiler.batch_rules.elementwise import ALL_KINDS
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.rule import Factor, FactorRule, Linear
from atoll.compiler.batch_rules.states import Split
from atoll.compiler.mlir.bindings import ir

_MOVES = Linear(alone=(0,), kinds=ALL_KINDS)


def _broadcast(node: Node) -> Sequence[Factor]:
    source = {result: operand for operand, result in enumerate(node.integers("broadcast_dimensions"))}
    shape, given = node.result_shape(), node.operand_shape()
    # A new dimension, or one that is stretched, has the same in every block.
    return [
        Factor((source[one] if one in source and given[source[one]] == shape[one] else None,), (one,))
        for one in range(len(shape))
    ]


def _transpose(node: Node) -> Sequence[Factor]:
    return [Factor((operand,), (result,)) for result, operand in enumerate(node.integers("permutation"))]


def _reshape(node: Node) -> Sequence[Factor]:
    """The batch stays a contiguous block where as many elements stand before it, in parts that divide evenly."""
    parts = node.program.parts
    starts = {
        math.prod(node.operand_shape()[:one]): one for one, size in enumerate(node.operand_shape()) if size % parts == 0
    }
    pairs = []
    for result, size in enumerate(node.result_shape()):
        before = math.prod(node.result_shape()[:result])
        if size % parts == 0 and before in starts:
            pairs.append(Factor((starts[before],), (result,)))
    return pairs


def _slice(node: Node) -> Sequence[Factor]:
    starts, limits, strides = (node.integers(f"{one}") for one in ("start_indices", "limit_indices", "strides"))
    return [
        Factor((one,), (one,))
        for one, size in enumerate(node.operand_shape())
        if (starts[one], limits[one], strides[one]) == (0, size, 1)
    ]


def _make_slice(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    copy = local.clone(node, decision, operands)
    form = decision.results[0]
    if isinstance(form, Split):
        limits = node.integers("limit_indices")
        limits[form.dimension] = local.share(limits[form.dimension])
        copy.attributes["limit_indices"] = ir.DenseI64ArrayAttr.get(limits)
    return list(copy.results)


def _pad(node: Node) -> Sequence[Factor]:
    names = ("edge_padding_low", "edge_padding_high", "interior_padding")
    padding = zip(*(node.integers(name) for name in names), strict=True)
    return [Factor((one, None), (one,)) for one, amounts in enumerate(padding) if amounts == (0, 0, 0)]


def _concatenate(node: Node) -> Sequence[Factor]:
    others = [one for one in range(len(node.result_shape())) if one != node.integer("dimension")]
    return [Factor((one,) * len(node.operands), (one,)) for one in others]


def _reverse(node: Node) -> Sequence[Factor]:
    reversed_ = node.integers("dimensions")
    return [Factor((one,), (one,)) for one in range(len(node.result_shape())) if one not in reversed_]


def _iota(node: Node) -> Sequence[Factor]:
    return [Factor((), (one,)) for one in range(len(node.result_shape()))]


def _make_iota(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    """Along the batch, counting goes on where the microbatch before it ended."""
    form = decision.results[0]
    if not isinstance(form, Split) or node.integer("iota_dimension") != form.dimension:
        return list(local.clone(node, decision, operands).results)
    type_, location = local.type_of(node.results[0], form), node.location
    # Counted in integers, as narrow floats would round the sum elsewhere than the number.
    is_integer = isinstance(type_.element_type, ir.IntegerType) and type_.element_type.width >= 32
    counting = type_.element_type if is_integer else ir.IntegerType.get_signless(32)
    counts = ir.RankedTensorType.get(list(type_.shape), counting)
    attribute = {"iota_dimension": node.operation.attributes["iota_dimension"]}
    own = local.one("stablehlo.iota", counts, [], location, attribute)
    start = local.offset(type_.get_dim_size(form.dimension), location)
    start = local.one("stablehlo.convert", ir.RankedTensorType.get([], counting), [start], location)
    total = local.one("stablehlo.add", counts, [own, local.broadcast(start, counts, location)], location)
    return [total if is_integer else local.one("stablehlo.convert", type_, [total], location)]


def _constant(node: Node) -> Sequence[Factor]:
    # The bindings cannot read complex numbers.
    if isinstance(node.result_type().element_type, ir.ComplexType):
        return []
    if not ir.DenseElementsAttr(node.operation.attributes["value"]).is_splat:
        return []
    return [Factor((), (one,)) for one in range(len(node.result_shape()))]


def _make_constant(local: Local, node: Node, decision: Decision, _operands: Values) -> Values:
    value = ir.DenseElementsAttr(node.operation.attributes["value"])
    smaller = ir.DenseElementsAttr.get_splat(
        local.type_of(node.results[0], decision.results[0]), value.get_splat_value()
    )
    return [local.constant(smaller, node.location)]


RULES = (
    FactorRule(("stablehlo.broadcast_in_dim",), "along dimensions that it keeps", _broadcast, lambda _: _MOVES),
    FactorRule(("stablehlo.transpose",), "along any dimension", _transpose, lambda _: _MOVES),
    FactorRule(("stablehlo.reshape",), "where a microbatch stays one contiguous block", _reshape, lambda _: _MOVES),
    FactorRule(("stablehlo.slice",), "along dimensions that it takes whole", _slice, lambda _: _MOVES, _make_slice),
    FactorRule(
        ("stablehlo.pad",),
        "along dimensions without padding",
        _pad,
        lambda _: Linear(together=(0, 1), kinds=ALL_KINDS),
    ),
    FactorRule(
        ("stablehlo.concatenate",),
        "along dimensions that are not joined",
        _concatenate,
        lambda node: Linear(together=tuple(range(len(node.operands))), kinds=ALL_KINDS),
    ),
    FactorRule(("stablehlo.reverse",), "along dimensions that keep their order", _reverse, lambda _: _MOVES),
    FactorRule(("stablehlo.iota",), "counts on from the microbatch before", _iota, make=_make_iota),
    FactorRule(("stablehlo.constant",), "the same in every block", _constant, make=_make_constant),
)
