"""Finds numbers of the rows of each kind, such as tokens of each expert, and comparisons of places with them.

Where rows are sorted by their kind, `starts <= place` and `place < ends` say of what kind the row at a place is. Each
number is that of the rows below a limit, so it divides the rows, whatever microbatch they are of, at the same kind.
"""

from collections.abc import Iterable

from atoll.compiler.batch_rules.nodes import Node, NodeTree, kind_of_body
from atoll.compiler.batch_rules.numbering import counted_dimension_of
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.constants import splat_integer

_BARRIER = "stablehlo.optimization_barrier"
_NOTHING = -1  # in place of a key: no row is below any limit

# (operand that is the number of rows, operand that counts places) -> directions that divide the rows at that number
_DIVIDING = {0: ("LE", "GT"), 1: ("LT", "GE")}


def compared_groups(node: Node) -> tuple[int, int, int] | None:
    """For a comparison of places with numbers of rows: the operand with these, the rows' dimension, and the key."""
    if node.name != "stablehlo.compare":
        return None
    said = str(node.operation.attributes["comparison_direction"])
    for bound, directions in _DIVIDING.items():
        dimension = counted_dimension_of(node.program, node.operands[1 - bound])
        if dimension is None or not any(f" {one}>" in said for one in directions):
            continue
        key = _below(node.program, node.operands[bound])
        if key not in (None, _NOTHING) and _is_spread_along(node.program, node.operands[bound], dimension):
            return bound, dimension, key
    return None


def sort_by_key(nodes: Iterable[Node], key: int, number: int | None = None) -> Node | None:
    """The sort whose first operand is the key, the least first."""
    for node in nodes:
        is_asked = node.name == "stablehlo.sort" and number in (None, node.number)
        if is_asked and is_ascending(node) and _root(node.program, node.operands[0]) == key:
            return node
    return None


def groups_of(program: NodeTree, value: int) -> bool:
    """Whether a value is made of numbers of rows."""
    key = _below(program, value)
    return key not in (None, _NOTHING) or counted_key(program, value) is not None


def is_ascending(node: Node) -> bool:
    """Whether a sort puts the least of its first operand first, and looks at nothing else."""
    (body,) = node.bodies
    if len(body.nodes) != 1 or body.returned != body.nodes[0].results:
        return False
    (compare,) = body.nodes
    return (
        compare.name == "stablehlo.compare"
        and compare.operands == body.arguments[:2]
        and " LT>" in str(compare.operation.attributes["comparison_direction"])
    )


def _below(program: NodeTree, value: int) -> int | None:
    """The key, if each element says how many rows have a key below some limit."""
    if program.is_identity(value, "add"):
        return _NOTHING
    node = program.producers[value]
    if node is None or not _is_wide(program, value):
        return None
    if node.name == _BARRIER:
        return _below(program, node.operands[node.results.index(value)])
    if node.name in ("stablehlo.broadcast_in_dim", "stablehlo.reshape", "stablehlo.slice", "stablehlo.convert"):
        return _below(program, node.operands[0])
    if node.name == "stablehlo.concatenate":
        keys = {_below(program, one) for one in node.operands} - {_NOTHING}
        return keys.pop() if len(keys) == 1 else None
    if node.name == "stablehlo.reduce_window" and _sums_up(node):
        return counted_key(program, node.operands[0])
    if node.name == "stablehlo.subtract":
        return _before_each(program, node)
    return None


def _before_each(program: NodeTree, node: Node) -> int | None:
    """The key, if sums up to each number of rows are left without that number itself."""
    sums = program.producers[_root(program, node.operands[0])]
    if sums is None or sums.name != "stablehlo.reduce_window" or not _sums_up(sums):
        return None
    is_its_own = _root(program, sums.operands[0]) == _root(program, node.operands[1])
    return counted_key(program, sums.operands[0]) if is_its_own else None


