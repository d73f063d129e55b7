"""Takes arguments, and returns results, that are several batches one after another: in as many pieces, each one batch.

What a caller gives and gets is cut into parts from one place to another, so a part may not have some of each batch.
"""

import math
from collections.abc import Iterator, Sequence

from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.local import resized
from atoll.compiler.batch_rules.manual import devices_along
from atoll.compiler.batch_rules.nodes import Node, NodeTree, described
from atoll.compiler.batch_rules.replica_axis import MANUAL
from atoll.compiler.batch_rules.states import Split
from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import (
    argument_attributes,
    arguments_of,
    body_of,
    empty_copy,
    named_attributes,
    result_attributes,
    set_argument_attributes,
    set_result_attributes,
    type_of,
)
from atoll.compiler.module.interface import Piece, batch_dimension
from atoll.compiler.module.marks import PIECE

# How many of the numbers of blocks that a program may want are tried.
_TRIED = 8
# How many pieces there may be: each is an argument or a result of its own in every phase, and a part a microbatch.
_MOST = 64


def wanted_blocks(program: NodeTree, extent: int) -> list[tuple[int, Node]]:
    """Into how many blocks the program itself divides so many examples, each with the first operation that does so; at
    last the number that suits all of them."""
    found: dict[int, Node] = {}

    def note(blocks: int, node: Node) -> None:
        if 1 < blocks <= _MOST and extent % blocks == 0:
            found.setdefault(blocks, node)

    for blocks, node in _divided(program.body.nodes, extent) if extent else ():
        if len(found) < _TRIED:
            note(blocks, node)
    if found:
        note(math.lcm(*found), next(iter(found.values())))
    return list(found.items())


