"""How the values of a graph are divided within an island, after propagation."""

from collections.abc import Sequence

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.shardings import SHARDING, Spec, result_specs, spec_of


def specs_of(graph: Graph, arguments: Sequence[ir.DictAttr]) -> list[Spec]:
    """The spec of each value, after propagation; empty where nothing is said."""
    specs: list[Spec] = [()] * len(graph.values)
    specs[: len(arguments)] = (spec_of(marks[SHARDING]) if SHARDING in marks else () for marks in arguments)
    for operation, results in zip(graph.operations, graph.results, strict=True):
        for result, spec in zip(results, result_specs(operation), strict=False):  # a call without results has a spec
            specs[result] = spec
    # What a loop hands on is divided alike before the first iteration, between iterations and after the last.
    for one in (one for loop in graph.loops for one in loop.carried):
        specs[one.initial] = specs[one.argument] = specs[one.yielded]
    return specs
