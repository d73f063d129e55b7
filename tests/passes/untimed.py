"""Turns a module of phase `timed` back into plain StableHLO on the whole batch, so that it can be executed.

Every `mpmd.for` becomes a `stablehlo.while`. A batch argument takes the whole batch, of which each iteration slices its
part; a part result is the whole array, into which each iteration writes its part, and of which iterations of later
loops slice theirs.
"""

from collections.abc import Iterator, Sequence

from atoll.compiler.mlir.bindings import func, ir, mpmd, stablehlo
from atoll.compiler.mlir.functions import (
    argument_attributes,
    arguments_of,
    body_of,
    named_attributes,
    result_attributes,
    set_argument_attributes,
    set_result_attributes,
)
from atoll.compiler.module.interface import Piece, numbers_by_path, piece_of
from atoll.compiler.module.marks import PIECE

BATCH = "atoll.batch"
PARTS = "atoll.parts"
PARTS_DIMENSION = "atoll.parts_dimension"


def untime(main: func.FuncOp) -> None:
    """Rewrite `@main` in place."""
    with main.context, ir.Location.unknown():
        batch = batch_arguments(main)
        along = batch_dimensions(main)
        for loop in loops_of(main):
            along.update(_to_while(main, loop, along))
        for argument, parts in batch.items():
            argument.set_type(_grown(argument.type, batch_dimensions(main)[argument], parts))
        _join_pieces(main)
        inputs = [argument.type for argument in arguments_of(main)]
        returned = list(body_of(main).operations)[-1].operation.operands
        signature = ir.FunctionType.get(inputs, [one.type for one in returned])
        main.attributes["function_type"] = ir.TypeAttr.get(signature)


def _join_pieces(main: func.FuncOp) -> None:
    """Make one argument, or one result, of the pieces of each."""
    block, marks = body_of(main), argument_attributes(main)
    inside = ir.InsertionPoint.at_block_begin(block)
    for pieces in numbers_by_path(marks).values():
        if PIECE in marks[pieces[0]]:
            taken = [block.arguments[number] for number in pieces]
            whole = block.add_argument(_like_pieces(taken[0].type, marks[pieces[0]]), ir.Location.unknown())
            marks.append(_without_piece(marks[pieces[0]]))
            for number, one in zip(pieces, taken, strict=True):
                one.replace_all_uses_with(_sliced(whole, one.type, piece_of(marks[number]), inside))
    for number in reversed(range(len(marks))):
        if PIECE in marks[number]:
            block.erase_argument(number)
            del marks[number]
    set_argument_attributes(main, marks)
    end, marks = list(block.operations)[-1].operation, result_attributes(main)
    returned, kept = [], []
    with ir.InsertionPoint(end):
        for numbers in numbers_by_path(marks).values():
            values, own = [end.operands[number] for number in numbers], marks[numbers[0]]
            if PIECE in own:
                values = [_concatenated(values, piece_of(own).dimension, _like_pieces(values[0].type, own))]
            returned += values
            kept.append(_without_piece(own))
        ir.Operation.create("func.return", [], returned)
    end.erase()
    set_result_attributes(main, kept)


def _like_pieces(type_: ir.Type, marks: ir.DictAttr) -> ir.Type:
    """The type of the whole of which there is a piece."""
    piece, shape = piece_of(marks), list(ir.RankedTensorType(type_).shape)
    shape[piece.dimension] = piece.whole
    return ir.RankedTensorType.get(shape, ir.RankedTensorType(type_).element_type)


def _without_piece(marks: ir.DictAttr) -> ir.DictAttr:
    return ir.DictAttr.get({name: one for name, one in named_attributes(marks).items() if name != PIECE})


def _sliced(whole: ir.Value, type_: ir.Type, piece: Piece, point: ir.InsertionPoint) -> ir.Value:
    shape = ir.RankedTensorType(type_).shape
    starts = [piece.start if one == piece.dimension else 0 for one in range(len(shape))]
    attributes = {
        "start_indices": ir.DenseI64ArrayAttr.get(starts),
        "limit_indices": ir.DenseI64ArrayAttr.get([one + size for one, size in zip(starts, shape, strict=True)]),
        "strides": ir.DenseI64ArrayAttr.get([1] * len(shape)),
    }
    return ir.Operation.create("stablehlo.slice", [type_], [whole], attributes, ip=point).results[0]


def loops_of(main: func.FuncOp) -> list[mpmd.ForOp]:
    return [one for one in body_of(main).operations if isinstance(one, mpmd.ForOp)]


def batch_arguments(main: func.FuncOp) -> dict[ir.Value, int]:
    """The arguments of which there is one a microbatch, and how many of each."""
    marked = zip(arguments_of(main), argument_attributes(main), strict=True)
    return {argument: marks[PARTS].value for argument, marks in marked if PARTS in marks}


def batch_dimensions(main: func.FuncOp) -> dict[ir.Value, int]:
    """The dimension of each of these arguments that has the batch."""
    marked = zip(arguments_of(main), argument_attributes(main), strict=True)
    return {argument: _batch_dimension(marks) for argument, marks in marked if PARTS in marks}


def _batch_dimension(marks: ir.DictAttr) -> int:
    has_number = BATCH in marks and isinstance(marks[BATCH], ir.IntegerAttr)
    return marks[BATCH].value if has_number else 0


def part_results(main: func.FuncOp) -> dict[int, int]:
    """The results of which there is one a microbatch, and the dimension along which they are concatenated."""
    marked = enumerate(result_attributes(main))
    return {index: marks[PARTS_DIMENSION].value for index, marks in marked if PARTS in marks}


