"""Finds work that is done for the whole batch though each microbatch needs only its own block of it."""

from collections.abc import Iterator

from atoll.compiler.batch_rules.decision import Entry
from atoll.compiler.batch_rules.nodes import Program, described
from atoll.compiler.batch_rules.states import Split
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.graph import bytes_of
from atoll.passes.time.folding.levels import Levels


def whole_batch_work(program: Program, levels: Levels) -> list[str]:
    """Each as `what at file:line, bytes`: a value that is made whole, and then cut."""
    found: dict[str, None] = {}
    for loop in levels.loops:
        for entry in _all(loop.entries):
            if entry.derived is None or entry.node is None or not isinstance(entry.derived[1], Split):
                continue  # an argument is there anyway
            if entry.node.name != "stablehlo.constant":
                size = bytes_of(program.values[entry.derived[0]].type)
                found[f"{described(entry.node)} at {place(entry.node.location)}, {size} bytes"] = None
    return list(found)


def _all(entries: list[Entry]) -> Iterator[Entry]:
    """The entries, and those of regions."""
    for entry in entries:
        yield entry
        if entry.decision is not None:
            for inner in entry.decision.bodies:
                yield from _all(inner.entries)
