"""Tells why a step goes over the batch more than once, and what that costs."""

from collections.abc import Iterator

from atoll.compiler.batch_rules.nodes import Node, described
from atoll.compiler.batch_rules.states import Partial
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.notes import AcrossBatch, Joined, SeveralLoops
from atoll.passes.time.folding.extra import mixing, why_mixed
from atoll.passes.time.folding.levels import Levels


def ways_over_the_batch(levels: Levels) -> Iterator[tuple[Node, Joined | AcrossBatch | SeveralLoops]]:
    """What is done for the whole batch at once, and what all microbatches wait for after a model's work."""
    turns = levels.turns
    scope = turns.scope
    for node in scope.joined:
        size = sum(turns.bytes_of(value) for value in {*node.operands, *node.captured} & scope.completed.keys())
        yield node, Joined(described(node), size)
    waited = [value for value in turns.sums if value in turns.early and turns.follows_work(value)]
    at_line: dict[str, list[int]] = {}
    for value in waited:
        if isinstance(scope.completed[value], Partial):
            at_line.setdefault(place(mixing(turns, value).location), []).append(value)
    for sums in at_line.values():
        yield mixing(turns, sums[0]), AcrossBatch(why_mixed(turns, sums[0]), len(sums))
    told = [*scope.joined, *(mixing(turns, value) for value in waited)]
    if told:
        extra = levels.extra
        yield told[0], SeveralLoops(len(levels.loops), extra.again, extra.whole, extra.bytes)
