"""Rules for operations that move elements without computing."""

import math
from collections.abc import Sequence
from itertools import product

from atoll.compiler.batch_rules.decision import Decision
from atoll.compiler.batch_rules.elementwise import ALL_KINDS
from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.rule import Build, FactorRule, Linear
from atoll.compiler.batch_rules.states import Split
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.constants import is_splat, with_type

_MOVES = Linear(alone=(0,), kinds=ALL_KINDS)


def _broadcast(node: Node) -> Sequence[Factor]:
    source = {result: operand for operand, result in enumerate(node.integers("broadcast_dimensions"))}
    shape, given = node.result_shape(), node.operand_shape()
    # Along a new dimension, or one that is stretched from size 1, every part has the same elements.
    return [
        Factor((source[one] if one in source and given[source[one]] == shape[one] else None,), (one,))
        for one in range(len(shape))
    ]


def _transpose(node: Node) -> Sequence[Factor]:
    return [Factor((operand,), (result,)) for result, operand in enumerate(node.integers("permutation"))]


def _reshape(node: Node) -> Sequence[Factor]:
    """The blocks of a dimension, and of all that precede it, are the same elements before and after.

    They lie one after another, as many as the elements that precede the dimension times its own blocks. So (2, n) of
    which the second dimension is one block becomes 2*n in two blocks, and the other way round.
    """
    parts, factors = node.program.parts, []
    for result, operand in product(_preceded(node.result_shape(), parts), _preceded(node.operand_shape(), parts)):
        (made, after), (taken, before) = result, operand
        if before == after:
            factors.append(Factor((taken,), (made,)))
        elif before and after:
            factors.append(Factor((taken,), (made,), scale=(after, before)))
    return factors


def _preceded(shape: Sequence[int], parts: int) -> list[tuple[int, int]]:
    """The dimensions that divide evenly, each with the number of elements that precede it."""
    return [(one, math.prod(shape[:one])) for one, size in enumerate(shape) if size % parts == 0]


def _slice(node: Node) -> Sequence[Factor]:
    names = ("start_indices", "limit_indices", "strides")
    factors = []
    for one, (start, limit, stride) in enumerate(zip(*(node.integers(name) for name in names), strict=True)):
        size = node.operand_shape()[one]
        if (start, limit, stride) == (0, size, 1):
            factors.append(Factor((one,), (one,)))
        elif stride == 1 and start < limit:
            factors.append(Factor((one,), (one,), scale=(size, limit - start), begins=start))
    return factors


def _pad(node: Node) -> Sequence[Factor]:
    names = ("edge_padding_low", "edge_padding_high", "interior_padding")
    factors = []
    for one, (low, high, inside) in enumerate(zip(*(node.integers(name) for name in names), strict=True)):
        size, padded = node.operand_shape()[one], node.result_shape()[one]
        if (low, high, inside) == (0, 0, 0):
            factors.append(Factor((one, None), (one,)))
        elif not inside and size and padded:
            factors.append(Factor((one, None), (one,), scale=(size, 1, padded), begins=low))
    return factors


def _making_shares_of(*attributes: str) -> Build:
    """Makes the operation with the shares of numbers that say where, along the batch, something begins or ends."""

    def make(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
        copy = local.clone(node, decision, operands)
        form = decision.results[0]
        if isinstance(form, Split):
            for name in attributes:
                numbers = node.integers(name)
                numbers[form.dimension] = local.share(numbers[form.dimension])
                copy.attributes[name] = ir.DenseI64ArrayAttr.get(numbers)
        return list(copy.results)

    return make


def _concatenate(node: Node) -> Sequence[Factor]:
    joined, result = node.integer("dimension"), node.result_shape()
    factors = [Factor((one,) * len(node.operands), (one,)) for one in range(len(result)) if one != joined]
    sizes = [node.operand_shape(index)[joined] for index in range(len(node.operands))]
    if all(sizes):
        factors.append(Factor((joined,) * len(sizes), (joined,), scale=(*sizes, result[joined])))
    return factors


def _reverse(node: Node) -> Sequence[Factor]:
    reversed_ = node.integers("dimensions")
    return [Factor((one,), (one,)) for one in range(len(node.result_shape())) if one not in reversed_]


def _iota(node: Node) -> Sequence[Factor]:
    return [Factor((), (one,)) for one in range(len(node.result_shape()))]


def _make_iota(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    """Along the batch, counting starts where the microbatch before ended."""
    form = decision.results[0]
    if not isinstance(form, Split) or node.integer("iota_dimension") != form.dimension:
        return list(local.clone(node, decision, operands).results)
    type_, location = local.type_of(node.results[0], form), node.location
    # Counted in integers: a narrow float would round the offset, and then the sum, which gives other numbers.
    is_integer = isinstance(type_.element_type, ir.IntegerType) and type_.element_type.width >= 32
    counting = type_.element_type if is_integer else ir.IntegerType.get_signless(32)
    counts = ir.RankedTensorType.get(list(type_.shape), counting)
    attribute = {"iota_dimension": node.operation.attributes["iota_dimension"]}
    own = local.one("stablehlo.iota", counts, [], location, attribute)
    ahead = local.ahead(counts, form, form.dimension, location)
    total = local.one("stablehlo.add", counts, [own, ahead], location)
    return [total if is_integer else local.one("stablehlo.convert", type_, [total], location)]


def _constant(node: Node) -> Sequence[Factor]:
    if not is_splat(node.operation):
        return []
    return [Factor((), (one,)) for one in range(len(node.result_shape()))]


def _make_constant(local: Local, node: Node, decision: Decision, _operands: Values) -> Values:
    type_ = local.type_of(node.results[0], decision.results[0])
    return [local.constant(with_type(node.operation, type_), node.location)]


RULES = (
    FactorRule(("stablehlo.broadcast_in_dim",), "along dimensions that it keeps", _broadcast, lambda _: _MOVES),
    FactorRule(("stablehlo.transpose",), "along any dimension", _transpose, lambda _: _MOVES),
    FactorRule(
        ("stablehlo.reshape",),
        "where the parts of a microbatch stay contiguous in each block",
        _reshape,
        lambda _: _MOVES,
    ),
    FactorRule(
        ("stablehlo.slice",),
        "along dimensions of which it takes whole blocks",
        _slice,
        lambda _: _MOVES,
        _making_shares_of("start_indices", "limit_indices"),
    ),
    FactorRule(
        ("stablehlo.pad",),
        "along dimensions without padding, or with as much as whole blocks",
        _pad,
        lambda _: Linear(together=(0, 1), kinds=ALL_KINDS),
        _making_shares_of("edge_padding_low", "edge_padding_high"),
    ),
    FactorRule(
        ("stablehlo.concatenate",),
        "along dimensions that are not joined; joined batches become blocks",
        _concatenate,
        lambda node: Linear(together=tuple(range(len(node.operands))), kinds=ALL_KINDS),
    ),
    FactorRule(("stablehlo.reverse",), "along dimensions that keep their order", _reverse, lambda _: _MOVES),
    FactorRule(("stablehlo.iota",), "counts on from the microbatch before", _iota, make=_make_iota),
    FactorRule(("stablehlo.constant",), "the same in every part", _constant, make=_make_constant),
)
