"""The tasks of a microbatch as a graph of numbers."""

from collections.abc import Sequence
from dataclasses import replace

from atoll.compiler.cost.task_costs import bytes_to_islands, call_seconds
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import body_of
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.tasks import calls_in, island_of_task, task_name
from atoll.passes.schedule.order.dataflow_order import TaskNode


def nodes_of(function: func.FuncOp, islands: Sequence[str]) -> list[TaskNode]:
    """The tasks of a function, in its order, and which of the others each needs.

    Arguments that are sent to other islands add nothing: they are sent ahead of all tasks, or after one that their
    receivers need anyway (`LoopBody.sent_ahead`).
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


def timed_nodes(module: ir.Module, function: func.FuncOp, islands: Sequence[str]) -> list[TaskNode]:
    """The same with what tasks and links should take.

    Of two tasks on unlike islands, all counts that the one sends to the other's island."""
    topology = topology_of(module)
    calls, nodes = calls_in(function), nodes_of(function, islands)
    sent = bytes_to_islands(function)
    names = list(map(task_name, calls))

    def way(needed: int, user: int) -> float:
        source, target = islands[nodes[needed].island], islands[nodes[user].island]
        if source == target:
            return 0.0
        link = topology.link(source, target)
        return link.latency / 1e9 + sent[names[needed], target] / link.bandwidth

    return [
        replace(
            node,
            ways=tuple(way(needed, number) for needed in node.needs),
            seconds=seconds,
        )
        for number, (node, seconds) in enumerate(zip(nodes, call_seconds(module, function), strict=True))
    ]
