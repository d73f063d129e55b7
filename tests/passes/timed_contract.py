"""What a module of phase `timed` promises to the passes behind it, checked on its own: each breach is a sentence."""

from collections.abc import Iterator

from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import argument_attributes, body_of, operations_in, result_attributes, type_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import BATCH, PHASE
from untimed import PARTS, PARTS_DIMENSION, batch_arguments, batch_dimensions, kept_parts, loops_of, uses_within

# What an accumulator may be made with.
COMBINERS = (
    "stablehlo.add",
    "stablehlo.maximum",
    "stablehlo.minimum",
    "stablehlo.and",
    "stablehlo.or",
    "stablehlo.dynamic_update_slice",
)
COMBINERS_ALSO = (*COMBINERS, "stablehlo.multiply")

# What only moves data and stands in the one loop that uses it.
MOVERS = frozenset(f"stablehlo.{name}" for name in ("constant", "broadcast_in_dim", "transpose", "reshape", "iota"))


def breaches(module: ir.Module, microbatches: int) -> list[str]:
    """Everything in which a module differs from the contract for so many microbatches."""
    main = entry_function(module)
    return [*_of_signature(module, main, microbatches), *_of_values(main), *_of_loops(main, microbatches)]


def _of_signature(module: ir.Module, main: func.FuncOp, microbatches: int) -> Iterator[str]:
    phase = text_attribute(module.operation.attributes, PHASE)
    if phase != "timed":
        yield f"the phase is {phase}, not timed"
    signature = type_of(main)
    if list(signature.inputs) != [one.type for one in body_of(main).arguments]:
        yield "the argument types are not those of the block"
    if list(signature.results) != [one.type for one in _returned(main)]:
        yield "the result types are not those of what is returned"
    for index, marks in enumerate(argument_attributes(main)):
        if (BATCH in marks) != (PARTS in marks):
            yield f"argument {index} has only one of {BATCH} and {PARTS}"
        if PARTS in marks and not _is_count(marks[PARTS], microbatches):
            yield f"argument {index} has {marks[PARTS]} parts"
    yield from _of_results(main, microbatches)


def _of_results(main: func.FuncOp, microbatches: int) -> Iterator[str]:
    arguments, along = batch_arguments(main), batch_dimensions(main)
    loops = loops_of(main)
    parts = [*arguments, *(loop.operation.results[one] for loop in loops for one in kept_parts(loop))]
    for index, (value, marks) in enumerate(zip(_returned(main), result_attributes(main), strict=True)):
        if (PARTS in marks) != (PARTS_DIMENSION in marks):
            yield f"result {index} has only one of {PARTS} and {PARTS_DIMENSION}"
        if (PARTS in marks) != (value in parts):
            yield f"result {index} is marked as parts, or is parts, but not both"
        if PARTS in marks and not _is_count(marks[PARTS], microbatches):
            yield f"result {index} has {marks[PARTS]} parts"
        if PARTS_DIMENSION in marks:
            dimension, rank = marks[PARTS_DIMENSION], ir.RankedTensorType(value.type).rank
            if not _is_i32(dimension) or not 0 <= dimension.value < rank:
                yield f"result {index} has {PARTS_DIMENSION} = {dimension} and rank {rank}"
            elif value in arguments and dimension.value != along[value]:
                yield f"result {index} is a batch argument, which is split along dimension {along[value]}"


def _is_i32(attribute: ir.Attribute) -> bool:
    return isinstance(attribute, ir.IntegerAttr) and str(attribute.type) == "i32"


def _is_count(attribute: ir.Attribute, count: int) -> bool:
    return _is_i32(attribute) and attribute.value == count


def _returned(main: func.FuncOp) -> list[ir.Value]:
    return list(list(body_of(main).operations)[-1].operation.operands)


def _of_values(main: func.FuncOp) -> Iterator[str]:
    """What is one a microbatch is used where there is a microbatch; what one loop alone moves about stands in it."""
    loops = loops_of(main)
    if len(operations_in(main, mpmd.ForOp)) != len(loops):
        yield "a loop stands in another operation"
    for argument in batch_arguments(main):
        inside = [use for loop in loops for use in uses_within(argument, loop.operation)]
        returned = [use for use in argument.uses if use.owner.operation.name == "func.return"]
        if len(inside) + len(returned) != len(list(argument.uses)):
            yield f"batch argument {argument.arg_number} is used outside of loops"
    for loop in loops:
        for number in kept_parts(loop):
            result = loop.operation.results[number]
            inside = [use for other in loops for use in uses_within(result, other.operation)]
            returned = [use for use in result.uses if use.owner.operation.name == "func.return"]
            if not inside + returned or len(inside) + len(returned) != len(list(result.uses)):
                yield f"part result {number} of a loop is used outside of loops, or nowhere"
    for operation in body_of(main).operations:
        if operation.operation.name not in MOVERS:
            continue
        (result,) = operation.operation.results
        uses = len(list(result.uses))
        if any(uses and uses == len(list(uses_within(result, loop.operation))) for loop in loops):
            yield f"only one loop uses {_short(operation.operation)}, which stands before it"


