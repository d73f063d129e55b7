"""Pass `join-sums`."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.marking import read_marks
from atoll.compiler.module.marks import STAGE
from atoll.compiler.module.planned import plan_of, stage_islands, topology_of
from atoll.compiler.module.replicas import replicas_of, twins_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.plan.plan import SHARDED
from atoll.compiler.replicas.exchange import Summand, worth_a_message
from atoll.compiler.replicas.own_sums import added_up
from atoll.compiler.replicas.speed import speed_between
from atoll.passes.stage.operations.exchanges import exchange_attributes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JoinSums(Pass):
    """Let replicas exchange the sum of several sums of loops, rather than each of them, where nothing else takes these.

    The gradient of a tied embedding comes from two stages. Each replica adds up its own two first, on the island where
    they meet, and what they come to is exchanged there once. Small sums, which are packed and cross with others, are
    left alone: joined they would need a message of their own. Where replicas exchange shares, as many bytes cross in
    either way.

    Requires: `spread-stages` before.

          %0:2 = mpmd.for ...
          %1 = add %0#0, %0#1 {atoll.stage = 0 : i32}
          %2 = negate %1
        ~~>
          %0:2 = mpmd.for ...
          %1 = add %0#0, %0#1 {atoll.stage = 0 : i32}
          %2 = custom_call @atoll.exchange(%1) {atoll.exchange = "add", atoll.stage = 0 : i32}
          %3 = negate %2
    """

    def run(self, module: ir.Module) -> None:
        replicas = replicas_of(module)
        if replicas == 1:
            log.info("nothing to do: there is but one replica")
            return
        if plan_of(module).update == SHARDED:
            log.info("nothing to do: replicas exchange shares")
            return
        graph = Graph.of(module)
        stages, islands = read_marks(graph, STAGE), stage_islands(module)
        joined = [
            index
            for index in _ends(graph)
            if (stage := stages[index]) is not None and _is_worth_it(graph, index, islands[stage], replicas)
        ]
        for index in joined:
            _exchange(graph.operations[index].operation)
        log.info("%d exchanges of several sums together", len(joined))


def _ends(graph: Graph) -> Iterator[int]:
    """The operations with which the adding up of several sums ends."""
    found = added_up(graph)
    for value, sums in found.items():
        users = graph.users[value]
        if len(sums) > 1 and not any(result in found for user in users for result in graph.results[user]):
            yield graph.producer[value]


def _is_worth_it(graph: Graph, index: int, island: int, replicas: int) -> bool:
    """Whether the sum is so large that each that it is made of would cross in a message of its own.

    island: where it is made, in the first replica.
    """
    (value,) = graph.results[index]
    tensor, topology = ir.RankedTensorType(graph.values[value].type), topology_of(graph.module)
    shape = tuple(tensor.shape)
    summand = Summand(shape, str(tensor.element_type), itemsize=graph.sizes[value] // max(1, prod(shape)))
    speed = speed_between(twins_of(topology, replicas)[topology.islands[island].name], topology)
    return summand.size >= worth_a_message(summand, replicas, speed)


def _exchange(maker: ir.Operation) -> None:
    """Let replicas exchange what an operation makes; all else takes what that gives."""
    (value,) = maker.results
    shape = ir.RankedTensorType(value.type).shape
    attributes = {**exchange_attributes("add", shape, shape), STAGE: maker.attributes[STAGE]}
    users, after = [(use.owner, use.operand_number) for use in value.uses], ir.InsertionPoint.after(maker)
    call = ir.Operation.create("stablehlo.custom_call", [value.type], [value], attributes, loc=maker.location, ip=after)
    for owner, number in users:
        owner.operands[number] = call.results[0]
