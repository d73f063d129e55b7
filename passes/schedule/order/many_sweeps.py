"""The order of a function that goes over the stages more than once forward and once backward.

Examples are a gradient of a gradient, and a generator with its discriminator. No schedule is for these, but any order
that the dataflow allows is right. What `1f1b` is for two sweeps, this is for any number of them: the order of the
dataflow with as many microbatches open as there are islands, which keeps all islands at work however often each
microbatch comes back to them. More of them hide what links take, and need more memory. Where links take most of the
time, it is better to go sweep by sweep, as `gpipe` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.module.notes import ManySweeps
from atoll.compiler.module.noting import add_note
from atoll.compiler.module.planned import topology_of
from atoll.compiler.text.quantities import seconds_text
from atoll.passes.schedule.order.dataflow_order import Order, TaskNode, dataflow_order, sweep_by_sweep, time_of
from atoll.passes.schedule.order.task_nodes import timed_nodes


@dataclass(frozen=True)
class _Candidate:
    order: Order
    seconds: float
    text: str


def order_of_many_sweeps(
    module: ir.Module, loop: ir.Location, function: func.FuncOp, sweeps: int, microbatches: int, names: Sequence[str]
) -> Order:
    """The fastest that is found, and of equals the one that keeps least; the module gets a note of the choice.

    If the topology limits memory, it is the one that keeps least.
    """
    nodes = timed_nodes(module, function, names)
    islands = len({node.island for node in nodes})
    is_limited = any(island.memory is not None for island in topology_of(module).islands)
    counts = [min(islands, microbatches)] if is_limited else _counts(islands, microbatches)
    flowing = min((_flowing(nodes, microbatches, one) for one in counts), key=lambda one: one.seconds)
    order = sweep_by_sweep(nodes, microbatches)
    sweeping = _Candidate(order, time_of(nodes, order), "sweep by sweep as gpipe does")
    is_flowing = is_limited or flowing.seconds <= sweeping.seconds
    taken, other = (flowing, sweeping) if is_flowing else (sweeping, flowing)
    why = "as memory is limited" if is_limited else ""
    times = seconds_text(taken.seconds), other.text, seconds_text(other.seconds)
    add_note(module, loop, ManySweeps(sweeps, taken.text, *times, why))
    return taken.order


def _flowing(nodes: Sequence[TaskNode], microbatches: int, count: int) -> _Candidate:
    order = dataflow_order(nodes, microbatches, count)
    text = f"as values come, with {count} microbatch{'es' if count > 1 else ''} open at once"
    return _Candidate(order, time_of(nodes, order), text)


def _counts(islands: int, microbatches: int) -> list[int]:
    """How many microbatches may be open: one for each island, and then twice as many, up to all."""
    counts = [min(islands, microbatches)]
    while counts[-1] < microbatches:
        counts.append(min(2 * counts[-1], microbatches))
    return counts
