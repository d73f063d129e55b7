"""A loop over microbatches in phase `scheduled`, read into tables for the code that emits it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from atoll.compiler.emit.stream import ALL, Name
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, body_of, operations_in
from atoll.compiler.module.graph import iterations_of, parts_of_loop
from atoll.compiler.module.marks import PARTS
from atoll.compiler.module.task_order import MicrobatchTask, order_of
from atoll.compiler.module.tasks import calls_in, microbatch_call, task_name
from atoll.compiler.task_name import TaskName

_Value = ir.Value[ir.Type]


class Ending(NamedTuple):
    """What a result of the loop is. sum: the parameter that carries it on; None if it is made of parts."""

    yielded: _Value
    sum: _Value | None


@dataclass(frozen=True, kw_only=True)
class LoopBody:
    """What a loop's function does for a microbatch, and what its parameters are.

    microbatches: how many a replica runs.
    order: for each island its tasks, in the order in which it runs them.
    sums: the parameters that hold a sum so far, with the value that the loop begins with.
    taken: the parameters that stand for a value outside the loop, and whether it has a part for each microbatch.
    counters: the parameters that are the number of the microbatch.
    results: how each of the loop's results, as the code after it sees them, comes about.
    """

    function: func.FuncOp
    microbatches: int
    order: Mapping[str, Sequence[MicrobatchTask]]
    sums: Mapping[_Value, _Value]
    taken: Mapping[_Value, tuple[_Value, bool]]
    counters: frozenset[_Value]
    results: Mapping[_Value, Ending]

    @classmethod
    def of(cls, loop: mpmd.ForOp, function: func.FuncOp, main: func.FuncOp, replicas: int) -> "LoopBody":
        *carried, _ = loop.operation.regions[0].blocks[0].arguments
        # What a parameter is follows from what the call gives it: a carried value is a sum so far, an assigned one the
        # number of the microbatch, and anything else comes from outside the loop.
        begins = dict(zip(carried, loop.operation.operands, strict=True))
        has_parts = {
            one for one, marks in zip(arguments_of(main), argument_attributes(main), strict=True) if PARTS in marks
        }
        for other in operations_in(main, mpmd.ForOp):
            has_parts.update(other.operation.results[number] for number in parts_of_loop(other))
        sums: dict[_Value, _Value] = {}
        taken: dict[_Value, tuple[_Value, bool]] = {}
        counters = []
        carries: dict[_Value, _Value] = {}
        call = microbatch_call(loop)
        for parameter, given in zip(arguments_of(function), call.operation.operands, strict=True):
            if given in begins:
                sums[parameter], carries[given] = begins[given], parameter
            elif isinstance(given.owner, mpmd.AssignOp):
                counters.append(parameter)
            else:
                taken[parameter] = given, given in has_parts
        *_, returning = body_of(function).operations
        parts = parts_of_loop(loop)
        yields = zip(carried, returning.operation.operands, strict=True)
        endings = [
            Ending(yielded, None if number in parts else carries[one]) for number, (one, yielded) in enumerate(yields)
        ]
        results: dict[_Value, Ending] = dict(zip(loop.operation.results, endings, strict=True))
        microbatches = iterations_of(loop) // replicas
        return cls(
            function=function,
            microbatches=microbatches,
            order=order_of(loop),
            sums=sums,
            taken=taken,
            counters=frozenset(counters),
            results=results,
        )

    def name(self, value: _Value, microbatch: int) -> Name:
        """What a value of the function is for a microbatch."""
        if value in self.sums:
            return value, ALL
        if value in self.taken:
            outside, has_parts = self.taken[value]
            return outside, microbatch if has_parts else ALL
        return value, microbatch

    @cached_property
    def calls(self) -> Mapping[TaskName, mpmd.FragmentCallOp]:
        """The tasks of the function by name."""
        return {task_name(call): call for call in calls_in(self.function)}

    def maker(self, value: _Value) -> TaskName | None:
        """The task that makes a value of the function; None if no task does."""
        owner = value.owner
        return task_name(owner) if isinstance(owner, mpmd.FragmentCallOp) else None

    @cached_property
    def transfers(self) -> Sequence[mpmd.TransferOp]:
        return operations_in(self.function, mpmd.TransferOp)

    @cached_property
    def transfers_of(self) -> Mapping[_Value, Sequence[mpmd.TransferOp]]:
        """How each value is sent on."""
        found: dict[_Value, list[mpmd.TransferOp]] = {}
        for transfer in self.transfers:
            found.setdefault(transfer.operation.operands[0], []).append(transfer)
        return found

    @cached_property
    def sent_ahead(self) -> Sequence[_Value]:
        """The parameters that are sent before any task runs; others are sent after the first task here that takes them.

        A parameter may be sent that late only if every task elsewhere that takes it waits for that first task anyway.
        Otherwise two islands could wait for each other.
        """
        return [value for value in self.taken if value in self.transfers_of and not self._is_sent_late(value)]

    def _is_sent_late(self, value: _Value) -> bool:
        takers_here = set(self._takers(value))
        first = {task for task in takers_here if not takers_here & (self._awaited[task] - {task})}
        takers = [task for transfer in self.transfers_of[value] for task in self._takers(transfer.result)]
        return bool(first) and all(first <= self._awaited[task] for task in takers)

    def _takers(self, value: _Value) -> list[TaskName]:
        return [task for task, call in self.calls.items() if value in list(call.operation.operands)]

    @cached_property
    def _awaited(self) -> Mapping[TaskName, frozenset[TaskName]]:
        """For each task, the tasks of the same microbatch that it waits for, and itself."""
        behind: dict[_Value, frozenset[TaskName]] = {}
        awaited: dict[TaskName, frozenset[TaskName]] = {}
        for operation in body_of(self.function).operations:
            before = frozenset[TaskName]().union(*(behind.get(one, ()) for one in operation.operation.operands))
            if isinstance(operation, mpmd.FragmentCallOp):
                before = awaited[task_name(operation)] = before | {task_name(operation)}
            behind.update((result, before) for result in operation.operation.results)
        return awaited

    @cached_property
    def carries(self) -> Mapping[_Value, _Value]:
        """For each value that is a sum with one more summand, the parameter that has the sum so far."""
        return {one.yielded: one.sum for one in self.results.values() if one.sum is not None}
