"""What each argument and result of `@main` is to the caller: a whole, or parts, a piece or a share of one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate

from atoll.compiler.mlir.attributes import integer_in, text_attribute
from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import argument_attributes, result_attributes, type_of
from atoll.compiler.module.marks import BATCH, PARTS, PARTS_DIMENSION, PATH, PIECE, SHARE
from atoll.compiler.module.mesh_types import local_type


@dataclass(frozen=True, order=True)
class Piece:
    """Where an argument or a result that is only some of a whole begins in it: some layers of a parameter, say."""

    dimension: int
    start: int
    whole: int

    def attribute(self) -> ir.DenseI64ArrayAttr:
        """The value of the mark `PIECE`."""
        return ir.DenseI64ArrayAttr.get([self.dimension, self.start, self.whole])


def parts_of(marks: ir.DictAttr) -> int | None:
    """How many parts an argument or a result has, one for each microbatch; None if it is whole."""
    return ir.IntegerAttr(marks[PARTS]).value if PARTS in marks else None


def piece_of(marks: ir.DictAttr) -> Piece | None:
    """Which piece an argument or a result is; None if it is not one of several."""
    return Piece(*ir.DenseI64ArrayAttr(marks[PIECE])) if PIECE in marks else None


def share_of(marks: ir.DictAttr) -> int | None:
    """The dimension along which replicas divide an argument or result, each with one share; None if every replica has
    all of it."""
    return ir.IntegerAttr(marks[SHARE]).value if SHARE in marks else None


def numbers_by_path(attributes: Sequence[ir.DictAttr]) -> dict[str, list[int]]:
    """For each path the numbers of the arguments, or results, that have it: several if it is in pieces, in order."""
    found: dict[str, list[int]] = {}
    for number, marks in enumerate(attributes):
        found.setdefault(text_attribute(marks, PATH) or "", []).append(number)
    for numbers in found.values():
        if len(numbers) > 1:
            numbers.sort(key=lambda number: piece_of(attributes[number]) or Piece(0, 0, 0))
    return found


def batch_dimension(marks: ir.DictAttr) -> int | None:
    """The dimension along which an argument has the batch; None if it has none."""
    if BATCH not in marks:
        return None
    return ir.IntegerAttr(marks[BATCH]).value if isinstance(marks[BATCH], ir.IntegerAttr) else 0


def parts_dimension(marks: ir.DictAttr) -> int:
    """The dimension along which the parts of an argument or result make up the whole."""
    return ir.IntegerAttr(marks[PARTS_DIMENSION]).value if PARTS_DIMENSION in marks else batch_dimension(marks) or 0


def whole_shape(shape: Sequence[int], marks: ir.DictAttr, replicas: int) -> list[int]:
    """The shape of an argument or result as callers see it: with all its parts, pieces or shares."""
    piece, share, parts = piece_of(marks), share_of(marks), parts_of(marks)
    whole = list(shape)
    if share is not None:
        whole[share] *= replicas
    if parts is not None:
        whole[parts_dimension(marks)] *= parts
    if piece is not None:
        whole[piece.dimension] = piece.whole
    return whole


def start_in_whole(shape: Sequence[int], marks: ir.DictAttr, part: int) -> tuple[int, ...]:
    """Where one part of an argument or result begins in the whole that callers see.

    part: the number of a microbatch, if the marks say that there are parts, or of a replica, if there are shares.
    """
    piece, share = piece_of(marks), share_of(marks)
    start = [0] * len(shape)
    if piece is not None:
        start[piece.dimension] = piece.start
    if share is not None:
        start[share] += part * shape[share]
    elif PARTS in marks:  # nothing has both: `_check_share`
        start[parts_dimension(marks)] += part * shape[parts_dimension(marks)]
    return tuple(start)


def check_paths(main: func.FuncOp, replicas: int = 1) -> None:
    """Refuse arguments and results without a pytree path, and two arguments or two results with the same one.

    Only pieces of one value share a path, and together they are the whole.
    """
    check_pieces(main, replicas)
    for kind, attributes in (("argument", argument_attributes(main)), ("result", result_attributes(main))):
        for index, marks in enumerate(attributes):
            if text_attribute(marks, PATH) is None:
                raise refuse(main.location, f"{kind} {index} of @main has no {PATH}", f'add {{{PATH} = "..."}}')
        for path, numbers in numbers_by_path(attributes).items():
            if len(numbers) > 1 and any(PIECE not in attributes[number] for number in numbers):
                one, other, *_ = sorted(numbers)
                what = f"{kind}s {one} and {other} of @main are both {path}"
                raise refuse(main.location, what, f"give each its own {PATH}")


def check_pieces(main: func.FuncOp, replicas: int = 1) -> None:
    """Refuse malformed marks of pieces and shares, and pieces that together are not the whole."""
    inputs, results = type_of(main).inputs, type_of(main).results
    _check_pieces(main, "argument", list(inputs), argument_attributes(main), replicas)
    _check_pieces(main, "result", list(results), result_attributes(main), replicas)


def _check_pieces(
    main: func.FuncOp, kind: str, types: Sequence[ir.Type], attributes: Sequence[ir.DictAttr], replicas: int
) -> None:
    for index, marks in enumerate(attributes):
        if SHARE in marks:
            _check_share(main, f"{kind} {index} of @main", marks, types[index], replicas)
        if PIECE in marks:
            _check_piece(main, f"{kind} {index} of @main", marks, types[index])
    for path, numbers in numbers_by_path(attributes).items():
        pieces = [(number, piece) for number in numbers if (piece := piece_of(attributes[number]))]
        if len(pieces) == len(numbers):
            sizes = [_size(_tensor(types[number]), attributes[number], piece, replicas) for number, piece in pieces]
            names = ", ".join(str(number) for number, _ in pieces)
            _check_cover(main, f"{kind}s {names} of @main, pieces of {path},", [piece for _, piece in pieces], sizes)


def _size(type_: ir.RankedTensorType, marks: ir.DictAttr, piece: Piece, replicas: int) -> int:
    """How much of the whole a piece is; of one that replicas or microbatches divide, the type is that of one share or
    part."""
    times = replicas if share_of(marks) == piece.dimension else parts_of(marks) or 1
    return type_.shape[piece.dimension] * times


def _check_cover(main: func.FuncOp, name: str, pieces: Sequence[Piece], sizes: Sequence[int]) -> None:
    """Each piece begins where the one before ends, and they end with the whole."""
    first, *_ = pieces
    starts = accumulate(sizes, initial=0)
    # With one more, which begins where the last ends: compared with the end of the whole, it checks that end too.
    wanted = [Piece(first.dimension, start, first.whole) for start in starts]
    if [*pieces, Piece(first.dimension, first.whole, first.whole)] != wanted:
        ranges = [f"{one.start}..{one.start + size}" for one, size in zip(pieces, sizes, strict=True)]
        what = f"{name} are {', '.join(ranges)} of {first.whole} along dimension {first.dimension}"
        raise refuse(main.location, what, f"let each begin where the one before ends, up to {first.whole}")


def _check_piece(main: func.FuncOp, name: str, marks: ir.DictAttr, type_: ir.Type) -> None:
    """A piece says what it is, along a dimension that it has. If it has parts, one for each microbatch, these are cut
    along the same dimension."""
    attribute = marks[PIECE]
    if not isinstance(attribute, ir.DenseI64ArrayAttr) or len(attribute) != len(fields(Piece)):
        remedy = f"write {PIECE} = array<i64: DIMENSION, START, WHOLE>"
        raise refuse(main.location, f"{PIECE} of {name} is {attribute}", remedy)
    dimension = Piece(*attribute).dimension
    if not 0 <= dimension < _tensor(type_).rank:
        what = f"{name} is a piece along dimension {dimension}, and is {_tensor(type_)}"
        raise refuse(main.location, what, "name a dimension that it has")
    for name_ in (PARTS, PARTS_DIMENSION):
        if name_ in marks:
            integer_in(marks, name_, main.location)
    if PARTS in marks and dimension != parts_dimension(marks):
        what = f"{name} is a piece along dimension {dimension}, and has parts along {parts_dimension(marks)}"
        raise refuse(main.location, what, f"take {PARTS} or {PIECE} away")


def _check_share(main: func.FuncOp, name: str, marks: ir.DictAttr, type_: ir.Type, replicas: int) -> None:
    """A share is one of several, along a dimension that it has. It has no parts, one for each microbatch."""
    attribute, rank = marks[SHARE], _tensor(type_).rank
    if not isinstance(attribute, ir.IntegerAttr) or not 0 <= attribute.value < rank:
        what = f"{SHARE} of {name}, which is {_tensor(type_)}, is {attribute}"
        raise refuse(main.location, what, f"write {SHARE} = DIMENSION : i32, a dimension that it has")
    if PARTS in marks:
        raise refuse(main.location, f"{name} has both {PARTS} and {SHARE}", "take one of them away")
    if replicas == 1:
        raise refuse(main.location, f"{name} is a share, and there is but one replica", f"take {SHARE} away")


def _tensor(type_: ir.Type) -> ir.RankedTensorType:
    return ir.RankedTensorType(local_type(type_))
