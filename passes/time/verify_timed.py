"""Pass `verify-timed`."""

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.states import JOIN, KIND_OF_CARRIED, identity
from atoll.compiler.mlir.attributes import integer_in, integers_in
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.constants import is_splat, is_value
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, body_of, operations_in, result_attributes
from atoll.compiler.module.graph import iterations_of, parts_of_loop
from atoll.compiler.module.interface import check_paths, parts_dimension
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marking import check_marks
from atoll.compiler.module.marks import (
    BATCH,
    PARTS,
    PARTS_DIMENSION,
    PHASE,
    PLAN,
)
from atoll.compiler.module.planned import plan_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.pipeline.pass_base import Pass


@dataclass(frozen=True)
class VerifyTimed(Pass):
    """Check that the module is in phase `timed`, and record it.

    Batch arguments and per-example results stand for as many parts as there are microbatches. Loops over microbatches
    stand in `@main`; what they carry is added up, or kept as a part of each microbatch, and nothing else goes from one
    microbatch to the next. What each microbatch has its own part of is used in loops and returned, and nowhere else.

    Requires: phase `stablehlo`.

        module attributes {atoll.phase = "stablehlo"} {...}
        ~~>
        module attributes {atoll.phase = "timed"} {...}
    """

    def run(self, module: ir.Module) -> None:
        main = entry_function(module)
        check_marks(module, "timed")
        check_paths(main, replicas_of(module))
        loops = [one for one in body_of(main).operations if isinstance(one, mpmd.ForOp)]
        for loop in operations_in(main, mpmd.ForOp):
            if loop not in loops:
                raise refuse(loop.location, "a loop over microbatches stands in another operation", "move it to @main")
        parts = _parts_of_arguments(main, bool(loops))
        if parts is None:  # the batch is whole, or it is prepared as one, and then cut in the loops
            parts = iterations_of(loops[0]) if loops else 1
        _check_plan(module, main, parts)
        for loop in loops:
            _check_loop(loop, parts)
        _check_uses(main, loops)
        _check_results(main, loops, parts)
        module.operation.attributes[PHASE] = ir.StringAttr.get("timed")


def _parts_of_arguments(main: func.FuncOp, has_loops: bool) -> int | None:
    """How many parts the batch arguments stand for; None if no argument is in parts."""
    parts: int | None = None
    for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
        name = f"argument {argument.arg_number}"
        if PARTS not in marks:
            if BATCH in marks and has_loops:
                raise refuse(argument.location, f"{name} carries the batch but has no {PARTS}", f"add {PARTS} to it")
            continue
        if BATCH not in marks:
            raise refuse(argument.location, f"{name} has {PARTS} but no {BATCH}", f"add {BATCH} to it")
        count = integer_in(marks, PARTS, argument.location)
        if count < 1 or parts not in (None, count):
            what = f"{name} has {count} parts" + (f", and another has {parts}" if parts is not None else "")
            raise refuse(argument.location, what, "give each batch argument one part a microbatch")
        parts = count
    return parts


def _check_plan(module: ir.Module, main: func.FuncOp, parts: int) -> None:
    if PLAN not in module.operation.attributes:
        return  # a module written by hand may have no plan, and so nothing to contradict
    plan = plan_of(module)
    planned, replicas = plan.microbatches, plan.replicas
    if parts % replicas or (parts > 1 and planned * replicas != parts):
        if parts == 1:
            raise refuse(
                main.location, f"the batch is whole, and the plan asks for {replicas} replicas", "run fold-batch"
            )
        of_each = f" in each of {replicas} replicas" if replicas > 1 else ""
        what = f"the batch is in {parts} parts, and the plan asks for {planned} microbatches{of_each}"
        remedy = f"write microbatches={parts // replicas} in the plan"
        if parts % replicas:
            remedy = f"write replicas that divide {parts}"
        raise refuse(main.location, what, remedy)


def _check_loop(loop: mpmd.ForOp, parts: int) -> None:
    operation = loop.operation
    iterations = iterations_of(loop)
    if iterations != parts:
        what = f"a loop has {iterations} iterations, and the batch is in {parts} parts"
        raise refuse(loop.location, what, f"write iterations = {parts} : ui32")
    block = operation.regions[0].blocks[0]
    yielded = list(list(block.operations)[-1].operation.operands)
    _check_parts(loop)
    kept = parts_of_loop(loop)
    for number, (value, argument, initial) in enumerate(
        zip(yielded, block.arguments, operation.operands, strict=False)
    ):
        if not _is_splat(initial):
            what = f"the initial value of result {number} is no splat constant"
            raise refuse(loop.location, what, "begin with what changes nothing, such as zeros")
        if number not in kept:
            _check_accumulator(loop, number, value, argument)
        elif list(argument.uses):
            what = f"result {number} is kept as parts, and the part before is used"
            raise refuse(loop.location, what, f"use only what is of one microbatch, or take it out of {PARTS}")
        elif not _is_made_in(value, block):
            what = f"result {number} is kept as parts, and not made in the loop"
            raise refuse(loop.location, what, "return it from @main directly")


