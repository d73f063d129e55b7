"""Pass `inline-calls`."""

import itertools
import logging
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import functions_in, is_private, operations_in
from atoll.compiler.mlir.locations import frames, unframed, within_call
from atoll.compiler.pipeline.pass_base import Pass

log = logging.getLogger(__name__)

_Calls = dict[str, list[func.CallOp]]
_Frames = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class InlineCalls(Pass):
    """Replace every call by the body of the function that it calls.

    The copied operations keep their own frames and get the call site's name stack in front of theirs. Private functions
    that were called stay behind; `symbol-dce` removes them.

    A function that jax's own rules call (the slicing of a scan) is traced once, with the frames of the first line that
    needed it. Such frames, which are those of one of the function's calls, are left out: every call brings its own.

    Requires: no recursion; every callee is defined in the module and has one block.

        func.func @main(%x) { %y = call @relu(%x) loc("layer_1/jit(relu)"); return %y }
        func.func private @relu(%x) { %y = maximum %x, %zero loc("max"); return %y }
        ~~>
        func.func @main(%x) { %y = maximum %x, %zero loc("layer_1/jit(relu)/max"); return %y }
    """

    def run(self, module: ir.Module) -> None:
        functions = functions_in(module)
        calls = {name: operations_in(function, func.CallOp) for name, function in functions.items()}
        if not any(calls.values()):
            log.info("nothing to do: the module has no calls")
            return
        for caller in calls:
            for call in calls[caller]:
                _check_body(call, functions[_callee(call)])
        _check_no_recursion(calls)
        called = {_callee(call) for caller in calls for call in calls[caller]}
        _leave_out_borrowed_frames(calls, functions)
        for name, function in functions.items():
            if name not in called or not is_private(function):
                _flatten(calls[name], functions)


def _callee(call: func.CallOp) -> str:
    return ir.FlatSymbolRefAttr(call.attributes["callee"]).value


def _check_body(call: func.CallOp, callee: func.FuncOp) -> None:
    blocks = len(list(callee.regions[0].blocks))
    if not blocks:
        raise refuse(call.location, f"@{_callee(call)} is called but has no body", "define it in this module")
    if blocks > 1:
        raise refuse(call.location, f"@{_callee(call)} has {blocks} blocks", "use structured control flow")


def _check_no_recursion(calls: _Calls) -> None:
    """Depth first, on a stack of our own: a chain of calls may be deeper than Python's stack."""
    finished: set[str] = set()
    for root in calls:
        chain = {root: iter(calls[root])} if root not in finished else {}
        while chain:
            caller = next(reversed(chain))
            call = next(chain[caller], None)
            if call is None:
                finished.add(caller)
                del chain[caller]
            elif _callee(call) in chain:
                raise refuse(call.location, f"@{_callee(call)} calls itself", "write the recursion as a loop")
            elif _callee(call) not in finished:
                chain[_callee(call)] = iter(calls[_callee(call)])


def _leave_out_borrowed_frames(calls: _Calls, functions: dict[str, func.FuncOp]) -> None:
    """Take from the operations of each function the frames that a call of the function has itself."""
    of_calls: dict[str, set[_Frames]] = {}
    for call in itertools.chain.from_iterable(calls.values()):
        of_calls.setdefault(_callee(call), set()).add(_frames(call))
    borrowed = [
        operation
        for name, known in of_calls.items()
        for operation in operations_in(functions[name], ir.OpView)
        if _begins_one_of(_frames(operation), known)
    ]
    for operation in borrowed:
        operation.operation.location = unframed(operation.location)


def _frames(operation: ir.OpView) -> _Frames:
    """The frames, innermost first, in a form that can be compared."""
    return tuple((one.filename, one.start_line, one.start_col) for one in frames(operation.location))


def _begins_one_of(some: _Frames, known: set[_Frames]) -> bool:
    """Whether these are the innermost frames of a call; those further out belong to the trace around it."""
    return bool(some) and any(some == one[: len(some)] for one in known)


def _flatten(calls: list[func.CallOp], functions: dict[str, func.FuncOp]) -> None:
    """Inline the calls, and those that their callees bring along.

    From the outside in, so that every operation is copied once, and locations share what they have in common: the
    callers.
    """
    pending = list(calls)
    while pending:
        call = pending.pop()
        # A copy even for the last call: only MLIR knows what else names the callee, such as a custom call.
        pending += _inline(call, functions[_callee(call)].operation.clone(ip=False))


def _inline(call: func.CallOp, callee: ir.Operation) -> list[func.CallOp]:
    """Move the body of the callee, a copy, in front of the call, and erase both; return the calls in the body."""
    block = callee.regions[0].blocks[0]
    for argument, operand in zip(list(block.arguments), list(call.operands), strict=True):
        argument.replace_all_uses_with(operand)
    *body, terminator = list(block.operations)
    moved: list[ir.OpView] = []
    for operation in body:
        operation.operation.move_before(call.operation)
        moved += operations_in(operation, ir.OpView)
    for inner in moved:
        inner.operation.location = within_call(inner.location, call.location)
    for result, value in zip(list(call.results), list(terminator.operands), strict=True):
        result.replace_all_uses_with(value)
    call.operation.erase()
    callee.erase()
    return [inner for inner in moved if isinstance(inner, func.CallOp)]
