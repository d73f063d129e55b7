"""Whether replicas exchange what they have to: each sum over the batch that is used, once."""

from collections.abc import Mapping

from atoll.compiler.batch.states import COMBINE
from atoll.compiler.diagnostics import refuse
from atoll.compiler.entry import text_attribute
from atoll.compiler.functions import operations_in
from atoll.compiler.graph import parts_of_loop
from atoll.compiler.mlir import func, ir, mpmd
from atoll.compiler.plan_marks import plan_of, topology_of
from atoll.compiler.replicas import check_replicas, replicas_of
from atoll.compiler.tasks import EXCHANGE, dataflow_functions, exchanges_in


def check_exchanges(module: ir.Module) -> None:
    """Refuse a sum of one replica that is used as if it were that of all, and an exchange of anything else.

    And, as people edit dumps, a plan with replicas that the islands are not for.
    """
    replicas, functions = replicas_of(module), dataflow_functions(module)
    if replicas > 1:
        check_replicas(plan_of(module), topology_of(module))
    _check_exchanges(functions, replicas)


def _check_exchanges(functions: Mapping[str, func.FuncOp], replicas: int) -> None:
    """functions: `@main` and those of microbatches."""
    sums = _sums(functions["main"]) if replicas > 1 else {}
    for name, function in functions.items():
        for exchange in exchanges_in(function):
            source, kind = exchange.operation.operands[0], text_attribute(exchange.operation.attributes, EXCHANGE)
            if kind not in COMBINE:
                remedy = f"write one of {', '.join(COMBINE)}"
                raise refuse(exchange.location, f"{EXCHANGE} is {exchange.operation.attributes[EXCHANGE]}", remedy)
            if source not in sums:
                what = "an exchange takes what is no sum of a loop" if replicas > 1 else "there is but one replica"
                raise refuse(exchange.location, what, f"take the exchange out of @{name}")
            if source.type != exchange.result.type:
                what = f"an exchange makes {exchange.result.type} of {source.type}"
                raise refuse(exchange.location, what, "let it stay where it is, as it is")
    for total, (loop, number) in sums.items():
        users = [use.owner.operation for use in total.uses]
        if users and (len(users) > 1 or EXCHANGE not in users[0].attributes):
            what = f"result {number} of a loop is a sum of one replica, and {users[0].name} takes it"
            remedy = f"let one mpmd.transfer with {EXCHANGE} take it, and all else take what that makes"
            raise refuse(loop.location, what, remedy)


def _sums(main: func.FuncOp) -> dict["ir.Value[ir.Type]", tuple[mpmd.ForOp, int]]:
    """What the loops carry on: each with its loop, and which of the loop's results it is."""
    return {
        result: (loop, number)
        for loop in operations_in(main, mpmd.ForOp)
        for number, result in enumerate(loop.operation.results)
        if number not in parts_of_loop(loop)
    }