def _of_loops(main: func.FuncOp, microbatches: int) -> Iterator[str]:
    loops = loops_of(main)
    for number, loop in enumerate(loops):
        yield from (f"loop {number}: {breach}" for breach in _of_loop(loop, microbatches))


def _of_loop(loop: mpmd.ForOp, microbatches: int) -> Iterator[str]:
    operation = loop.operation
    block = operation.regions[0].blocks[0]
    iterations = operation.attributes["iterations"]
    if str(iterations) != f"{microbatches} : ui32":
        yield f"it has {iterations} iterations"
    *carried, index = block.arguments
    if str(index.type) != "tensor<ui32>":
        yield f"its index is a {index.type}"
    yielded = list(list(block.operations)[-1].operation.operands)
    if not operation.results:
        yield "it has no results"
    kept = kept_parts(loop)
    if kept != sorted(set(kept)) or not set(kept) <= set(range(len(yielded))):
        yield f"it keeps the parts {kept} of {len(yielded)} results"
        return
    for number, (value, argument, initial) in enumerate(zip(yielded, carried, operation.operands, strict=True)):
        if not _splat(initial):
            yield f"the initial value of result {number} is no splat constant"
        elif number in kept:
            if list(argument.uses):
                yield f"the argument of part {number} is used"
            if not _stands_in(value, block):
                yield f"part {number} is not made in the loop"
        else:
            yield from _of_accumulator(number, value, argument, initial)


def _of_accumulator(number: int, value: ir.Value, argument: ir.Value, initial: ir.Value) -> Iterator[str]:
    uses = list(argument.uses)
    if len(uses) != 1 or isinstance(value.owner, ir.Block) or uses[0].owner.operation != value.owner.operation:
        yield f"accumulator {number} is not used exactly to make its next value"
        return
    combiner = value.owner.operation
    if combiner.name not in COMBINERS_ALSO:
        yield f"accumulator {number} is made with {combiner.name}"
        return
    if len(list(value.uses)) != 1:
        yield f"the next value of accumulator {number} is used elsewhere"
    kind = ir.RankedTensorType(value.type).element_type
    rounds = combiner.name in ("stablehlo.add", "stablehlo.multiply")
    if rounds and isinstance(kind, ir.FloatType) and kind.width < 32:
        yield f"accumulator {number} is a narrow {kind}"
    text = _splat(initial)
    if text is not None and not _is_neutral(text, combiner.name):
        yield f"accumulator {number} of {combiner.name} begins with {text}"


def _stands_in(value: ir.Value, block: ir.Block) -> bool:
    return not isinstance(value.owner, ir.Block) and value.owner.operation.block == block


def _splat(value: ir.Value) -> str | None:
    """The text of the constant that is in every place, or None."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.operation.name != "stablehlo.constant":
        return None
    if isinstance(ir.RankedTensorType(value.type).element_type, ir.ComplexType):
        # The bindings cannot read such an attribute.
        number = str(owner.operation).partition("dense<")[2].partition("> :")[0]
        return None if number.startswith(("[", '"')) else number
    attribute = owner.operation.attributes["value"]
    empty = 0 in ir.RankedTensorType(value.type).shape
    if not empty and not (isinstance(attribute, ir.DenseElementsAttr) and attribute.is_splat):
        return None
    return str(attribute).partition("<")[2].partition("> :")[0]


def _is_neutral(text: str, combiner: str) -> bool:
    """Whether a constant, as MLIR prints it, may begin an accumulation."""
    if not text or combiner in ("stablehlo.maximum", "stablehlo.minimum"):
        return True  # that it is least or greatest of its type is seen in the answers
    if combiner == "stablehlo.dynamic_update_slice":
        return text in ("-0.000000e+00", "0", "false", "(-0.000000e+00,-0.000000e+00)")
    zeros = ("0.000000e+00", "0", "false", "(0.000000e+00,0.000000e+00)")
    ones = ("1.000000e+00", "1", "true", "-1", "(1.000000e+00,0.000000e+00)")
    return text in (zeros if combiner in ("stablehlo.add", "stablehlo.or") else (*ones, *_ALL_ONES))


_ALL_ONES = tuple(str(2**bits - 1) for bits in (8, 16, 32, 64))


def _short(operation: ir.Operation) -> str:
    text = str(operation)
    return text if len(text) < 100 else text[:100] + "..."