def kept_parts(loop: mpmd.ForOp) -> list[int]:
    """The results of a loop that are parts, not accumulators."""
    attributes = loop.operation.attributes
    return list(ir.DenseI64ArrayAttr(attributes[PARTS])) if PARTS in attributes else []


def uses_within(value: ir.Value, operation: ir.Operation) -> Iterator[ir.OpOperand]:
    """The uses of a value by what stands inside of an operation."""
    for use in list(value.uses):
        around = use.owner.operation.parent
        while around is not None and around.name != "func.func":
            if around == operation:
                yield use
                break
            around = around.parent


def _to_while(main: func.FuncOp, loop: mpmd.ForOp, along: dict[ir.Value, int]) -> dict[ir.Value, int]:
    """Rewrite a loop. along: the dimension along which each value is in parts; returns those of the loop's results."""
    operation, inside = loop.operation, loop.operation.regions[0].blocks[0]
    count = ir.IntegerAttr(operation.attributes["iterations"]).value
    dimensions = _parts_dimensions(main, loop)
    index_type = ir.RankedTensorType.get([], ir.IntegerType.get_unsigned(32))
    with ir.InsertionPoint(operation):
        initial = list(operation.operands)
        for number, dimension in dimensions.items():
            initial[number] = _concatenated([initial[number]] * count, dimension)
        types = [index_type, *(one.type for one in initial)]
        made = ir.Operation.create("stablehlo.while", types, [_number(0), *initial], regions=2)
    places = [ir.Location.unknown()] * len(types)
    condition = made.regions[0].blocks.append(*types, arg_locs=places)
    with ir.InsertionPoint(condition):
        direction = stablehlo.ComparisonDirectionAttr.get("LT")
        stablehlo.return_([stablehlo.compare(condition.arguments[0], _number(count), direction)])
    body = made.regions[1].blocks.append(*types, arg_locs=places)
    index, *carried = body.arguments
    with ir.InsertionPoint(body):
        for argument, dimension in along.items():
            uses = list(uses_within(argument, operation))
            part = _part(argument, _type_of_part(argument, dimension, count), index, dimension) if uses else None
            for use in uses:
                use.owner.operation.operands[use.operand_number] = part
        for old, new in zip(inside.arguments, (*carried, index), strict=True):
            old.replace_all_uses_with(new)
        *moved, end = list(inside.operations)
        results = list(end.operation.operands)
        after = stablehlo.add(index, _number(1))
        for one in moved:
            one.operation.move_before(after.owner)
        for number, dimension in dimensions.items():
            results[number] = _written(carried[number], results[number], dimension, index)
        stablehlo.return_([after, *results])
    for old, new in zip(operation.results, list(made.results)[1:], strict=True):
        old.replace_all_uses_with(new)
    operation.erase()
    return {made.results[number + 1]: dimension for number, dimension in dimensions.items()}


def _parts_dimensions(main: func.FuncOp, loop: mpmd.ForOp) -> dict[int, int]:
    """Along which dimension each part result of a loop is concatenated, by the number among the loop's results."""
    returned = list(list(body_of(main).operations)[-1].operation.operands)
    results = list(loop.operation.results)
    found = dict.fromkeys(kept_parts(loop), 0)
    for index, dimension in part_results(main).items():
        if returned[index] in results:
            found[results.index(returned[index])] = dimension
    return found


def _type_of_part(value: ir.Value, dimension: int, count: int) -> ir.RankedTensorType:
    """An argument's type is still that of the part; what a loop made has that of the whole."""
    tensor = ir.RankedTensorType(value.type)
    if isinstance(value, ir.BlockArgument):
        return tensor
    shape = list(tensor.shape)
    shape[dimension] //= count
    return ir.RankedTensorType.get(shape, tensor.element_type)


def _part(whole: ir.Value, type_: ir.RankedTensorType, index: ir.Value, dimension: int) -> ir.Value:
    """An iteration's slice of the whole array."""
    starts = _starts(type_.shape, dimension, index)
    attributes = {"slice_sizes": ir.DenseI64ArrayAttr.get(type_.shape)}
    made = ir.Operation.create("stablehlo.dynamic_slice", [type_], [whole, *starts], attributes)
    return made.results[0]


def _written(whole: ir.Value, part: ir.Value, dimension: int, index: ir.Value) -> ir.Value:
    starts = _starts(ir.RankedTensorType(part.type).shape, dimension, index)
    return ir.Operation.create("stablehlo.dynamic_update_slice", [whole.type], [whole, part, *starts]).results[0]


def _starts(sizes: Sequence[int], dimension: int, index: ir.Value) -> list[ir.Value]:
    starts = [_number(0) for _ in sizes]
    starts[dimension] = stablehlo.multiply(index, _number(sizes[dimension]))
    return starts


def _concatenated(values: Sequence[ir.Value], dimension: int, type_: ir.Type | None = None) -> ir.Value:
    grown = type_ or _grown(values[0].type, dimension, len(values))
    attributes = {"dimension": ir.IntegerAttr.get(ir.IntegerType.get_signless(64), dimension)}
    return ir.Operation.create("stablehlo.concatenate", [grown], values, attributes).results[0]


def _grown(part: ir.Type, dimension: int, parts: int) -> ir.Type:
    tensor = ir.RankedTensorType(part)
    shape = list(tensor.shape)
    shape[dimension] *= parts
    return ir.RankedTensorType.get(shape, tensor.element_type)


def _number(value: int) -> ir.Value:
    tensor = ir.RankedTensorType.get([], ir.IntegerType.get_unsigned(32))
    dense = ir.DenseElementsAttr.get_splat(tensor, ir.IntegerAttr.get(tensor.element_type, value))
    return ir.Operation.create("stablehlo.constant", [tensor], [], {"value": dense}).results[0]
