"""Rows in the order of a sort, such as tokens by expert: what may be done with them before they are put back.

A microbatch sorts the rows of its own examples, so its rows stand at other places than in the whole batch. What is made
of each row alone is right all the same once the rows are put back; what looks at places, or at other rows, is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy
from atoll.compiler.batch_rules.decision import Decision, Mixed
from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.groups import compared_groups, counted_key, groups_of, is_ascending, sort_by_key
from atoll.compiler.batch_rules.interpreted import Interpreted
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node, NodeTree, kind_of_body
from atoll.compiler.batch_rules.scalars import COMPUTED
from atoll.compiler.batch_rules.states import ABSENT, OWN, SAME, Partial, Places, Sorted, Split, State
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.constants import is_splat, splat_integer

IN_ORDER = "put the rows back in the order of the examples first, by a gather or scatter with the same argsort"
_BARRIER = "stablehlo.optimization_barrier"
_SPREADS = ("stablehlo.broadcast_in_dim", "stablehlo.reshape")


def pass_in_order(scope: Interpreted, node: Node, states: Sequence[State], factors: Sequence[Factor]) -> Decision:
    """The forms of an operation that takes rows in the order of a sort, or where that has put them."""
    given = {index: state for index, state in enumerate(states) if isinstance(state, Split)}
    if node.name in ("stablehlo.gather", "stablehlo.scatter") and isinstance(states[1], Places):
        return _moved(scope, node, states)
    rows = _common(scope, node, given)
    for factor in factors:
        if all(factor.operands[index] == form.dimension for index, form in given.items()):
            decision = _along(scope, node, states, factor, rows)
            if decision is not None:
                return decision
    raise Mixed(node, "does more to rows in the order of a sort than to each of them the same", IN_ORDER)


def _common(scope: Interpreted, node: Node, given: Mapping[int, Split]) -> Sorted | Places:
    """What the results are; their dimension is that of the first operand."""
    forms: dict[Sorted | Places, None] = {}
    for index, form in given.items():
        if not isinstance(form, Sorted | Places):
            raise Mixed(node, "takes rows in the order of a sort beside examples in their own order", IN_ORDER)
        # What has the same number at all places is that of any rows.
        if not isinstance(form, Places) or not _is_one_number(scope.batch.program, node.operands[index]):
            forms[replace(form, dimension=0)] = None
    if len(forms) > 1:
        raise Mixed(node, "takes rows in different orders", IN_ORDER)
    rows = next(iter(forms or given.values()))
    assert isinstance(rows, Sorted | Places)
    if isinstance(rows, Places) and node.name not in COMPUTED and node.name != "stablehlo.reduce":
        raise Mixed(node, "takes the places of rows for numbers like any others", IN_ORDER)
    return rows


def _along(
    scope: Interpreted, node: Node, states: Sequence[State], factor: Factor, rows: Sorted | Places
) -> Decision | None:
    """The operation along a factor, if that treats every row by itself."""
    sizes = {
        scope.batch.program.shape(value)[dimension]
        for value, dimension in (
            *zip(node.operands, factor.operands, strict=True),
            *zip(node.results, factor.results, strict=True),
        )
        if dimension is not None
    }
    ends = None in factor.results
    if factor.scale or len(sizes) != 1 or (ends and (not factor.kind or isinstance(rows, Places))):
        return None
    operands: list[State] = []
    for value, state, dimension in zip(node.operands, states, factor.operands, strict=True):
        form = state if state != SAME or dimension is None else in_order(scope, value, Sorted(dimension, by=rows.by))
        if form is None or (isinstance(rows, Places) and type(form) is Sorted):
            return None
        operands.append(form)
    results = [Partial(factor.kind) if one is None else replace(rows, dimension=one) for one in factor.results]
    return Decision.along(node, factor, operands, results)


def in_order(scope: Interpreted, value: int, form: Sorted) -> State | None:
    """The form in which a value that is the same for all has what belongs to each row; None if it has not."""
    program = scope.batch.program
    if scope.state(value) != SAME:
        return None
    if _is_constant_along(program, value, form.dimension):
        return Split(form.dimension)
    node = program.producers[value]
    if node is None or scope.derived(node, {node.results.index(value): form}) is None:
        return None
    return form


def made_in_order(scope: Interpreted, node: Node, form: Sorted) -> Decision | None:
    """How an operation that is the same for all makes what belongs to each row of a microbatch; None if it cannot.

    That is so where it compares places with how many rows there are of each kind: it says of what kind a row is.
    """
    decision = _told_apart(scope, node, form)
    if decision is not None or node.name == _BARRIER or len(node.results) != 1:
        return decision
    factors = getattr(scope.batch.rules.get(node.name), "factors", None)
    if factors is None or not node.operands:
        return None
    for factor in factors(node):
        if factor.results == (form.dimension,):
            decision = _along(scope, node, [SAME] * len(node.operands), factor, form)
            if decision is not None:
                return decision
    return None


def compared_in_order(scope: Interpreted, node: Node) -> Decision | None:
    """In a region: a comparison of places with how many rows there are of each kind in this microbatch."""
    compared = compared_groups(node)
    if compared is None:
        return None
    _, dimension, key = compared
    sort = sort_by_key(scope.body.nodes, key)
    return None if sort is None else _told_apart(scope, node, Sorted(dimension, by=sort.number))


def _told_apart(scope: Interpreted, node: Node, form: Sorted) -> Decision | None:
    compared = compared_groups(node)
    if compared is None or compared[1] != form.dimension:
        return None
    bound, _, key = compared
    sort = sort_by_key(_all_nodes(scope), key, form.by)
    if sort is None or sort.operand_shape() != (node.result_shape()[form.dimension],):
        return None
    operands = tuple(OWN if index == bound else ABSENT for index in range(2))
    return Decision(operands, (form,))


def sort_of_groups(scope: Interpreted, sizes: int, by: int) -> Node | None:
    """The sort of this number, if it sorts by the key of which a value says how many rows have each."""
    key = counted_key(scope.batch.program, sizes)
    return None if key is None else sort_by_key(_all_nodes(scope), key, by)


def _all_nodes(scope: Interpreted | None) -> list[Node]:
    found: list[Node] = []
    while scope is not None:
        found += scope.body.nodes
        scope = scope.parent
    return found


def make_compared(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    """Places are counted anew in each microbatch."""
    (form,) = decision.results
    assert isinstance(form, Sorted)
    (bound,) = operands
    type_ = local.type_of(node.results[0], form)
    bounds = ir.RankedTensorType.get(list(type_.shape), ir.RankedTensorType(bound.type).element_type)
    # Along the rows the numbers are all the same.
    one = local.one("stablehlo.slice", bounds, [bound], node.location, _first(bounds))
    places = _places(local, bounds, form.dimension, node)
    pair = [one if state == OWN else places for state in decision.operands]
    copy = node.operation.clone(ip=local.point)
    for index, value in enumerate(pair):
        copy.operands[index] = value
    copy.results[0].set_type(type_)
    return [copy.results[0]]


def _first(type_: ir.RankedTensorType) -> dict[str, ir.Attribute]:
    array = ir.DenseI64ArrayAttr.get
    return {
        "start_indices": array([0] * type_.rank),
        "limit_indices": array(list(type_.shape)),
        "strides": array([1] * type_.rank),
    }


def _places(local: Local, type_: ir.RankedTensorType, dimension: int, node: Node) -> "ir.Value[ir.Type]":
    along = {"iota_dimension": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), dimension)}
    return local.one("stablehlo.iota", type_, [], node.location, along)


def own_of_microbatch(scope: Interpreted, node: Node, index: int) -> Decision:
    """How an operation makes of one microbatch what it makes of all: of sums that are not added up."""
    decision = scope.decisions.get(node.number)
    begins = decision is not None and not any(isinstance(form, Partial) for form in decision.operands)
    if decision is not None and begins and any(isinstance(form, Partial) for form in decision.results):
        return replace(decision, results=(OWN,) * len(node.results))
    if node.name == _BARRIER:
        forms = tuple(OWN if one == index else ABSENT for one in range(len(node.results)))
        return Decision(forms, forms)
    operands = tuple(OWN if groups_of(node.program, value) else SAME for value in node.operands)
    return Decision(operands, (OWN,) * len(node.results))


def decide_sort(node: Node, states: Sequence[State]) -> Decision | None:
    """A sort that says by numbers where each row comes from; None if this is none."""
    program = node.program
    if len(node.operand_shape()) != 1 or node.captured or node.operand_shape()[0] % program.parts:
        return None
    counted = [states[one] == SAME and _counts(program, node.operands[one]) for one in range(len(states))]
    if not any(counted):
        return None
    if isinstance(states[0], Places):
        return _decide_inverse(node, states[0], counted)
    if any(not is_counted and state != Split(0) for state, is_counted in zip(states, counted, strict=True)):
        return None
    operands = tuple(ABSENT if one else Split(0) for one in counted)
    results = (Places(0, by=node.number) if one else Sorted(0, by=node.number) for one in counted)
    return Decision(operands, tuple(results))


def _decide_inverse(node: Node, places: Places, counted: Sequence[bool]) -> Decision | None:
    """The places sorted: that says of each example where it has been put."""
    is_plain = list(counted) == [False, True] and not places.is_back and is_ascending(node)
    if not is_plain or not _counts_rows(node.program, node.operands[0], 1):
        return None
    return Decision((places, ABSENT), (ABSENT, Places(0, by=places.by, is_back=True)))


def _counts(program: NodeTree, value: int) -> bool:
    node = program.producers[value]
    return node is not None and node.name == "stablehlo.iota"


def make_sort(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    """The rows of a microbatch sorted, with numbers that count them."""
    size, given = local.share(node.operand_shape()[0]), iter(operands)
    types = [ir.RankedTensorType.get([size], node.operand_type(one).element_type) for one in range(len(node.operands))]
    rows = [
        next(given) if form != ABSENT else _places(local, type_, 0, node)
        for form, type_ in zip(decision.operands, types, strict=True)
    ]
    copy = node.operation.clone(ip=local.point)
    for index, row in enumerate(rows):
        copy.operands[index] = row
        copy.results[index].set_type(types[index])
    return [value for value, form in zip(copy.results, decision.results, strict=True) if form != ABSENT]


def _moved(scope: Interpreted, node: Node, states: Sequence[State]) -> Decision:
    """A gather or scatter at the places of a sort: it puts examples in order, or rows back."""
    places, is_gather = states[1], node.name == "stablehlo.gather"
    assert isinstance(places, Places)
    found = _single_rows(node)
    if found is None:
        raise Mixed(node, "uses the places of a sort for more than for rows", IN_ORDER)
    dimension, moved = found
    rows, size = node.operand_shape(1)[places.dimension], node.operand_shape(0)[dimension]
    if size == 0 or rows % size or not _counts_rows(node.program, node.operands[1], rows // size):
        raise Mixed(node, "looks up other rows than those that a sort has put in order", IN_ORDER)
    if places.is_back and rows != size:
        raise Mixed(node, "looks up other rows than those that a sort has put in order", IN_ORDER)
    # A gather at the examples' numbers and a scatter at their places put in order; the others put back.
    in_rows, in_examples = Sorted(dimension, by=places.by), Split(dimension)
    if not is_gather:
        taken: Split = Split(moved) if places.is_back else Sorted(moved, by=places.by)
        result: Split = in_rows if places.is_back else in_examples
        # Several rows for one example are combined in the order of the sort, which is another one in a microbatch.
        is_right = _fits(scope, node, 2, states[2], taken) and (rows == size or bool(kind_of_body(node)))
        operand = states[0] if states[0] == result else _base(scope, node, result)
        if is_right and operand is not None:
            forms = states[2] if states[2] != SAME else Split(moved)
            return Decision((operand, places, forms), (result,))
    else:
        source: Split = in_rows if places.is_back else in_examples
        made: Split = Split(moved) if places.is_back else Sorted(moved, by=places.by)
        if states[0] == source or (states[0] == SAME and not places.is_back):
            return Decision((source, places), (made,))
    raise Mixed(node, "moves rows by another order than that which they are in", IN_ORDER)


def _fits(scope: Interpreted, node: Node, index: int, state: State, wanted: Split) -> bool:
    if state != SAME:
        return state == wanted
    return _is_constant_along(scope.batch.program, node.operands[index], wanted.dimension)


def _base(scope: Interpreted, node: Node, wanted: Split) -> State | None:
    """The form of what a scatter begins with, if that is the same for all."""
    if scope.state(node.operands[0]) != SAME:
        return None
    is_even = _is_constant_along(scope.batch.program, node.operands[0], wanted.dimension)
    return Split(wanted.dimension) if is_even or type(wanted) is Split else None


def _single_rows(node: Node) -> tuple[int, int] | None:
    """The dimension of the operand that is looked up, row by row, and where these rows are in the result or updates."""
    vector: int
    if node.name == "stablehlo.gather":
        gather = stablehlo.GatherDimensionNumbers(node.operation.attributes["dimension_numbers"])
        gone, mapped, batching = gather.collapsed_slice_dims, gather.start_index_map, gather.operand_batching_dims
        windows, vector, moved = gather.offset_dims, gather.index_vector_dim, node.result_shape()
        whole = [one for one in range(len(node.operand_shape())) if one not in gone]
        sizes = node.integers("slice_sizes")
        if any(sizes[one] != node.operand_shape()[one] for one in whole):
            return None
    else:
        if len(node.results) != 1:
            return None
        scatter = stablehlo.ScatterDimensionNumbers(node.operation.attributes["scatter_dimension_numbers"])
        gone, mapped, batching = (
            scatter.inserted_window_dims,
            scatter.scattered_dims_to_operand_dims,
            scatter.input_batching_dims,
        )
        windows, vector, moved = scatter.update_window_dims, scatter.index_vector_dim, node.operand_shape(2)
    shape = node.operand_shape(1)
    if len(list(mapped)) != 1 or list(gone) != list(mapped) or list(batching):
        return None
    places = [one for one in range(len(shape)) if one != vector]
    own = [one for one in range(len(moved)) if one not in list(windows)]
    if len(places) != 1 or len(own) != 1 or (vector < len(shape) and shape[vector] != 1):
        return None
    return next(iter(gone)), own[0]


def _is_one_number(program: NodeTree, value: int) -> bool:
    table = _table(program, value)
    return table is not None and bool(numpy.all(table == table[0]))


def _counts_rows(program: NodeTree, value: int, each: int) -> bool:
    """Whether numbers are those of the examples, of which each has so many rows."""
    table = _table(program, value)
    return table is not None and numpy.array_equal(table, numpy.arange(len(table)) // each)


def _table(program: NodeTree, value: int) -> Any:  # noqa: ANN401 (an array of numpy, or None)
    """What places become for each number that they may be; None if that is not known.

    What a microbatch makes of its own numbers is then known as well: it is the beginning of this.
    """
    node, is_whole = program.producers[value], isinstance(program.tensor(value).element_type, ir.IntegerType)
    if node is None or not is_whole:
        return None
    if node.name == "stablehlo.sort":
        return numpy.arange(program.shape(value)[0])
    if node.name == "stablehlo.constant":
        number = splat_integer(node.operation)
        return None if number is None else numpy.asarray([number])
    if node.name == _BARRIER:
        return _table(program, node.operands[node.results.index(value)])
    if node.name == "stablehlo.reduce" and len(node.operands) == 2 and kind_of_body(node) in ("and", "or"):
        # It goes over dimensions along which they are all alike.
        return _table(program, node.operands[0]) if program.is_identity(node.operands[1], kind_of_body(node)) else None
    compute = COMPUTED.get(node.name)
    tables = [_table(program, one) for one in node.operands] if compute is not None else [None]
    if compute is None or any(one is None for one in tables):
        return None
    found = numpy.asarray(compute(node, *tables)).astype(numpy.int64)
    width = ir.IntegerType(program.tensor(value).element_type).width
    return found if width == 1 or (width >= 32 and numpy.all(abs(found) < 2**31)) else None


def _is_constant_along(program: NodeTree, value: int, dimension: int) -> bool:
    """Whether all places along a dimension have the same."""
    node = program.producers[value]
    if node is None:
        return False
    if node.name == "stablehlo.constant":
        return is_splat(node.operation)
    if node.name == "stablehlo.broadcast_in_dim":
        kept = node.integers("broadcast_dimensions")
        source = kept.index(dimension) if dimension in kept else None
        if source is None or node.operand_shape()[source] != node.result_shape()[dimension]:
            return True
        return _is_constant_along(program, node.operands[0], source)
    if node.name == "stablehlo.convert":
        return _is_constant_along(program, node.operands[0], dimension)
    return False