def _sums_up(node: Node) -> bool:
    """Whether each element of the result is the sum of all up to it."""
    if len(node.operands) != 2 or len(node.operand_shape()) != 1 or kind_of_body(node) != "add":
        return False
    (size,) = node.operand_shape()
    ones = ("window_strides", "base_dilations", "window_dilations")
    return (
        all(node.integers(name, [1]) == [1] for name in ones)
        and node.integers("window_dimensions") == [size]
        and node.integers("padding", [0, 0]) == [size - 1, 0]
        and node.program.is_identity(node.operands[1], "add")
    )


def counted_key(program: NodeTree, value: int) -> int | None:
    """The key, if element g says how many rows have the key g; those with a key behind the last may be left out."""
    node = program.producers[value]
    if node is None or not _is_wide(program, value) or len(program.shape(value)) != 1:
        return None
    if node.name == _BARRIER:
        return counted_key(program, node.operands[node.results.index(value)])
    if node.name == "stablehlo.convert":
        return counted_key(program, node.operands[0])
    if node.name == "stablehlo.scatter":
        return _scattered_key(node)
    if node.name == "stablehlo.reduce":
        return _compared_key(node)
    return None


def _scattered_key(node: Node) -> int | None:
    """Ones that are added up at the keys."""
    program = node.program
    if len(node.results) != 1 or kind_of_body(node) != "add" or not program.is_identity(node.operands[0], "add"):
        return None
    numbers = stablehlo.ScatterDimensionNumbers(node.operation.attributes["scatter_dimension_numbers"])
    is_plain = list(numbers.inserted_window_dims) == list(numbers.scattered_dims_to_operand_dims) == [0]
    shape, vector = node.operand_shape(1), numbers.index_vector_dim
    is_single = vector == len(shape) or shape[vector] == 1
    if not is_plain or not is_single or not _is_one(program, node.operands[2]):
        return None
    return _nonnegative_root(program, node.operands[1])


def _compared_key(node: Node) -> int | None:
    """A column for each kind, with a one for each row of that kind, summed up."""
    program = node.program
    if len(node.operands) != 2 or kind_of_body(node) != "add" or node.integers("dimensions") != [0]:
        return None
    made = program.producers[node.operands[0]]
    while made is not None and made.name == "stablehlo.convert":
        made = program.producers[made.operands[0]]
    is_compare = made is not None and made.name == "stablehlo.compare" and len(node.operand_shape()) == 2
    if not is_compare or not program.is_identity(node.operands[1], "add"):
        return None
    assert made is not None
    if " EQ>" not in str(made.operation.attributes["comparison_direction"]):
        return None
    for own, other in (made.operands, made.operands[::-1]):
        if counted_dimension_of(program, other) == 1 and _is_spread_along(program, own, 1):
            source = program.producers[own]
            assert source is not None
            key = source.operands[0]
            rows = node.operand_shape()[0]
            return _nonnegative_root(program, key) if _elements(program, key) == rows else None
    return None


def _elements(program: NodeTree, value: int) -> int:
    count = 1
    for size in program.shape(value):
        count *= size
    return count


def _is_spread_along(program: NodeTree, value: int, dimension: int) -> bool:
    """Whether a broadcast has the same elements all along a dimension."""
    node = program.producers[value]
    if node is None or node.name != "stablehlo.broadcast_in_dim":
        return False
    kept = node.integers("broadcast_dimensions")
    return dimension not in kept or node.operand_shape()[kept.index(dimension)] != node.result_shape()[dimension]


def _is_one(program: NodeTree, value: int) -> bool:
    node = program.producers[value]
    while node is not None and node.name in ("stablehlo.broadcast_in_dim", "stablehlo.convert"):
        node = program.producers[node.operands[0]]
    if node is None or node.name != "stablehlo.constant":
        return False
    return splat_integer(node.operation) == 1


