"""What it costs that a step goes over the batch more than once: work that is done again, or values that are kept."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.contraction import contracts
from atoll.compiler.batch_rules.decision import Entry
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.nodes import Node, described, described_beside
from atoll.compiler.batch_rules.states import SAME, Split
from atoll.compiler.cost.operations import cost_of
from atoll.compiler.mlir.diagnostics import Refusal, refuse
from atoll.compiler.plan.allowance import Allowance
from atoll.compiler.text.quantities import bytes_text
from atoll.passes.time.folding.loops import FoldedLoop, is_cut
from atoll.passes.time.folding.turns import Turns

# What stands around loops: before each of them, and after all.
Around = Sequence[Sequence[Entry]]


@dataclass(frozen=True)
class Extra:
    """again: of the model's work, its products and convolutions, what is done again, in percent.

    whole: what is done for the whole batch at once, as the examples are mixed by then, likewise.
    bytes: what is kept of the batch for later loops, on a device of an island that has the whole model.
    """

    again: int
    whole: int
    bytes: int


def extra_of(turns: Turns, loops: Sequence[FoldedLoop], around: Around, replicas: int) -> Extra:
    work = max(1, sum(_cost(node) for node in turns.scope.batch.program.body.nodes))
    again, whole = sum(done_again(loops, around).values()), sum(done_at_once(turns.scope, around).values())
    return Extra(-(-100 * again // work), -(-100 * whole // work), kept_of(turns, loops, replicas).total())


def done_again(loops: Sequence[FoldedLoop], around: Around) -> dict[Node, int]:
    """Of the model's work what stands in more than one loop, in one loop in two forms, or in a loop and around it as
    well; and the operations that this is too much."""
    times = Counter(_works([*(loop.entries for loop in loops), *around]))
    return {node: (count - 1) * _cost(node) for node, count in times.items() if count > 1}


def done_at_once(scope: Interpretation, around: Around) -> dict[Node, int]:
    """Of the model's work what is done for the whole batch, as the examples are mixed by then."""
    return {node: _cost(node) for node in _works(around) if not scope.mixed.isdisjoint(node.results)}


def _works(places: Iterable[Sequence[Entry]]) -> Iterator[Node]:
    for entry in (entry for entries in places for entry in entries):
        is_made = entry.completes is None and not is_cut(entry)
        if entry.node is not None and is_made and contracts(entry.node):
            yield entry.node


def kept_of(turns: Turns, loops: Sequence[FoldedLoop], replicas: int) -> Counter[Node]:
    """What makes values that are kept for later loops, and the bytes of these on a device: parts that loops keep, and
    mixed examples that loops cut theirs out of in place of making it again."""
    scope, kept = turns.scope, Counter[Node]()
    for version in {version for loop in loops for version in loop.taken}:
        producer = scope.batch.program.producers[version[0]]
        assert producer is not None, "an argument is there anyway"
        kept[producer] += -(-turns.device_parts.bytes_on_device(version) // replicas)
    cut = {entry.derived[0]: entry.node for loop in loops for entry in loop.entries if entry.derived is not None}
    for value, node in cut.items():
        if node is not None and node.number in scope.batch.once and value in scope.mixed:
            kept[node] += turns.device_parts.bytes_on_device((value, SAME))
    return kept


def _cost(node: Node) -> int:
    return cost_of(node.operation.opview) if contracts(node) else 0


def refuse_extra(turns: Turns, allowed: Allowance, least: Extra, keeping: Extra) -> Refusal:
    """Of a step that goes over the batch more than once, at a higher price than the plan allows.

    least: if no more is kept than is allowed, or has to be. keeping: if all is kept that several loops need.
    """
    scope = turns.scope
    value = next(one for one in turns.sums if one in turns.early and turns.follows_work(one))
    what = f"the examples of the batch are mixed: {why_mixed(turns, value)}, so that {_price(least, keeping)}"
    if allowed != Allowance.of(0):
        what += f", and the plan allows {allowed.percent}% and {bytes_text(allowed.kept or 0)}"
    ways = " or ".join(f"extra={json.dumps(one.value)}" for one in _allowing(allowed, least, keeping))
    remedy = f"allow it by {ways} in the plan, give every example only what does not depend on the others, "
    return refuse(mixing(turns, value).location, what, f"{remedy}or set {scope.batch.uncut}")


def _price(least: Extra, keeping: Extra) -> str:
    again, kept = f"{least.again}% of the model's work would be done again", bytes_text(least.bytes)
    if not least.again:
        return f"{kept} of the batch would be kept on a device"
    if least.bytes:
        again += f" and {kept} of the batch kept"
    if keeping.again >= least.again:  # even if all is kept, as examples need the same product in two forms
        return f"{again} on a device" if least.bytes else again
    other = f"{bytes_text(keeping.bytes)} of the batch kept on a device"
    return f"{again}, or {keeping.again}% and {other}" if keeping.again else f"{again}, or {other}"


def _allowing(allowed: Allowance, least: Extra, keeping: Extra) -> list[Allowance]:
    """What to allow instead: with the work that is done again, and without it."""
    if allowed == Allowance.of(0) and least.again:
        return [Allowance.of(least.again)]
    kept = allowed.kept or 0
    again = Allowance(max(allowed.percent, least.again), max(kept, least.bytes))
    kept_anyhow = Allowance(max(allowed.percent, keeping.again), max(kept, keeping.bytes))
    return list(dict.fromkeys((again, kept_anyhow)))


def why_mixed(turns: Turns, value: int) -> str:
    """What makes examples wait for the whole batch: a sum that each of them needs, or what takes all of a value."""
    node = mixing(turns, value)
    if isinstance(turns.scope.completed[value], Split):
        return f"{described(node)} combines the examples of the batch with each other"
    what = f"{described(node)} goes over the whole batch"
    consumer = _first_consumer(turns, value)
    if consumer is not None:
        what += f", and {described_beside(consumer, node)} needs its result for every example"
    return what


def mixing(turns: Turns, value: int) -> Node:
    """The operation that sums a value up, or the first one for which it is joined."""
    joining = (node for node in turns.scope.joined if value in (*node.operands, *node.captured))
    producer = next(joining, None) or turns.scope.batch.program.producers[value]
    assert producer is not None
    return producer


def _first_consumer(turns: Turns, value: int) -> Node | None:
    """The first per-example operation that needs a sum, through whatever is the same for all."""
    reached = {value}
    for entry in turns.entries:
        if any(one in reached for one, _ in entry.needs()):
            node = entry.node
            if node is not None and any(isinstance(turns.scope.state(one), Split) for one in node.operands):
                return node
            reached.update(one for one, _ in entry.makes())
    return None
