"""What replicas would share of the update, as `share-update` finds it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from atoll.compiler.batch_rules.counted_loop import MICROBATCHES
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.graph import Graph
from atoll.passes.stage.shares.shares import Shares
from atoll.passes.stage.shares.update import Update, shares_of


@dataclass(frozen=True)
class UpdateShares:
    """As values and operations of the graph.

    kept: the arguments of which each replica has its share alone. done: the operations that each does for its share.
    divided: the values of which tasks take or make shares alone.
    scattered: the sums of which each needs but its share. gathered: what is put together from shares.
    """

    kept: Collection[int]
    done: Collection[int]
    divided: Collection[int]
    scattered: Collection[int]
    gathered: Collection[int]


def update_shares(module: ir.Module, graph: Graph, replicas: int) -> UpdateShares:
    """What so many replicas would share."""
    update, _, shares = shares_of(module, replicas)
    numbers = shares.program.numbers
    own = {numbers[value]: number for number, value in enumerate(graph.values) if value in numbers}
    own |= {numbers[value]: number for number, value in graph.outside.items()}
    whole, made = set(_taken_whole(update, shares)), set(_made_in_shares(shares))
    taken = {value for node in shares.nodes for value in (*node.operands, *node.captured)} - whole
    sums = {value for node in shares.program.body.nodes if node.name == MICROBATCHES for value in node.results}

    def of_graph(values: Collection[int]) -> frozenset[int]:
        return frozenset(own[value] for value in values if value in own)

    results = {value for node in shares.nodes if _is_done_in_shares(shares, node) for value in node.results}
    return UpdateShares(
        kept=of_graph(shares.kept),
        done=frozenset(graph.producer[value] for value in of_graph(results)),
        divided=of_graph(taken | made),
        scattered=of_graph(sums & shares.dimensions.keys() - whole),
        gathered=of_graph(made & whole),
    )


def _is_done_in_shares(shares: Shares, node: Node) -> bool:
    return node.number in shares.factors or shares.is_shared(node)


def _made_in_shares(shares: Shares) -> Iterator[int]:
    """What is made in shares alone."""
    for node in shares.nodes:
        if node.number in shares.factors and not shares.is_there_whole(node):
            made = zip(node.results, shares.factors[node.number].results, strict=True)
            yield from (value for value, dimension in made if dimension is not None)
        elif shares.is_shared(node):
            yield from (value for value in node.results if value in shares.dimensions)


def _taken_whole(update: Update, shares: Shares) -> Iterator[int]:
    """What the update or a result needs all of."""
    kept = {update.state[argument] for argument in shares.kept}
    yield from (value for number, value in enumerate(shares.program.body.returned) if number not in kept)
    for node in shares.nodes:
        if node.number in shares.factors:
            taken = zip(node.operands, shares.factors[node.number].operands, strict=True)
            yield from (value for value, dimension in taken if dimension is None)
        elif not shares.is_shared(node):
            yield from (*node.operands, *node.captured)