def _divided(nodes: Sequence[Node], extent: int) -> Iterator[tuple[int, Node]]:
    """Into how many blocks each operation divides so many examples, regions included."""
    for node in nodes:
        own = _blocks(node, extent)
        yield own, node
        # In a `shard_map` a device has its own examples alone.
        devices = own if node.name == MANUAL and extent % own == 0 else 1
        for body in node.bodies:
            yield from ((devices * blocks, inner) for blocks, inner in _divided(body.nodes, extent // devices))


def _blocks(node: Node, extent: int) -> int:
    """Into how many blocks an operation divides a dimension of so many examples, or a first one of several times as
    many; 1 if it does not."""
    divides = _DIVIDES.get(node.name)
    divided = (divides(node, index, one, extent) for index, one in _along(node, extent)) if divides else ()
    return next((blocks for blocks in divided if blocks > 1), 1)


def _along(node: Node, extent: int) -> Iterator[tuple[int, int]]:
    """The operands and their dimensions that may have the examples."""
    for index in range(len(node.operands)):
        for one, size in enumerate(node.operand_shape(index)):
            if size == extent or (one == 0 and size and size % extent == 0):
                yield index, one


def _divided_by_slice(node: Node, _operand: int, dimension: int, extent: int) -> int:
    ends = (node.integers(name)[dimension] for name in ("start_indices", "limit_indices"))
    return extent // math.gcd(extent, *ends)


def _divided_by_reshape(node: Node, _operand: int, dimension: int, _extent: int) -> int:
    """Into how many the dimension is divided: what as many elements precede in the result."""
    before, shape = math.prod(node.operand_shape()[:dimension]), node.result_shape()
    sizes = [size for one, size in enumerate(shape) if math.prod(shape[:one]) == before]
    return next((size for size in sizes if size > 1), 1)


def _divided_over_devices(node: Node, operand: int, dimension: int, _extent: int) -> int:
    return devices_along(node, node.operands[operand], node.bodies[0].arguments[operand], dimension)


_DIVIDES = {
    "stablehlo.slice": _divided_by_slice,
    "stablehlo.reshape": _divided_by_reshape,
    MANUAL: _divided_over_devices,
}


def take_in_pieces(main: func.FuncOp, blocks: int) -> None:
    """Take each argument that has the examples as so many pieces, joined where the function begins."""
    inputs, marks, locations = list[ir.Type](), list[ir.DictAttr](), list[ir.Location]()
    old = list(zip(arguments_of(main), argument_attributes(main), strict=True))
    for argument, own in old:
        dimension = batch_dimension(own)
        starts = [] if dimension is None else _starts(argument.type, dimension, blocks)
        pieces = [Piece(dimension or 0, start, size) for start, size in starts]
        count = len(pieces) or 1
        inputs += [_piece_type(argument.type, dimension or 0, count)] * count
        marks += _marked(own, pieces)
        locations += [argument.location] * count
    new = empty_copy(main, inputs, locations, type_of(main).results)
    set_argument_attributes(new, marks)
    block, left = body_of(new), iter(arguments_of(new))
    for argument, own in old:
        dimension = batch_dimension(own)
        whole = next(left) if dimension is None else _joined(argument, dimension, [next(left) for _ in range(blocks)])
        argument.replace_all_uses_with(whole)
    for operation in list(body_of(main).operations):
        block.append(operation)
    main.operation.erase()


def give_in_pieces(main: func.FuncOp, scope: Interpretation) -> bool:
    """Return each result that is several batches as so many pieces, each one batch; False if none is."""
    states = [scope.own_state(value) for value in scope.batch.program.body.returned]
    if not any(isinstance(state, Split) and state.blocks > 1 for state in states):
        return False
    _check_count(scope)
    terminator = list(body_of(main).operations)[-1].operation
    point = ir.InsertionPoint(terminator)
    returned, marks = list["ir.Value[ir.Type]"](), list[ir.DictAttr]()
    for value, state, own in zip(terminator.operands, states, result_attributes(main), strict=True):
        if not isinstance(state, Split) or state.blocks == 1:
            returned.append(value)
            marks.append(own)
            continue
        starts = _starts(value.type, state.dimension, state.blocks)
        returned += [_cut(value, state, start, point) for start, _ in starts]
        marks += _marked(own, [Piece(state.dimension, start, size) for start, size in starts])
    ir.Operation.create("func.return", [], returned, loc=terminator.location, ip=point)
    terminator.erase()
    signature = ir.FunctionType.get(type_of(main).inputs, [one.type for one in returned])
    main.attributes["function_type"] = ir.TypeAttr.get(signature)
    set_result_attributes(main, marks)
    return True


def _check_count(scope: Interpretation) -> None:
    program = scope.batch.program
    for value in program.body.returned:
        state, node, shape = scope.own_state(value), program.producers[value], program.shape(value)
        if isinstance(state, Split) and state.blocks > _MOST and node is not None:
            at, blocks = state.dimension, state.blocks
            what = (
                f"{described(node)} gives a result that is {blocks} batches one after another, and {_MOST} is the most"
            )
            apart = (*shape[:at], blocks, shape[at] // blocks, *shape[at + 1 :])
            remedy = f"give each its place in a dimension by .reshape{apart}, or set {scope.batch.uncut}"
            raise refuse(node.location, what, remedy)


def _starts(type_: ir.Type, dimension: int, blocks: int) -> list[tuple[int, int]]:
    """Where each block begins, and how long all of them are."""
    size = ir.RankedTensorType(type_).get_dim_size(dimension)
    return [(number * size // blocks, size) for number in range(blocks)]


def _marked(marks: ir.DictAttr, pieces: Sequence[Piece]) -> list[ir.DictAttr]:
    """The marks of each piece; of the whole if it is in none."""
    each = [ir.DictAttr.get({**named_attributes(marks), PIECE: piece.attribute()}) for piece in pieces]
    return each or [marks]


def _piece_type(type_: ir.Type, dimension: int, blocks: int) -> ir.Type:
    whole = ir.RankedTensorType(type_)
    return resized(whole, dimension, whole.get_dim_size(dimension) // blocks) if blocks > 1 else type_


def _joined(
    argument: "ir.Value[ir.Type]", dimension: int, pieces: Sequence["ir.BlockArgument[ir.Type]"]
) -> "ir.Value[ir.Type]":
    along: dict[str, ir.Attribute] = {"dimension": integer(dimension, bits=64)}
    point = ir.InsertionPoint(pieces[0].owner)
    made = ir.Operation.create(
        "stablehlo.concatenate", [argument.type], list(pieces), along, loc=argument.location, ip=point
    )
    whole: ir.Value[ir.Type] = made.results[0]
    return whole


def _cut(value: "ir.Value[ir.Type]", form: Split, start: int, point: ir.InsertionPoint) -> "ir.Value[ir.Type]":
    type_ = ir.RankedTensorType(_piece_type(value.type, form.dimension, form.blocks))
    starts = [start if one == form.dimension else 0 for one in range(type_.rank)]
    attributes: dict[str, ir.Attribute] = {
        "start_indices": ir.DenseI64ArrayAttr.get(starts),
        "limit_indices": ir.DenseI64ArrayAttr.get([a + b for a, b in zip(starts, type_.shape, strict=True)]),
        "strides": ir.DenseI64ArrayAttr.get([1] * type_.rank),
    }
    made = ir.Operation.create("stablehlo.slice", [type_], [value], attributes, loc=value.location, ip=point)
    piece: ir.Value[ir.Type] = made.results[0]
    return piece
