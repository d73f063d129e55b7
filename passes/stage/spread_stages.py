"""Pass `spread-stages`."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from atoll.compiler.companions import with_companions
from atoll.compiler.copies import copied, sent_operands
from atoll.compiler.graph import ARGUMENT, Graph
from atoll.compiler.homes import replaced_arguments
from atoll.compiler.least_traffic import Value, least_traffic
from atoll.compiler.mlir import ir
from atoll.compiler.pass_base import Pass
from atoll.compiler.plan_marks import STAGE, TRAFFIC, TRAFFIC_BOUND, integer, read_marks, write_marks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpreadStages(Pass):
    """Give a stage to every operation that has none, so that the fewest bytes cross.

    Backward contractions go where the forward ones are that they belong to. What is copied to its users (constants,
    broadcasts of scalars) gets no stage. A donated argument and the result that replaces it are pulled to one stage.
    The traffic that is left, and a lower bound for it, are written on the module.

    Requires: `seed-stages` or `cut-automatically` before.

          %0 = dot_general %x, %a {atoll.stage = 1 : i32}
          %1 = negate %0
        ~~>
          %0 = dot_general %x, %a {atoll.stage = 1 : i32}
          %1 = negate %0 {atoll.stage = 1 : i32}
    """

    def run(self, module: ir.Module) -> None:
        graph = Graph.of(module)
        is_copied = copied(graph)
        seeds = read_marks(graph, STAGE)
        fixed = [None if is_copied[index] else seeds[index] for index in range(len(seeds))]
        homes = replaced_arguments(module)
        values = list(_values(graph, is_copied, homes))
        free = [None] * len(homes)
        found = least_traffic([*fixed, *free], values, kept=[*with_companions(graph, fixed), *free])
        stages = [None if is_copied[index] else found.labels[index] for index in range(len(fixed))]
        write_marks(graph, STAGE, stages)
        for index, is_copy in enumerate(is_copied):
            if is_copy and STAGE in graph.operations[index].operation.attributes:
                del graph.operations[index].operation.attributes[STAGE]
        attributes = module.operation.attributes
        attributes[TRAFFIC] = integer(found.traffic, bits=64)
        attributes[TRAFFIC_BOUND] = integer(found.lower_bound, bits=64)
        log.info("%d bytes cross between stages; no choice has less than %d", found.traffic, found.lower_bound)


def _values(graph: Graph, is_copied: list[bool], homes: list[tuple[int, int]]) -> Iterator[Value]:
    """Each value with the operations that must have it; behind them a node for each home."""
    first_home = len(graph.operations)
    nodes: list[dict[int, None]] = [
        {} if producer == ARGUMENT or is_copied[producer] else {producer: None} for producer in graph.producer
    ]
    for number, (argument, result) in enumerate(homes):
        nodes[argument][first_home + number] = None
        nodes[graph.returned[result]][first_home + number] = None
    for index, sources in enumerate(sent_operands(graph, is_copied)):
        if not is_copied[index]:
            for value in sources:
                nodes[value][index] = None
    # A sum over microbatches begins and goes on where it is made; who takes it behind the loop has no say in that.
    for one in (one for loop in graph.loops for one in loop.carried if not one.is_part):
        producer = graph.producer[one.yielded]
        if producer != ARGUMENT and not is_copied[producer]:
            for value in (one.initial, one.argument):
                nodes[value][producer] = None
    for value, taking in enumerate(nodes):
        yield Value(graph.sizes[value] * graph.times[value], tuple(taking))
