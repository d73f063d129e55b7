"""What replicas will exchange, as far as it is known before stages are cut into segments."""

from collections.abc import Mapping
from math import prod

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.shardings import SHARDING, Spec, on_island, spec_of
from atoll.compiler.replicas.exchange import Summand
from atoll.compiler.replicas.segment_count import Sum


def sums_exchanged(module: ir.Module, graph: Graph, stacks: Mapping[str, int], is_shared: bool) -> list[Sum]:
    """What the loops over microbatches sum up. A sum is taken to be divided as an argument of its type is.

    stacks: the types of stacks of layers, and how many layers they have. is_shared: whether each replica needs but its
        share.
    """
    island = topology_of(module).islands[0]
    sizes = {axis.name: axis.size for axis in island.axes}
    specs: dict[str, Spec] = {}
    for argument, marks in enumerate(argument_attributes(entry_function(module))):
        if SHARDING in marks:
            specs.setdefault(str(graph.values[argument].type), spec_of(marks[SHARDING]))
    found = []
    for value in (one.yielded for loop in graph.loops for one in loop.carried if not one.is_part):
        tensor = ir.RankedTensorType(graph.values[value].type)
        shape = tuple(tensor.shape)
        spec = specs.get(str(tensor), ())
        axes = on_island(spec, shape, island) if spec else ()
        summand = Summand(
            shape,
            str(tensor.element_type),
            itemsize=graph.sizes[value] // max(1, prod(shape)),
            parts=tuple(prod(sizes[axis] for axis in one) for one in axes),
            share=0 if is_shared and shape else None,
        )
        layers = stacks.get(str(tensor), 1)
        found.append(Sum(summand, layers if shape[:1] == (layers,) else 1))
    return found