def _check_accumulator(
    loop: mpmd.ForOp, number: int, value: "ir.Value[ir.Type]", argument: "ir.BlockArgument[ir.Type]"
) -> None:
    uses = list(argument.uses)
    maker = None if isinstance(value.owner, ir.Block) else value.owner.operation
    is_made_of_it = (
        len(uses) == 1 and maker is not None and uses[0].owner.operation == maker and _is_combined(maker, argument)
    )
    if maker is None or not is_made_of_it or maker.name not in KIND_OF_CARRIED:
        what = f"result {number} is neither kept as parts nor what was before, combined with something"
        remedy = "make it by one stablehlo.add, maximum, minimum, `and` or `or`, or write a part of it by one "
        remedy += "stablehlo.dynamic_update_slice, and use what was before nowhere else"
        raise refuse(loop.location, what, remedy)
    neutral = identity(KIND_OF_CARRIED[maker.name], ir.RankedTensorType(value.type))
    constant = loop.operation.operands[number].owner
    assert not isinstance(constant, ir.Block)
    if neutral is not None and not is_value(constant.operation, neutral):
        what = f"result {number} begins with something that {maker.name} does not leave as it is"
        raise refuse(loop.location, what, f"begin with {str(neutral).partition(' :')[0]}")


def _is_combined(maker: ir.Operation, argument: "ir.BlockArgument[ir.Type]") -> bool:
    """Whether what was before is combined with something, and not itself written into it."""
    return KIND_OF_CARRIED.get(maker.name) != JOIN or maker.operands[0] == argument


def _check_parts(loop: mpmd.ForOp) -> None:
    """The loop says in numbers of results which of them are kept as parts rather than carried on."""
    attributes = loop.operation.attributes
    numbers = integers_in(attributes, PARTS, loop.location) if PARTS in attributes else []
    count = len(loop.operation.results)
    if not set(numbers) <= set(range(count)):
        what = f"{PARTS} of a loop has {', '.join(map(str, numbers))}, and the loop has {count} results"
        raise refuse(loop.location, what, "name some of its results by their numbers, from 0 on")


def _check_uses(main: func.FuncOp, loops: Sequence[mpmd.ForOp]) -> None:
    """Parts of single microbatches are used in loops, and where they are returned, and nowhere else."""
    for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
        for use in argument.uses if PARTS in marks else ():
            owner = use.owner.operation
            if owner.name != "func.return" and not _stands_in_loop(owner, main):
                what = f"{owner.name} takes argument {argument.arg_number}, of which each microbatch has a part"
                raise refuse(owner.location, what, "move it into a loop")
    for loop in loops:
        for number in parts_of_loop(loop):
            for use in loop.operation.results[number].uses:
                user = use.owner.operation
                if user.name != "func.return" and not _stands_in_loop(user, main):
                    what = f"{user.name} takes result {number} of a loop, of which each microbatch has a part"
                    raise refuse(user.location, what, "move it into a loop")


def _stands_in_loop(operation: ir.Operation, main: func.FuncOp) -> bool:
    while operation.parent is not None and operation != main.operation:
        if operation.name == "mpmd.for":
            return True
        operation = operation.parent.operation
    return False


def _check_results(main: func.FuncOp, loops: Sequence[mpmd.ForOp], parts: int) -> None:
    in_parts: dict[ir.Value[ir.Type], int] = {
        argument: parts_dimension(marks)
        for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True)
        if PARTS in marks
    }
    kept = [loop.operation.results[number] for loop in loops for number in parts_of_loop(loop)]
    returned = list(body_of(main).operations)[-1]
    for number, (value, marks) in enumerate(zip(returned.operands, result_attributes(main), strict=True)):
        is_part = value in in_parts or value in kept
        if is_part != (PARTS in marks) or (PARTS in marks) != (PARTS_DIMENSION in marks):
            what = f"result {number} of @main {'is' if is_part else 'is not'} in parts, which its attributes deny"
            remedy = f"{'add' if is_part else 'remove'} {PARTS} and {PARTS_DIMENSION}"
            raise refuse(returned.location, what, remedy)
        if not is_part:
            continue
        count = integer_in(marks, PARTS, returned.location)
        dimension = integer_in(marks, PARTS_DIMENSION, returned.location)
        rank = ir.RankedTensorType(value.type).rank
        if count != parts or not 0 <= dimension < rank or dimension != in_parts.get(value, dimension):
            what = f"result {number} of @main has {count} parts along dimension {dimension}"
            raise refuse(returned.location, what, f"it has {parts}, along one of its {rank} dimensions")


def _is_splat(value: "ir.Value[ir.Type]") -> bool:
    if isinstance(value.owner, ir.Block) or value.owner.operation.name != "stablehlo.constant":
        return False
    return is_splat(value.owner.operation)


def _is_made_in(value: "ir.Value[ir.Type]", block: ir.Block) -> bool:
    return not isinstance(value.owner, ir.Block) and value.owner.operation.block == block
