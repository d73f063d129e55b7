"""What each line of the user's costs, and in which tasks."""

from collections import Counter, defaultdict
from typing import Any

from atoll.compiler.cost.operations import costs_within
from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.tasks import island_of_task, task_name
from atoll.compiler.report.prediction import calls_of_functions


def source_costs(module: ir.Module) -> list[dict[str, Any]]:
    """Of a module at phase `placed`: for each place in the user's code the operations that a step of one replica
    computes for it, by task and its island. All places of an island together cost what a report says of it.

    An operation without a place counts for the place "".
    """
    found: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    counts: Counter[str] = Counter()
    for function, times in calls_of_functions(module):
        for fragment in operations_in(function, mpmd.FragmentOp):
            key = str(task_name(fragment)), island_of_task(fragment)
            for operation in fragment.operation.regions[0].blocks[0].operations:
                for inner, cost in costs_within(operation, times):
                    where = place(inner.location)
                    found[where][key] += cost
                    counts[where] += 1
    return [
        {
            "where": where,
            "operations": counts[where],
            "cost": tasks.total(),
            "tasks": [[task, island, cost] for (task, island), cost in tasks.items()],
        }
        for where, tasks in found.items()
    ]
