"""Which memory each value between tasks is in: that of the chips, or that of the host, where the user puts some.

A value that is in one buffer has one memory, whatever different tasks call it. So values are put into groups, and what
is said of one of a group holds for all: it is in the host's memory if an argument or a result of the program is to be
there, by the user's shardings or by the plan, or if every task that makes it puts it there. A value that comes from
another island, and what replicas exchange, is in the memory of the chips.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field

from atoll.compiler.errors import CompileError, PlanError
from atoll.compiler.mlir.bindings import func, ir, mpmd, stablehlo
from atoll.compiler.mlir.functions import (
    argument_attributes,
    arguments_of,
    body_of,
    operations_in,
    result_attributes,
)
from atoll.compiler.mlir.locations import place
from atoll.compiler.mlir.memory_kinds import HOST, annotated_kind, is_annotation
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import ON_HOST, PATH
from atoll.compiler.module.planned import plan_of
from atoll.compiler.module.tasks import (
    calls_in,
    code_name,
    dataflow_functions,
    exchanges_in,
    fragment_functions,
    microbatch_call,
    microbatch_name,
)
from atoll.compiler.plan.scope_patterns import ScopePatterns, path_components
from atoll.compiler.plan.stage_text import StageText
from atoll.compiler.text.language import known_names

_Value = ir.Value[ir.Type]

# What a value is followed through to what puts it into a memory: all of these leave it where it is. A loop stacks what
# its iterations make by updates of slices, to which `broadcast_in_dim` gives a dimension more.
_FOLLOWED = (
    stablehlo.BroadcastInDimOp,
    stablehlo.DynamicUpdateSliceOp,
    stablehlo.OptimizationBarrierOp,
    stablehlo.ReshapeOp,
    stablehlo.WhileOp,
)


@dataclass
class Memories:
    """Which values are in the host's memory, asked by a value of a dataflow function, or a result of a fragment."""

    _above: dict[Hashable, Hashable] = field(default_factory=dict)
    _asked: dict[Hashable, bool] = field(default_factory=dict)  # of arguments and results of the program: on the host
    _made: dict[Hashable, bool] = field(default_factory=dict)  # whether all that tasks make of a group is put there
    _exchanged: set[Hashable] = field(default_factory=set)
    _planned: set[Hashable] = field(default_factory=set)  # of which the function does not know

    @classmethod
    def of(cls, module: ir.Module) -> "Memories":
        """CompileError if a value is to be in both."""
        found, fragments, flows = cls(), fragment_functions(module), dataflow_functions(module)
        offload = plan_of(module).on_host
        if not offload and not any(map(_speaks_of_the_host, [*fragments.values(), flows["main"]])):
            return found
        for name, function in fragments.items():
            *_, returning = body_of(function).operations
            for number, value in enumerate(returning.operation.operands):
                if value in list(arguments_of(function)):
                    found._unite((name, number), value)
        for function in flows.values():
            found._follow(function, fragments, flows)
        found._ask(entry_function(module), _Offloaded.of(offload))
        for name, function in fragments.items():
            *_, returning = body_of(function).operations
            for number, value in enumerate(returning.operation.operands):
                if not isinstance(value, ir.BlockArgument):
                    found._make((name, number), is_put_on_host(value))
        return found

    def is_on_host(self, value: Hashable) -> bool:
        """value: of a dataflow function; or the name of a fragment's function, and the number of a result."""
        top = self._top(value)
        if top in self._asked:
            return self._asked[top]
        return self._made.get(top, False) and top not in self._exchanged

    def is_planned(self, value: Hashable) -> bool:
        """Whether only the plan has put it there, so that the function takes and makes it as any other value."""
        return self._top(value) in self._planned

    def _follow(
        self, function: func.FuncOp, fragments: Mapping[str, func.FuncOp], flows: Mapping[str, func.FuncOp]
    ) -> None:
        for call in calls_in(function):
            for operand, argument in zip(
                call.operation.operands, arguments_of(fragments[code_name(call)]), strict=True
            ):
                self._unite(operand, argument)
            for number, result in enumerate(call.operation.results):
                self._unite(result, (code_name(call), number))
        for transfer in operations_in(function, mpmd.TransferOp):
            self._make(transfer.operation.results[0], False)
        for exchange in exchanges_in(function):
            for value in (*exchange.operation.operands, *exchange.operation.results):
                self._exchanged.add(value)
        for loop in operations_in(function, mpmd.ForOp):
            called, one = flows[microbatch_name(loop)], microbatch_call(loop)
            *carried, _ = loop.operation.regions[0].blocks[0].arguments
            for given, parameter in zip(one.operation.operands, arguments_of(called), strict=True):
                self._unite(given, parameter)
            *_, returning = body_of(called).operations
            ends = zip(
                loop.operation.operands, carried, returning.operation.operands, loop.operation.results, strict=True
            )
            for begin, parameter, yielded, result in ends:
                if isinstance(begin.owner, mpmd.FragmentCallOp) or isinstance(begin, ir.BlockArgument):
                    self._unite(begin, parameter)
                self._unite(parameter, yielded)
                self._unite(yielded, result)

    def _ask(self, main: func.FuncOp, offloaded: "_Offloaded") -> None:
        """What the user wants of arguments and results."""
        self._exchanged = set(map(self._top, self._exchanged))
        *_, returning = body_of(main).operations
        ends = (
            *zip(arguments_of(main), argument_attributes(main), strict=True),
            *zip(returning.operation.operands, result_attributes(main), strict=True),
        )
        for value, marks in ends:
            top, is_planned = self._top(value), offloaded.has(marks)
            is_on_host = is_planned or ON_HOST in marks
            if is_planned:
                self._planned.add(top)
            if self._asked.setdefault(top, is_on_host) != is_on_host or (is_on_host and top in self._exchanged):
                what = (
                    f"{ir.StringAttr(marks[PATH]).value} is to be in the memory of the host, and in that of the chips"
                )
                remedy = (
                    "put a copy of it there with jax.device_put, or leave out its memory_kind, or the plan's offload"
                )
                raise CompileError(what, place(value.location), remedy)
        offloaded.check()

    def _make(self, value: Hashable, is_on_host: bool) -> None:
        top = self._top(value)
        self._made[top] = self._made.get(top, True) and is_on_host

    def _unite(self, one: Hashable, other: Hashable) -> None:
        one, other = self._top(one), self._top(other)
        if one != other:
            self._above[one] = other

    def _top(self, value: Hashable) -> Hashable:
        while (above := self._above.get(value)) is not None:
            value = above
        return value


