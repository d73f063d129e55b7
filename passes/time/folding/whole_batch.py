"""Finds work that is done for the whole batch though each microbatch needs only its own part of it."""

from collections.abc import Iterator

from atoll.compiler.batch_rules.decision import Entry
from atoll.compiler.batch_rules.nodes import Node, NodeTree, described
from atoll.compiler.batch_rules.states import Split
from atoll.compiler.module.graph import bytes_of
from atoll.compiler.module.notes import WholeBatch
from atoll.passes.time.folding.levels import Levels


def whole_batch_work(program: NodeTree, levels: Levels) -> Iterator[tuple[Node, WholeBatch]]:
    """Each operation whose result is made whole, and then cut."""
    for loop in levels.loops:
        for entry in _all(loop.entries):
            if entry.derived is None or entry.node is None or not isinstance(entry.derived[1], Split):
                continue  # an argument is there anyway
            is_told = entry.node in levels.turns.scope.joined  # that it is done once, and why
            if entry.node.name != "stablehlo.constant" and not is_told:
                size = bytes_of(program.values[entry.derived[0]].type)
                yield entry.node, WholeBatch(described(entry.node), size)


def _all(entries: list[Entry]) -> Iterator[Entry]:
    """The entries, and those of regions."""
    for entry in entries:
        yield entry
        if entry.decision is not None:
            for inner in entry.decision.bodies:
                yield from _all(inner.entries)
