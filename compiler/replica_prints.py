"""What a program with replicas calls when it prints."""

from collections.abc import Callable, Sequence
from typing import Any

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.effects import host_call_number, host_calls_in, is_print
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.replicas import replicas_of, twins_of
from atoll.runtime.replica_print import ReplicaPrint


def callbacks_of_replicas(module: ir.Module, callbacks: Sequence[Callable[..., Any]]) -> list[Callable[..., Any]]:
    """The Python functions that a module calls; if it has replicas, those that print say in which of them they do."""
    replicas = replicas_of(module)
    if replicas == 1:
        return list(callbacks)
    twins = twins_of(topology_of(module), replicas).values()
    replica_of = {name: number for names in twins for number, name in enumerate(names)}
    prints = {host_call_number(call) for call in host_calls_in(module.operation) if is_print(call)}
    return [ReplicaPrint(one, replica_of) if number in prints else one for number, one in enumerate(callbacks)]
