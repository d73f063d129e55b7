"""Writes the folded @main: loops over microbatches, and what stands around them."""

from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.local_block import LocalBlock, joined_type
from atoll.compiler.batch_rules.states import JOIN, SAME, Partial, Split, Version
from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.functions import (
    argument_attributes,
    body_of,
    empty_copy,
    named_attributes,
    result_attributes,
    set_argument_attributes,
    set_result_attributes,
)
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import BATCH, PARTS, PARTS_DIMENSION
from atoll.passes.time.folding.levels import Levels
from atoll.passes.time.folding.loops import FoldedLoop


def rewrite(module: ir.Module, scope: Interpretation, levels: Levels) -> None:
    """Replace @main by what was decided about it."""
    old = entry_function(module)
    program = scope.batch.program
    # A new function, as the old one is read until the last operation is made.
    new = _empty_copy(old, scope)
    block = body_of(new)
    outer = LocalBlock(program, scope.batch.rules, block)
    for value, argument in zip(program.body.arguments, block.arguments, strict=True):
        outer.values[value, scope.own_state(value)] = argument
    for number, entries in enumerate(levels.around):
        for entry in entries:
            if entry.completes is None:
                outer.make(entry)
            else:
                _complete(scope, outer, entry.completes)
        if number < len(levels.loops):
            _make_loop(scope, outer, levels.loops[number])
    returned = [outer.get((value, scope.own_state(value))) for value in program.body.returned]
    terminator = list(body_of(old).operations)[-1]
    outer.create("func.return", [], returned, terminator.location)
    old.operation.erase()


def _empty_copy(main: func.FuncOp, scope: Interpretation) -> func.FuncOp:
    program, parts = scope.batch.program, scope.batch.parts
    local = LocalBlock(program, {}, body_of(main))
    inputs: list[ir.Type] = [local.type_of(value, scope.own_state(value)) for value in program.body.arguments]
    results: list[ir.Type] = [local.type_of(value, scope.own_state(value)) for value in program.body.returned]
    copy = empty_copy(main, inputs, [one.location for one in body_of(main).arguments], results)
    arguments = [named_attributes(marks) for marks in argument_attributes(main)]
    for marks, value in zip(arguments, program.body.arguments, strict=True):
        if isinstance(scope.own_state(value), Split):
            marks[PARTS] = integer(parts)
        else:
            marks.pop(BATCH, None)  # what is prepared for the whole batch is taken whole
    set_argument_attributes(copy, [ir.DictAttr.get(marks) for marks in arguments])
    kept = [named_attributes(marks) for marks in result_attributes(main)]
    for marks, value in zip(kept, program.body.returned, strict=True):
        state = scope.own_state(value)
        if isinstance(state, Split):
            marks[PARTS] = integer(parts)
            marks[PARTS_DIMENSION] = integer(state.dimension)
    set_result_attributes(copy, [ir.DictAttr.get(marks) for marks in kept])
    return copy


def _make_loop(scope: Interpretation, outer: LocalBlock, loop: FoldedLoop) -> None:
    program = scope.batch.program
    location = program.body.block.owner.location
    initial, types = [], list[ir.Type]()
    for value in loop.sums:
        form = scope.completed[value]
        if isinstance(form, Split):
            type_ = joined_type(program.tensor(value), form)
        else:
            type_ = _accumulator(program.tensor(value), scope.batch.widens)
        types.append(type_)
        initial.append(outer.identity(_kind(form), type_, _producer_location(scope, value)))
    for value, own in loop.kept:
        type_ = outer.type_of(value, own)
        types.append(type_)
        # The loop wants an initial value, which nobody reads: each part stands by itself.
        initial.append(outer.identity("add", type_, _producer_location(scope, value)))
    attributes: dict[str, ir.Attribute] = {
        "iterations": ir.IntegerAttr.get(ir.IntegerType.get_unsigned(32), scope.batch.parts)
    }
    if loop.kept:
        attributes[PARTS] = ir.DenseI64ArrayAttr.get(list(range(len(loop.sums), len(types))))
    made = outer.create("mpmd.for", types, initial, location, attributes, regions=1)
    index = ir.RankedTensorType.get([], ir.IntegerType.get_unsigned(32))
    block = made.regions[0].blocks.append(*types, index, arg_locs=[location] * (len(types) + 1))
    inner = outer.inside(block, block.arguments[len(types)])
    _make_what_is_not_there(inner, loop)
    yielded = []
    for value, carried in zip(loop.sums, block.arguments, strict=False):
        form, here = scope.completed[value], _producer_location(scope, value)
        part = inner.get((value, form))
        if isinstance(form, Split):
            yielded.append(inner.join(carried, part, form, here))
        else:
            yielded.append(inner.combine(form.kind, carried, _converted(inner, part, carried.type, here), here))
    yielded += map(inner.get, loop.kept)
    inner.create("mpmd.return", [], yielded, location)
    # A total is known as such until what it stands for is made of it; `kept` may have parts of the same value.
    sums: list[Version] = [(value, _total(scope.completed[value])) for value in loop.sums]
    outer.values.update(zip((*sums, *loop.kept), made.results, strict=True))


def _make_what_is_not_there(inner: LocalBlock, loop: FoldedLoop) -> None:
    """The entries of a loop.

    Beside what it stands there for an operation may make again what an earlier loop has kept: rounded otherwise, that
    could contradict what has been made of it.
    """
    for entry in loop.entries:
        inner.make(entry)
        for version in entry.makes():
            if version in loop.taken:
                del inner.values[version]


def _kind(form: Partial | Split) -> str:
    return JOIN if isinstance(form, Split) else form.kind


def _total(form: Partial | Split) -> Partial:
    """The form of what a loop makes of all microbatches' parts."""
    return Partial(_kind(form))


def _complete(scope: Interpretation, outer: LocalBlock, value: int) -> None:
    """Make of the loop's total the value that the program knows: joined by what joins it once, and in its own type,
    which may be narrower than the accumulator's."""
    form = scope.completed[value]
    total = outer.get((value, _total(form)))
    location, type_ = _producer_location(scope, value), scope.batch.program.tensor(value)
    if isinstance(form, Split):
        outer.values[value, SAME] = (
            total if total.type == type_ else outer.one("stablehlo.reshape", type_, [total], location)
        )
        return
    base = scope.base_of(value)
    if base is not None:
        joined = outer.get((base, SAME))
        if ir.RankedTensorType(joined.type).rank != type_.rank:
            joined = outer.broadcast(joined, type_, location)
        joined = _converted(outer, joined, total.type, location)
        total = outer.combine(form.kind, joined, total, location)
    outer.values[value, SAME] = _converted(outer, total, type_, location)


def _converted(
    local: LocalBlock, value: "ir.Value[ir.Type]", type_: ir.Type, location: ir.Location
) -> "ir.Value[ir.Type]":
    return value if value.type == type_ else local.one("stablehlo.convert", type_, [value], location)


def _accumulator(type_: ir.RankedTensorType, widens: bool) -> ir.RankedTensorType:
    """The type in which a sum is accumulated: narrow floats lose too much when many parts are added up."""
    element = type_.element_type
    if not widens or not isinstance(element, ir.FloatType) or element.width >= 32:
        return type_
    return ir.RankedTensorType.get(list(type_.shape), ir.F32Type.get(), type_.encoding)


def _producer_location(scope: Interpretation, value: int) -> ir.Location:
    producer = scope.batch.program.producers[value]
    assert producer is not None
    return producer.location
