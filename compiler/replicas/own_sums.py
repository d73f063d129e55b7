"""Which values are sums of one replica, as yet of its own microbatches alone, until replicas exchange them.

What a loop over microbatches sums up is exchanged as soon as the loop ends, unless an exchange further on takes what it
is added to. For what is added up, each replica may add its own first: all that the replicas have is added up anyway.
"""

from collections.abc import Mapping, Sequence

from atoll.compiler.batch_rules.states import KIND_OF_CARRIED
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.marks import EXCHANGE

# What a sum of one replica may go through on its way to the exchange: it is no matter whether they do it or their sum.
LINEAR = frozenset(("stablehlo.add", "stablehlo.reshape", "stablehlo.transpose"))


def added_up(graph: Graph) -> Mapping[int, Sequence[int]]:
    """Values that nothing is made of but of what loops add up, with the sums of loops that they are made of.

    Each is taken after the loops by one operation alone, so that it is no matter whether it is that of all replicas.
    """
    last = 2 * len(graph.loops)
    begins = {one.initial for loop in graph.loops for one in loop.carried}
    kept = begins.union(graph.returned)
    found: dict[int, Sequence[int]] = {}
    for loop in graph.loops:
        for one in loop.carried:
            maker = graph.operations[graph.producer[one.yielded]]
            if not one.is_part and KIND_OF_CARRIED.get(maker.operation.name) == "add":
                found[one.yielded] = [one.yielded]

    def is_only_for(value: int, user: int) -> bool:
        region = graph.region[graph.producer[value]]
        after = [one for one in graph.users[value] if graph.region[one] > region or region == last]
        return value not in kept and after == [user]

    for index, operation in enumerate(graph.operations):
        taken = graph.operands[index]
        if graph.region[index] != last or operation.operation.name not in LINEAR:
            continue
        if all(value in found and is_only_for(value, index) for value in taken):
            (result,) = graph.results[index]
            found[result] = [total for value in taken for total in found[value]]
    return found


def exchanged_later(graph: Graph) -> frozenset[int]:
    """The sums of loops that are added to others before replicas exchange what these come to."""
    found = added_up(graph)
    exchanges = [
        index
        for index, operation in enumerate(graph.operations)
        if text_attribute(operation.operation.attributes, EXCHANGE) == "add"
    ]
    return frozenset(total for index in exchanges for value in graph.operands[index] for total in found.get(value, ()))
