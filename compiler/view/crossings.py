"""Why values cross between islands: what makes each, and which operations need it there."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir, mpmd, stablehlo
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, body_of, operations_in
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.graph import bytes_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import PATH
from atoll.compiler.module.mesh_types import island_of, local_type
from atoll.compiler.module.tasks import (
    dataflow_functions,
    loop_of_call,
    microbatch_call,
    microbatch_name,
    task_name,
    transfers_in,
)
from atoll.compiler.report.prediction import calls_of_functions

_MOST_USERS = 6

_Value = ir.Value[ir.Type]


def crossings_of(module: ir.Module) -> list[dict[str, Any]]:
    """The transfers of a module at phase `placed`, in the order in which a report lists them."""
    dataflow = _Dataflow(module)
    return [
        dataflow.crossing(transfer, times)
        for function, times in calls_of_functions(module)
        for transfer in transfers_in(function)
    ]


class _Maker(NamedTuple):
    """What makes a value: an operation in a task, or the argument of a path; `task` is empty then."""

    task: str
    name: str
    where: str


class _Dataflow:
    """Follows values into tasks, loops over microbatches, and the loops of the model."""

    def __init__(self, module: ir.Module) -> None:
        main = entry_function(module)
        marks = argument_attributes(main)
        self._functions = dataflow_functions(module)
        self._paths: dict[_Value, str] = {
            argument: text_attribute(one, PATH) or "" for argument, one in zip(arguments_of(main), marks, strict=True)
        }
        # What the function of a microbatch takes, and from where.
        self._given: dict[_Value, _Value] = {}
        for loop in operations_in(main, mpmd.ForOp):
            call, inner = microbatch_call(loop), list(loop.operation.regions[0].blocks[0].arguments)
            begins = dict(zip(inner, loop.operation.operands, strict=False))
            parameters = arguments_of(self._functions[microbatch_name(loop)])
            for parameter, operand in zip(parameters, call.operation.operands, strict=True):
                self._given[parameter] = begins.get(operand, operand)

    def crossing(self, transfer: mpmd.TransferOp, times: int) -> dict[str, Any]:
        value, arrived = transfer.operation.operands[0], transfer.operation.results[0]
        maker = self._maker(value)
        users = list(dict.fromkeys(self._users(arrived)))
        return {
            "source": island_of(value.type),
            "target": island_of(arrived.type),
            "bytes": bytes_of(local_type(value.type)),
            "times": times,
            "type": str(local_type(value.type)).removeprefix("tensor<").removesuffix(">"),
            "value": maker.name,
            "task": maker.task,
            "where": maker.where,
            "users": [one._asdict() for one in users[:_MOST_USERS]],
            "more_users": max(0, len(users) - _MOST_USERS),
        }

    def _maker(self, value: _Value) -> _Maker:
        while True:
            owner = value.owner
            if isinstance(owner, mpmd.TransferOp):  # sent on
                value = owner.operation.operands[0]
            elif isinstance(owner, mpmd.ForOp):  # what the last microbatch leaves
                *_, end = body_of(self._functions[microbatch_name(owner)]).operations
                value = end.operation.operands[ir.OpResult(value).result_number]
            elif value in self._given:
                value = self._given[value]
            else:
                break
        if not isinstance(owner, mpmd.FragmentOp):
            return _Maker("", self._paths.get(value, ""), "")
        inner = _made_in(owner, value)
        maker = inner.owner
        while isinstance(maker, stablehlo.WhileOp):  # the operation in a loop of the model says more than the loop
            inner = _made_in(maker, inner)
            maker = inner.owner
        if isinstance(maker, ir.OpView):
            return _Maker(str(task_name(owner)), _name(maker), place(maker.location))
        return _Maker(str(task_name(owner)), "a value that is handed on", place(owner.location))

    def _users(self, value: _Value) -> Iterator[_Maker]:
        """The operations that take a value first in their tasks, in the order of the tasks."""
        for use in reversed(list(value.uses)):
            owner = use.owner
            if isinstance(owner, mpmd.FragmentOp):
                user = _first_user(_taken_in(owner, use.operand_number))
                told = ("a result", "") if user is None else (_name(user), place(user.location))
                yield _Maker(str(task_name(owner)), *told)
            elif isinstance(owner, mpmd.CallOp):
                function = self._functions[microbatch_name(loop_of_call(owner))]
                yield from self._users(arguments_of(function)[use.operand_number])
            elif isinstance(owner, mpmd.TransferOp):
                yield _Maker("", f"sent on to {island_of(owner.operation.results[0].type)}", "")
            else:
                yield _Maker("", "a result, or what a loop carries", "")


def _made_in(operation: ir.OpView, value: _Value) -> _Value:
    """What the body of an operation returns for one of its results."""
    *_, end = operation.operation.regions[-1].blocks[0].operations
    made: _Value = end.operation.operands[ir.OpResult(value).result_number]
    return made


def _taken_in(operation: ir.OpView, number: int) -> _Value:
    """The argument of an operation's body that an operand becomes."""
    taken: _Value = operation.operation.regions[-1].blocks[0].arguments[number]
    return taken


def _first_user(value: _Value) -> ir.OpView | None:
    """The operation that takes a value first; in a loop of the model, the one in it."""
    for use in reversed(list(value.uses)):
        user = use.owner
        if not isinstance(user, ir.OpView) or user.operation.name in ("mpmd.return", "stablehlo.return"):
            continue
        if isinstance(user, stablehlo.WhileOp):
            return _first_user(_taken_in(user, use.operand_number)) or user
        return user
    return None


def _name(operation: ir.OpView) -> str:
    return operation.operation.name.removeprefix("stablehlo.")
