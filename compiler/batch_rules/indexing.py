"""Rules for slices, gathers and scatters at computed positions."""

from collections.abc import Sequence

from atoll.compiler.batch_rules.decision import Decision
from atoll.compiler.batch_rules.elementwise import ALL_KINDS
from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node, kind_of_body
from atoll.compiler.batch_rules.numbering import counted_dimension
from atoll.compiler.batch_rules.rule import FactorRule, Linear, build_same
from atoll.compiler.batch_rules.states import Places, Split
from atoll.compiler.mlir.bindings import ir, stablehlo


def _dynamic_slice(node: Node) -> Sequence[Factor]:
    # StableHLO clamps the index, so a dimension that is taken whole starts at 0 whatever the index says.
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
            sizes[form.dimension] = local.share(sizes[form.dimension])
            copy.attributes["slice_sizes"] = ir.DenseI64ArrayAttr.get(sizes)
    return list(copy.results)


def _dynamic_update_slice(node: Node) -> Sequence[Factor]:
    nothing = (None,) * (len(node.operands) - 2)
    sizes = zip(node.operand_shape(0), node.operand_shape(1), strict=True)
    return [Factor((one, one, *nothing), (one,)) for one, (whole, put) in enumerate(sizes) if whole == put]


def _own_rows(node: Node, mapped: list[int], vector: int) -> dict[int, int]:
    """The dimensions of the operand in which every example is looked up at its own number, each with the dimension of
    the indices that counts the examples."""
    rows = {}
    for component, dimension in enumerate(mapped):
        place = counted_dimension(node, 1, vector, component)
        if place is not None and node.operand_shape(1)[place] == node.operand_shape(0)[dimension]:
            rows[dimension] = place
    return rows


def _renumbered(
    local: Local, node: Node, indices: "ir.Value[ir.Type]", form: Split, vector: int, component: int
) -> "ir.Value[ir.Type]":
    """The indices with one component counted among the examples of the microbatch.

    form: that of the indices.
    """
    type_, location = ir.RankedTensorType(indices.type), node.location
    starts = local.ahead(type_, form, form.dimension, location)
    if vector < type_.rank and type_.get_dim_size(vector) > 1:
        numbers = ir.RankedTensorType.get(list(type_.shape), ir.IntegerType.get_signless(32))
        along = {"iota_dimension": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), vector)}
        place = local.one("stablehlo.iota", numbers, [], location, along)
        asked = local.number(component, numbers, location)
        flags = ir.RankedTensorType.get(list(type_.shape), ir.IntegerType.get_signless(1))
        equal = {"comparison_direction": ir.Attribute.parse("#stablehlo<comparison_direction EQ>")}
        is_asked = local.one("stablehlo.compare", flags, [place, asked], location, equal)
        starts = local.one("stablehlo.select", type_, [is_asked, starts, local.number(0, type_, location)], location)
    return local.one("stablehlo.subtract", type_, [indices, starts], location)


def _with_own_rows(
    local: Local, node: Node, decision: Decision, operands: Values, mapped: list[int], vector: int
) -> Values:
    """The operands, with indices that say where in the part of the microbatch to look."""
    form, counted = decision.operands[:2]
    if not isinstance(form, Split) or form.dimension not in mapped or not isinstance(counted, Split):
        return operands
    indices = _renumbered(local, node, operands[1], counted, vector, mapped.index(form.dimension))
    return [operands[0], indices, *operands[2:]]


def _make_gather(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    if isinstance(decision.operands[1], Places):
        return build_same(local, node, decision, operands)  # they are counted in each microbatch already
    numbers = stablehlo.GatherDimensionNumbers(node.operation.attributes["dimension_numbers"])
    mapped = list(numbers.start_index_map)
    operands = _with_own_rows(local, node, decision, operands, mapped, numbers.index_vector_dim)
    form = decision.operands[0]
    if isinstance(form, Split) and form.dimension in (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims):
        return build_same(local, node, decision, operands)
    return _make_with_sizes(local, node, decision, operands)


def _make_scatter(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    if isinstance(decision.operands[1], Places):
        return build_same(local, node, decision, operands)  # they are counted in each microbatch already
    numbers = stablehlo.ScatterDimensionNumbers(node.operation.attributes["scatter_dimension_numbers"])
    mapped = list(numbers.scattered_dims_to_operand_dims)
    return build_same(
        local, node, decision, _with_own_rows(local, node, decision, operands, mapped, numbers.index_vector_dim)
    )


def _gather(node: Node) -> Sequence[Factor]:
    numbers = stablehlo.GatherDimensionNumbers(node.operation.attributes["dimension_numbers"])
    operand, indices = node.operand_shape(0), node.operand_shape(1)
    offsets = list(numbers.offset_dims)
    sizes = node.integers("slice_sizes")
    own = [one for one in range(len(node.result_shape())) if one not in offsets]
    places = [one for one in range(len(indices)) if one != numbers.index_vector_dim]
    batching = dict(zip(numbers.start_indices_batching_dims, numbers.operand_batching_dims, strict=True))
    single = {
        place: dimension
        for dimension, place in _own_rows(node, list(numbers.start_index_map), numbers.index_vector_dim).items()
        if dimension in numbers.collapsed_slice_dims and place not in batching
    }
    pairs = list(zip(places, own, strict=True))
    factors = [Factor((single[place], place), (result,)) for place, result in pairs if place in single]
    factors += [Factor((batching.get(place), place), (result,)) for place, result in pairs]
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [one for one in range(len(operand)) if one not in gone]
    # Clamped as well: a dimension that is taken whole starts at 0, whatever the index says.
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
    mapped = list(numbers.scattered_dims_to_operand_dims)
    single = {
        place: dimension
        for dimension, place in _own_rows(node, mapped, numbers.index_vector_dim).items()
        if dimension in numbers.inserted_window_dims and place not in batching
    }
    pairs = list(zip(places, own, strict=True))
    factors = [Factor((single[place], place, update), (single[place],)) for place, update in pairs if place in single]
    kind = kind_of_body(node)
    for place, update in pairs:
        if place in batching:
            factors.append(Factor((batching[place], place, update), (batching[place],)))
        elif kind:
            factors.append(Factor((None, place, update), (None,), kind, base=0))
    gone = {*numbers.inserted_window_dims, *numbers.input_batching_dims}
    kept = [one for one in range(len(operand)) if one not in gone]
    # A scatter skips a window that does not fit, so one that covers a whole dimension can only be at 0.
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
        _make_gather,
    ),
    FactorRule(
        ("stablehlo.scatter",),
        "along batching dimensions and whole windows; a sum where places are added to",
        _scatter,
        _adds,
        _make_scatter,
    ),
)