def _nonnegative_root(program: NodeTree, value: int) -> int | None:
    """Where the keys come from, if those below 0 count as 0 or there are none."""
    is_clipped = False
    while True:
        value = _root(program, value)
        node = program.producers[value]
        if node is None:
            break
        if node.name == "stablehlo.select" and _wraps(program, node):
            # What is below 0 would count from the end; so there must be nothing below 0.
            if not _is_nonnegative(program, node.operands[2]):
                return None
            value = node.operands[2]
        elif node.name == "stablehlo.maximum" and _is_number(program, node.operands[0]):
            is_clipped, value = True, node.operands[1]
        elif node.name == "stablehlo.maximum" and _is_number(program, node.operands[1]):
            is_clipped, value = True, node.operands[0]
        else:
            break
    return value if is_clipped or _is_nonnegative(program, value) else None


def _wraps(program: NodeTree, node: Node) -> bool:
    """Whether numbers below 0 are selected to count from the end."""
    predicate = program.producers[node.operands[0]]
    return (
        predicate is not None
        and predicate.name == "stablehlo.compare"
        and " LT>" in str(predicate.operation.attributes["comparison_direction"])
        and predicate.operands[0] == node.operands[2]
        and program.is_identity(predicate.operands[1], "add")
    )


def _is_nonnegative(program: NodeTree, value: int) -> bool:
    value = _root(program, value)
    node, type_ = program.producers[value], program.tensor(value).element_type
    if isinstance(type_, ir.IntegerType) and type_.is_unsigned:
        return True
    if node is None:
        return False
    if node.name == "chlo.top_k":
        return value == node.results[1]
    if node.name == "stablehlo.iota":
        return True
    if node.name == "stablehlo.maximum":
        return any(_is_number(program, one) or _is_nonnegative(program, one) for one in node.operands)
    if node.name == "stablehlo.minimum":
        return all(_is_number(program, one) or _is_nonnegative(program, one) for one in node.operands)
    if node.name == "stablehlo.clamp":
        return _is_number(program, node.operands[0]) and _is_number(program, node.operands[2])
    if node.name == "stablehlo.constant":
        return _is_number(program, value)
    return node.name == "stablehlo.reduce" and _selects(node, node.results.index(value))


def _selects(node: Node, index: int) -> bool:
    """Whether a reduction gives one of the elements of an operand that has nothing below 0, as an argmax does."""
    program, (body,), count = node.program, node.bodies, len(node.results)
    left = [body.returned[index]]
    while left:
        value = left.pop()
        made = program.producers[value]
        if made is not None and made.name == "stablehlo.select":
            left += made.operands[1:]
        elif value not in (body.arguments[index], body.arguments[index + count]):
            return False
    return all(_is_nonnegative(program, node.operands[one]) for one in (index, index + count))


def _is_number(program: NodeTree, value: int) -> bool:
    """Whether it is one number, not below 0."""
    node = program.producers[value]
    while node is not None and node.name in ("stablehlo.broadcast_in_dim", "stablehlo.reshape", "stablehlo.convert"):
        node = program.producers[node.operands[0]]
    if node is None or node.name != "stablehlo.constant":
        return False
    number = splat_integer(node.operation)
    return number is not None and number >= 0


def _root(program: NodeTree, value: int) -> int:
    """The value that has the same elements, whatever its shape."""
    while (node := program.producers[value]) is not None:
        if node.name == _BARRIER:
            value = node.operands[node.results.index(value)]
        elif node.name == "stablehlo.reshape" or (
            node.name in ("stablehlo.broadcast_in_dim", "stablehlo.convert")
            and _elements(program, value) == _elements(program, node.operands[0])
            and _keeps_integers(node)
        ):
            value = node.operands[0]
        else:
            break
    return value


def _keeps_integers(node: Node) -> bool:
    before, after = node.operand_type(0).element_type, node.result_type().element_type
    if not isinstance(before, ir.IntegerType) or not isinstance(after, ir.IntegerType):
        return False
    return after.width >= before.width and after.is_unsigned == before.is_unsigned and before.width > 1


def _is_wide(program: NodeTree, value: int) -> bool:
    """Whether it is integers that no number of rows is too large for."""
    type_ = program.tensor(value).element_type
    return isinstance(type_, ir.IntegerType) and type_.width >= 32
