"""Tells why a step goes over the batch more than once, and what that costs."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from atoll.compiler.batch_rules.nodes import Node, described
from atoll.compiler.batch_rules.states import Partial
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.notes import AcrossBatch, Joined, LineExtra, SeveralLoops
from atoll.passes.time.folding.extra import done_again, done_at_once, kept_of, mixing, why_mixed
from atoll.passes.time.folding.levels import Levels


def ways_over_the_batch(
    levels: Levels, replicas: int
) -> Iterator[tuple[Node, Joined | AcrossBatch | SeveralLoops | LineExtra]]:
    """What is done for the whole batch at once, and what all microbatches wait for after a model's work."""
    turns = levels.turns
    scope = turns.scope
    for node in scope.joined:
        size = sum(turns.bytes_of(value) for value in {*node.operands, *node.captured} & scope.completed.keys())
        yield node, Joined(described(node), size)
    waited = _waited(levels)
    at_line: dict[str, list[int]] = {}
    for value in waited:
        if isinstance(scope.completed[value], Partial):
            at_line.setdefault(place(mixing(turns, value).location), []).append(value)
    for sums in at_line.values():
        yield mixing(turns, sums[0]), AcrossBatch(why_mixed(turns, sums[0]), len(sums))
    told = [*scope.joined, *(mixing(turns, value) for value in waited)]
    if told:
        extra = levels.extra
        costs = {"again": extra.again, "whole": extra.whole, "bytes": extra.bytes}
        yield told[0], SeveralLoops(len(levels.loops), **costs, allowed=levels.allowed, room=levels.room)
        yield from _line_by_line(levels, replicas)


def _waited(levels: Levels) -> list[int]:
    """What all microbatches wait for, after a model's work."""
    turns = levels.turns
    return [value for value in turns.sums if value in turns.early and turns.follows_work(value)]


@dataclass
class _Line:
    """What a line adds; node: the first of it that does."""

    node: Node
    again: int = 0
    whole: int = 0
    kept: int = 0
    ends: set[int] = field(default_factory=set)


def _line_by_line(levels: Levels, replicas: int) -> Iterator[tuple[Node, LineExtra]]:
    """What each line adds to the cost, in the order of the program."""
    turns = levels.turns
    ends: defaultdict[Node, set[int]] = defaultdict(set)
    for value in _waited(levels):
        ends[mixing(turns, value)].add(turns.loop_of((value, turns.scope.completed[value])))
    again, whole, kept = (
        done_again(levels.loops, levels.around),
        done_at_once(turns.scope, levels.around),
        kept_of(turns, levels.loops, replicas),
    )
    lines: dict[str, _Line] = {}
    for node in sorted({*again, *whole, *kept, *ends}, key=lambda one: one.number):
        line = lines.setdefault(place(node.location), _Line(node))
        line.again += again.get(node, 0)
        line.whole += whole.get(node, 0)
        line.kept += kept[node]
        line.ends |= ends[node]
    for line in lines.values():
        numbers = " ".join(map(str, sorted(line.ends)))
        yield line.node, LineExtra(line.again, line.whole, line.kept, numbers)
