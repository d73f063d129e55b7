"""Where a model is computed a second time, in its backward part."""

from collections.abc import Sequence

from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.scopes import Role
from atoll.passes.stage.operations.cheap_operations import sent_operands
from atoll.passes.stage.operations.roles import roles_of
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def recomputed_stretches(graph: Graph, owners: Sequence[int | None]) -> list[set[int]]:
    """The forward operations of each stretch that is computed again as a whole, as by `jax.checkpoint`.

    If stages were cut inside of one, what the first computes again would go on to the second while gradients go back:
    one more sweep over the stages, which no schedule has.

    owners: of each operation the forward one that it belongs to.
    """
    again = [role is Role.REMATERIALISED for role in roles_of(graph)]
    links = [
        (index, producer)
        for index, sources in enumerate(sent_operands(graph))
        for producer in (graph.producer[value] for value in sources)
        if producer != ARGUMENT and again[index] and again[producer]
    ]
    if not links:
        return []
    ends, starts = zip(*links, strict=True)
    linked = coo_array(([True] * len(links), (ends, starts)), shape=(len(again), len(again)))
    stretches: dict[int, set[int]] = {}
    for index, label in enumerate(connected_components(linked, directed=False)[1].tolist()):
        owner = owners[index]
        if again[index] and owner is not None:
            stretches.setdefault(label, set()).add(owner)
    return list(stretches.values())
