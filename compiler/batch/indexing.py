"""Rules for slices, gathers and scatters whose places are computed."""

from collections.abc import Sequence

from atoll.compiler.batch.elementwise import ALL_KINDS
from atoll.compiler.batch.local import Local
from atoll.compiler.batch.nodes import Node
from atoll.compiler.batch.reduction import kind_of_body
from atoll.compiler.batch.rule import Decision, Factor, FactorRule, Linear, Values
from atoll.compiler.batch.states import Split
from atoll.compiler.mlir import ir, stablehlo


def _dynamic_slice(node: Node) -> Sequence[Factor]:
    # What is taken whole starts at 0, whatever the index says.
    nothing = (None,) * (len(node.operands) - 1)
    sizes = zip(node.operand_shape(), node.result_shape(), strict=True)
    return [Factor((one, *nothing), (one,)) for one, (whole, taken) in enumerate(sizes) if whole == taken]


def _make_with_sizes(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    """`slice_sizes` has to follow the operand where that is split."""
    copy = local.clone(node, decision, operands)
    form = decision.operands[0]
    if isinstance(form, Split):
        sizes = node.integers("slice_sizes")
        if sizes[form.dimension] == node.operand_shape()[form.dimension]:
            sizes[form.dimension] //= local.program.parts
            copy.attributes["slice_sizes"] = ir.DenseI64ArrayAttr.get(sizes)
    return list(copy.results)


def _dynamic_update_slice(node: Node) -> Sequence[Factor]:
    nothing = (None,) * (len(node.operands) - 2)
    sizes = zip(node.operand_shape(0), node.operand_shape(1), strict=True)
    return [Factor((one, one, *nothing), (one,)) for one, (whole, put) in enumerate(sizes) if whole == put]


def _gather(node: Node) -> Sequence[Factor]:
    numbers = stablehlo.GatherDimensionNumbers(node.operation.attributes["dimension_numbers"])
    operand, indices = node.operand_shape(0), node.operand_shape(1)
    offsets = list(numbers.offset_dims)
    sizes = node.integers("slice_sizes")
    own = [one for one in range(len(node.result_shape())) if one not in offsets]
    places = [one for one in range(len(indices)) if one != numbers.index_vector_dim]
    batching = dict(zip(numbers.start_indices_batching_dims, numbers.operand_batching_dims, strict=True))
    factors = [Factor((batching.get(place), place), (result,)) for place, result in zip(places, own, strict=True)]
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [one for one in range(len(operand)) if one not in gone]
    # A dimension that is taken whole starts at 0, whatever the index says.
    factors += [
        Factor((one, None), (result,)) for one, result in zip(kept, offsets, strict=True) if sizes[one] == operand[one]
    ]
    return factors


def _scatter(node: Node) -> Sequence[Factor]:
    count = len(node.results)
    if count != 1:
        return []
    numbers = stablehlo.ScatterDimensionNumbers(node.operation.attributes["scatter_dimension_numbers"])
    operand, indices, updates = (node.operand_shape(one) for one in range(3))
    windows = list(numbers.update_window_dims)
    own = [one for one in range(len(updates)) if one not in windows]
    places = [one for one in range(len(indices)) if one != numbers.index_vector_dim]
    batching = dict(zip(numbers.scatter_indices_batching_dims, numbers.input_batching_dims, strict=True))
    factors = []
    kind = kind_of_body(node)
    for place, update in zip(places, own, strict=True):
        if place in batching:
            factors.append(Factor((batching[place], place, update), (batching[place],)))
        elif kind:
            factors.append(Factor((None, place, update), (None,), kind, base=0))
    gone = {*numbers.inserted_window_dims, *numbers.input_batching_dims}
    kept = [one for one in range(len(operand)) if one not in gone]
    # A window that takes a dimension whole can only stand at 0: elsewhere it would not fit, and be left out.
    indexed = set(numbers.scattered_dims_to_operand_dims)
    factors += [
        Factor((one, None, update), (one,))
        for one, update in zip(kept, windows, strict=True)
        if updates[update] == operand[one] and one not in indexed
    ]
    return factors


def _adds(node: Node) -> Linear | None:
    kind = kind_of_body(node)
    return Linear(together=(0, 2), kinds=frozenset((kind,))) if kind and len(node.results) == 1 else None


RULES = (
    FactorRule(
        ("stablehlo.dynamic_slice",),
        "along dimensions that it takes whole",
        _dynamic_slice,
        lambda _: Linear(alone=(0,), kinds=ALL_KINDS),
        _make_with_sizes,
    ),
    FactorRule(
        ("stablehlo.dynamic_update_slice",),
        "along dimensions that it replaces whole",
        _dynamic_update_slice,
        lambda _: Linear(together=(0, 1), kinds=ALL_KINDS),
    ),
    FactorRule(
        ("stablehlo.gather",),
        "along the places to look up, or along dimensions that it takes whole",
        _gather,
        lambda _: Linear(alone=(0,), kinds=ALL_KINDS),
        _make_with_sizes,
    ),
    FactorRule(
        ("stablehlo.scatter",),
        "along batching dimensions and whole windows; a sum where places are added to",
        _scatter,
        _adds,
    ),
)