@dataclass
class _Offloaded:
    """The arguments and results that the plan puts on the host."""

    patterns: ScopePatterns
    paths: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> "_Offloaded":
        return cls(ScopePatterns(StageText.parse(text).stages if text else ()))

    def has(self, marks: ir.DictAttr) -> bool:
        path = ir.StringAttr(marks[PATH]).value
        self.paths.append(path)
        return self.patterns.stage_of(path_components(path)) is not None

    def check(self) -> None:
        """PlanError for a pattern that no argument and no result has."""
        for pattern in (one for stage in self.patterns.stages for one in stage):
            if pattern not in self.patterns.matched:
                what = f"offload names {pattern}, which is in the path of no argument and no result"
                raise PlanError(what, "plan", known_names(str(pattern), list(dict.fromkeys(self.paths))))


def _speaks_of_the_host(function: func.FuncOp) -> bool:
    marks = (*argument_attributes(function), *result_attributes(function))
    said = (annotated_kind(one) for one in operations_in(function, stablehlo.CustomCallOp) if is_annotation(one))
    return any(ON_HOST in one for one in marks) or HOST in said


def is_put_on_host(value: _Value) -> bool:
    """Whether what a fragment makes is put into the host's memory, and stays there."""
    return any(map(_is_host, _placed(value, set())))


def _is_host(annotation: ir.OpView) -> bool:
    return annotated_kind(annotation) == HOST


def _placed(value: _Value, seen: set[_Value]) -> Iterator[ir.OpView]:
    """The annotations that a value comes from."""
    owner = value.owner
    if value in seen or isinstance(value, ir.BlockArgument) or isinstance(owner, ir.Block):
        return
    seen.add(value)
    operation = owner.operation.opview
    if is_annotation(operation):
        yield operation
    elif isinstance(operation, _FOLLOWED):
        for one in _before(operation, ir.OpResult(value).result_number):
            yield from _placed(one, seen)


def _before(operation: ir.OpView, number: int) -> list[_Value]:
    """Of a result of an operation that leaves a value where it is, the values that it comes from."""
    operands = list(operation.operation.operands)
    if isinstance(operation, stablehlo.OptimizationBarrierOp):
        return [operands[number]]
    if isinstance(operation, stablehlo.WhileOp):
        *_, returning = operation.body.blocks[0].operations
        return [operands[number], returning.operation.operands[number]]
    return operands[:2] if isinstance(operation, stablehlo.DynamicUpdateSliceOp) else operands
