"""Pass `verify-scheduled`."""

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.check_names import check_names
from atoll.compiler.module.graph import iterations_of
from atoll.compiler.module.interface import check_paths
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marking import check_marks
from atoll.compiler.module.marks import ORDER, PHASE
from atoll.compiler.module.mesh_types import island_of
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.module.task_order import MicrobatchTask, order_of
from atoll.compiler.module.tasks import calls_in, check_dataflow, dataflow_functions, microbatch_name, task_name
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.replicas.check_exchanges import check_exchanges
from atoll.passes.schedule.order.dataflow_order import waiting_for_ever
from atoll.passes.schedule.order.task_nodes import nodes_of

_AGAIN = f"correct {ORDER}, or run order-tasks"


@dataclass(frozen=True)
class VerifyScheduled(Pass):
    """Check that the module is in phase `scheduled`, and record it.

    `@main` and the functions of microbatches hold nothing but fragment calls, transfers and loops; every call has a
    name of its own and every loop its role, and every argument and result of `@main` names its pytree path, each path
    once. The order of a loop's tasks has each task of each microbatch of a replica once, on its island, and no island
    waits for ever. Replicas exchange each sum that is used.

    Requires: phase `placed`.

        module attributes {atoll.phase = "placed"} {...}
        ~~>
        module attributes {atoll.phase = "scheduled"} {...}
    """

    def run(self, module: ir.Module) -> None:
        main = entry_function(module)
        check_dataflow(module, mpmd.FragmentCallOp, "run outline-fragments")
        check_names(module, mpmd.FragmentCallOp)
        check_marks(module, "scheduled")
        functions = dataflow_functions(module)
        replicas = replicas_of(module)
        for loop in operations_in(main, mpmd.ForOp):
            islands = [island.name for island in topology_of(module).islands]
            _check_senders(functions[microbatch_name(loop)])
            _check_order(loop, functions[microbatch_name(loop)], islands, iterations_of(loop) // replicas)
        check_exchanges(module)
        check_paths(main, replicas)
        module.operation.attributes[PHASE] = ir.StringAttr.get("scheduled")


def _check_senders(function: func.FuncOp) -> None:
    transfers = operations_in(function, mpmd.TransferOp)
    received = {transfer.result for transfer in transfers}
    for transfer in transfers:
        source = transfer.operation.operands[0]
        if source in received:
            what = f"in a loop, {island_of(source.type)} sends on what was sent to it"
            raise refuse(transfer.location, what, "send it from where it is made")


def _check_order(loop: mpmd.ForOp, function: func.FuncOp, islands: Sequence[str], microbatches: int) -> None:
    calls = {task_name(call): number for number, call in enumerate(calls_in(function))}
    nodes = nodes_of(function, islands)
    wanted = {MicrobatchTask(name, one) for name in calls for one in range(microbatches)}
    rows = order_of(loop)
    for island, row in rows.items():
        for task in row:
            if task not in wanted:
                is_known = task.task in calls and task.microbatch < microbatches
                what = "is there twice" if is_known else "is no task of the loop"
                raise refuse(loop.location, f"{task}, in the row of island {island}, {what}", _AGAIN)
            wanted.discard(task)
            home = islands[nodes[calls[task.task]].island]
            if home != island:
                raise refuse(loop.location, f"{task} is in the row of island {island} and runs on {home}", _AGAIN)
    if wanted:
        missing = min(wanted, key=lambda one: (calls[one.task], one.microbatch))
        raise refuse(loop.location, f"{missing} is in no row", _AGAIN)
    order = {islands.index(name): [(calls[one.task], one.microbatch) for one in row] for name, row in rows.items()}
    stuck = waiting_for_ever(nodes, order)
    if stuck:
        names = list(calls)
        waiting = [
            f"{islands[island]} at {MicrobatchTask(names[one], number)}" for island, (one, number) in stuck.items()
        ]
        what = f"the islands wait for each other: {', '.join(waiting)}"
        raise refuse(loop.location, what, _AGAIN)
