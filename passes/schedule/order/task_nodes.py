"""The tasks of a microbatch as a graph of numbers."""

from collections.abc import Sequence

from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import body_of
from atoll.compiler.module.tasks import island_of_task
from atoll.passes.schedule.order.dataflow_order import TaskNode


def nodes_of(function: func.FuncOp, islands: Sequence[str]) -> list[TaskNode]:
    """The tasks of a function, in its order, and what each needs of the others.

    Arguments that are sent to other islands add nothing: they are sent ahead of all tasks, or behind one that those
    who get them need anyway (`LoopBody.sent_ahead`).
    """
    makers: dict[ir.Value[ir.Type], int] = {}
    nodes: list[TaskNode] = []
    for operation in body_of(function).operations:
        operands = list(operation.operation.operands)
        if isinstance(operation, mpmd.TransferOp):
            if operands[0] in makers:
                makers[operation.result] = makers[operands[0]]
        elif isinstance(operation, mpmd.FragmentCallOp):
            needs = tuple(dict.fromkeys(makers[one] for one in operands if one in makers))
            makers.update(dict.fromkeys(operation.operation.results, len(nodes)))
            nodes.append(TaskNode(islands.index(island_of_task(operation)), needs))
    return nodes
