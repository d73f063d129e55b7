"""Runs StableHLO by numpy, operation by operation: nothing is compiled, which is what takes the time for tiny programs.

A module is read once, into Python functions. What is not known here raises `UnknownError` while it is read, so that
the module can be compiled instead. `evaluated_operations` has what single operations do.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy
from atoll.compiler.mlir.bindings import PassManager, ir, new_context, stablehlo
from evaluated_devices import EXCHANGES, manual
from evaluated_operations import ELEMENTWISE, OTHERS
from evaluated_reading import UnknownError

Array = numpy.ndarray
Frame = dict[int, Any]  # the values of a function while it runs, by the number of the value

_RETURNS = ("func.return", "sdy.return", "stablehlo.return")


class Module:
    """The functions of a module, as Python functions of numpy arrays."""

    def __init__(self, bytecode: bytes) -> None:
        context = _context()
        with context, ir.Location.unknown():
            module = _parsed(bytecode, context)
            text_passes = "func.func(chlo-legalize-to-stablehlo),symbol-dce"
            PassManager.parse(f"builtin.module({text_passes})").run(module.operation)
            self._functions = {
                ir.StringAttr(one.attributes["sym_name"]).value: one.operation
                for one in module.body.operations
                if one.operation.name == "func.func"
            }
            self._read: dict[str, Callable[..., list[Array]]] = {}
            self._main = self.function("main")
            self._functions.clear()  # all that main calls have been read

    def __call__(self, *arguments: Array) -> list[Array]:
        with numpy.errstate(all="ignore"):
            return self._main(*arguments)

    def function(self, name: str) -> Callable[..., list[Array]]:
        if name not in self._read:
            self._read[name] = _Function(self, self._functions[name].regions[0].blocks[0]).call
        return self._read[name]


@functools.cache
def _context() -> ir.Context:
    return new_context()


def _parsed(bytecode: bytes, context: ir.Context) -> ir.Module:
    """Portable artifacts are of a version of their own."""
    if bytecode.startswith(b"ML\xefR\rStableHLO_v"):
        return stablehlo.deserialize_portable_artifact(context, bytecode)
    return ir.Module.parse(bytecode)


class _Function:
    """A block and the blocks inside of its operations, which share a frame."""

    def __init__(self, module: Module, block: ir.Block) -> None:
        self._module = module
        self._numbers: dict[ir.Value, int] = {}
        self._arguments = [self._new(one) for one in block.arguments]
        self._run = self.block(block)
        self._numbers.clear()  # they would keep the module alive

    def call(self, *arguments: Array) -> list[Array]:
        return self._run(dict(zip(self._arguments, arguments, strict=True)))

    def _new(self, value: ir.Value) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    def block(self, block: ir.Block) -> Callable[[Frame], list[Array]]:
        """Runs a block whose arguments are in the frame; returns what it returns."""
        *operations, end = block.operations
        if end.operation.name not in _RETURNS:
            raise UnknownError(end.operation.name)
        steps = [step for one in operations if (step := self._step(one.operation)) is not None]
        returned = [self._numbers[one] for one in end.operation.operands]

        def run(frame: Frame) -> list[Array]:
            for step in steps:
                step(frame)
            return [frame[one] for one in returned]

        return run

    def region(self, region: ir.Region) -> Callable[[Frame, Sequence[Array]], list[Array]]:
        """Runs a region with arguments; it sees what is around it."""
        (block,) = region.blocks
        arguments = [self._new(one) for one in block.arguments]
        run = self.block(block)

        def call(frame: Frame, given: Sequence[Array]) -> list[Array]:
            frame.update(zip(arguments, given, strict=True))
            return run(frame)

        return call

    def _step(self, operation: ir.Operation) -> Callable[[Frame], None] | None:
        name = operation.name
        if name == "sdy.mesh":
            return None
        operands = [self._numbers[one] for one in operation.operands]
        if name in ELEMENTWISE:
            return self._elementwise(operation, operands)
        make = _WITH_FRAME.get(name)
        compute = make(self, operation) if make else _without_frame(self, operation)
        results = [self._new(one) for one in operation.results]

        def step(frame: Frame) -> None:
            frame.update(zip(results, compute(frame, [frame[one] for one in operands]), strict=True))

        return step

    def _elementwise(self, operation: ir.Operation, operands: list[int]) -> Callable[[Frame], None]:
        """Most operations: one result, from one or two operands."""
        compute = ELEMENTWISE[operation.name](operation)
        result = self._new(operation.results[0])
        if len(operands) == 1:
            (one,) = operands

            def step(frame: Frame) -> None:
                frame[result] = compute(frame[one])
        elif len(operands) == 2:
            first, second = operands

            def step(frame: Frame) -> None:
                frame[result] = compute(frame[first], frame[second])
        else:

            def step(frame: Frame) -> None:
                frame[result] = compute(*[frame[one] for one in operands])

        return step

    def called(self, name: str) -> Callable[..., list[Array]]:
        return self._module.function(name)


Compute = Callable[[Frame, list[Array]], Sequence[Array]]


def _without_frame(function: _Function, operation: ir.Operation) -> Compute:
    """An operation whose regions, if it has any, are given a few values and see little around them."""
    if operation.name not in OTHERS:
        raise UnknownError(operation.name)
    regions = [function.region(one) for one in operation.regions]
    make = OTHERS[operation.name](operation)
    if not regions:
        return lambda _, operands: make(operands)
    return lambda frame, operands: make(operands, *(functools.partial(one, frame) for one in regions))


def _while(function: _Function, operation: ir.Operation) -> Compute:
    condition, body = map(function.region, operation.regions)

    def compute(frame: Frame, carried: list[Array]) -> list[Array]:
        while condition(frame, carried)[0]:
            carried = body(frame, carried)
        return carried

    return compute


def _case(function: _Function, operation: ir.Operation) -> Compute:
    """An index that names no branch means the last one."""
    branches = [function.region(one) for one in operation.regions]

    def compute(frame: Frame, operands: list[Array]) -> list[Array]:
        index = int(operands[0])
        return branches[index if 0 <= index < len(branches) else -1](frame, ())

    return compute


def _if(function: _Function, operation: ir.Operation) -> Compute:
    yes, no = map(function.region, operation.regions)
    return lambda frame, operands: (yes if operands[0] else no)(frame, ())


def _call(function: _Function, operation: ir.Operation) -> Compute:
    callee = function.called(ir.FlatSymbolRefAttr(operation.attributes["callee"]).value)
    return lambda _, operands: callee(*operands)


def _manual(function: _Function, operation: ir.Operation) -> Compute:
    """Each device has a frame of its own."""
    part, run = function.region(operation.regions[0]), manual(operation)
    return lambda frame, operands: run(lambda own: part(dict(frame), own), operands)


def _exchange(function: _Function, operation: ir.Operation) -> Compute:
    run = EXCHANGES[operation.name](operation)
    regions = [function.region(one) for one in operation.regions]
    return lambda frame, operands: run(operands, functools.partial(regions[0], frame) if regions else None)


def _composite(function: _Function, operation: ir.Operation) -> Compute:
    callee = function.called(ir.FlatSymbolRefAttr(operation.attributes["decomposition"]).value)
    return lambda _, operands: callee(*operands)


_WITH_FRAME: dict[str, Callable[[_Function, ir.Operation], Compute]] = {
    "stablehlo.while": _while,
    "stablehlo.case": _case,
    "stablehlo.if": _if,
    "stablehlo.composite": _composite,
    "sdy.manual_computation": _manual,
    **dict.fromkeys(EXCHANGES, _exchange),
    "func.call": _call,
    "call": _call,
}
