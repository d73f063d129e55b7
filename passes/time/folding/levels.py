"""Which loop does what: the loops follow each other in levels, as sums that are complete may be needed again.

A per-example operation belongs to the level of the deepest sum that it needs: 0 if none. All that is per example
stands in the last loop; the ones before it do only what leads to sums that are needed early.
"""

from dataclasses import dataclass, field

from atoll.compiler.batch_rules.contraction import contracts
from atoll.compiler.batch_rules.decision import Entry
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.needed_forms import needed_entries
from atoll.compiler.batch_rules.nodes import Node, described, described_beside
from atoll.compiler.batch_rules.states import SAME, Split, Version
from atoll.compiler.mlir.diagnostics import refuse


@dataclass
class FoldedLoop:
    """One loop over the microbatches.

    entries: what it computes, in order.
    sums: the values that it combines.
    kept: the per-example results that it leaves.
    captured: the values, the same for all, that it takes.
    """

    sums: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    captured: list[int] = field(default_factory=list)


@dataclass
class Levels:
    """The loops, and what stands around them: `around[i]` before loop i, the last one after all loops."""

    loops: list[FoldedLoop]
    around: list[list[Entry]]


def levels_of(scope: Interpretation) -> Levels:
    """Divide what @main does among loops and what stands around them."""
    program = scope.batch.program
    needed = _everything(scope)
    level = _level_of_versions(scope, needed)
    early = _needed_early(scope, needed)
    returned = dict.fromkeys(value for value in program.body.returned if isinstance(scope.own_state(value), Split))
    made = [value for value in returned if program.producers[value] is not None]
    sums = [value for value in scope.completed if (value, scope.completed[value]) in level]
    roots: list[Version] = [(value, scope.own_state(value)) for value in made]
    roots += [(value, scope.completed[value]) for value in sums]
    loops = [FoldedLoop() for _ in range(1 + max((level[root] for root in roots), default=-1))]
    if loops:
        loops[-1].kept = made
    for value in sums:
        # What no example needs is summed up in the last loop, which does all that is per example anyway.
        at = level[value, scope.completed[value]] if value in early else -1
        loops[at].sums.append(value)
    for number, loop in enumerate(loops):
        _fill(scope, loop)
        if number < len(loops) - 1:
            _check_cheap(scope, loop)
    return Levels(loops, _around(scope, needed, loops))


def _everything(scope: Interpretation) -> list[Entry]:
    """All that has to be made, in order; the search goes on through sums and what joins them."""
    program = scope.batch.program
    roots: list[Version] = [(value, scope.own_state(value)) for value in program.body.returned]
    return needed_entries(scope, roots)[0]


def _level_of_versions(scope: Interpretation, entries: list[Entry]) -> dict[Version, int]:
    level: dict[Version, int] = {}

    def level_of(version: Version) -> int:
        value, form = version
        if form == SAME and value in scope.completed:
            return 1 + level[value, scope.completed[value]]
        return level.get(version, 0)  # an argument needs no sum

    for entry in entries:
        deepest = max(map(level_of, entry.needs()), default=0)
        if entry.decision is not None and entry.decision.base is not None and entry.node is not None:
            # What joins the sum has to be there where the sum is complete.
            deepest = max(deepest, level_of((entry.node.operands[entry.decision.base], SAME)) - 1)
        varied = is_in_loop(entry)
        level.update((version, deepest) for version in entry.makes() if version[1] != SAME or not varied)
    return level


def is_in_loop(entry: Entry) -> bool:
    """Whether an entry makes anything that differs from microbatch to microbatch."""
    return any(form != SAME for _, form in entry.makes())


def _needed_early(scope: Interpretation, entries: list[Entry]) -> set[int]:
    """The sums that per-example operations need: they have to be complete before the last loop."""
    early: set[int] = set()
    for entry in reversed(entries):
        if is_in_loop(entry) or any(value in early for value, _ in entry.makes()):
            taken = [value for value, form in entry.needs() if form == SAME]
            early.update(taken)
        for value, form in entry.makes():
            if value in early and form != SAME:
                # What joins a sum that is needed early is needed early itself.
                joined = scope.base_of(value) if value in scope.completed else None
                if joined is not None:
                    early.add(joined)
    return early & scope.completed.keys()


def _fill(scope: Interpretation, loop: FoldedLoop) -> None:
    roots: list[Version] = [(value, scope.completed[value]) for value in loop.sums]
    roots += [(value, scope.own_state(value)) for value in loop.kept]
    loop.entries, outside = needed_entries(scope, roots, inside_loop=True)
    loop.captured = [value for value, _ in outside]


# These move data and compute nothing; one that a single loop uses, and nothing else, is made in that loop.
_MOVES_DATA = frozenset(
    f"stablehlo.{name}" for name in ("constant", "broadcast_in_dim", "transpose", "reshape", "iota")
)


@dataclass
class _Around:
    """Places what is the same for all, from the last operation to the first.

    outside: for a value, the first place around the loops where it is needed.
    within: for a value, the loops that use it.
    places: what stands around the loops, backwards.
    moved: what is made in each loop instead, since only that loop uses it and it only moves data; backwards too.
    """

    loops: int
    outside: dict[int, int] = field(default_factory=dict)
    within: dict[int, set[int]] = field(default_factory=dict)
    places: list[list[Entry]] = field(default_factory=list)
    moved: list[list[Entry]] = field(default_factory=list)

    def take_outside(self, value: int, place: int) -> None:
        self.outside[value] = min(self.outside.get(value, self.loops), place)

    def take_within(self, value: int, loop: int) -> None:
        self.within.setdefault(value, set()).add(loop)

    def put(self, entry: Entry) -> None:
        """Put an entry as late as it can stand: before its first user."""
        made = [value for value, _ in entry.makes()]
        loops = set[int]().union(*(self.within.get(value, ()) for value in made))
        outside = [self.outside[value] for value in made if value in self.outside]
        if _moves_data(entry, len(loops) + len(outside)):
            for loop in loops:
                self.moved[loop].append(entry)
                for value, _ in entry.needs():
                    self.take_within(value, loop)
            loops = set()
        if entry.node is not None and entry.node.has_effect:
            outside.append(self.loops)  # the world outside is a user too
        if loops or outside:
            place = min([*loops, *outside])
            self.places[place].append(entry)
            for value, _ in entry.needs():
                self.take_outside(value, place)


def _moves_data(entry: Entry, users: int) -> bool:
    """Whether it is made in the loop that uses it: a constant always, other moves of data if nothing else uses them."""
    name = entry.node.name if entry.node is not None else ""
    return name in _MOVES_DATA and (users == 1 or name == "stablehlo.constant")


def _around(scope: Interpretation, needed: list[Entry], loops: list[FoldedLoop]) -> list[list[Entry]]:
    """Place what is the same for all around the loops; some of it goes into them."""
    last = len(loops)
    around = _Around(last, places=[[] for _ in range(last + 1)], moved=[[] for _ in loops])
    for value in scope.batch.program.body.returned:
        around.take_outside(value, last)
    for number, loop in enumerate(loops):
        for value in loop.captured:
            around.take_within(value, number)
    behind = {value: number + 1 for number, loop in enumerate(loops) for value in loop.sums}
    for entry in reversed(needed):
        if not is_in_loop(entry):
            around.put(entry)
        for value, form in entry.makes():
            if value in behind and form == scope.completed[value]:
                around.places[behind[value]].append(Entry(entry.node, completes=value))
                joined = scope.base_of(value)
                if joined is not None:
                    around.take_outside(joined, behind[value])
    for loop, entries in zip(loops, around.moved, strict=True):
        loop.entries = _in_order([*entries, *loop.entries])
    return [entries[::-1] for entries in around.places]


def _in_order(entries: list[Entry]) -> list[Entry]:
    def place_of(entry: Entry) -> tuple[int, bool]:
        return (-1 if entry.node is None else entry.node.number), entry.derived is not None

    return sorted(entries, key=place_of)


def _check_cheap(scope: Interpretation, loop: FoldedLoop) -> None:
    """Refuse to do the model's work twice: that is what mixing examples comes to."""
    if not any(entry.node is not None and contracts(entry.node) for entry in loop.entries):
        return
    # Filled for one sum at a time, to name the one that is to blame.
    for value in loop.sums:
        alone = FoldedLoop(sums=[value])
        _fill(scope, alone)
        if any(entry.node is not None and contracts(entry.node) for entry in alone.entries):
            raise _mixing(scope, value)


def _mixing(scope: Interpretation, value: int) -> Exception:
    reduction = scope.batch.program.producers[value]
    assert reduction is not None
    consumer = _first_consumer(scope, value)
    what = f"the examples of the batch are mixed: {described(reduction)} goes over the whole batch"
    if consumer is not None:
        what += f", and {described_beside(consumer, reduction)} needs its result for every example"
    remedy = f"give every example only what does not depend on the others, or set {scope.batch.uncut}"
    return refuse(reduction.location, what, remedy)


def _first_consumer(scope: Interpretation, value: int) -> Node | None:
    """The first per-example operation that needs a sum, through whatever is the same for all."""
    reached = {value}
    for entry in _everything(scope):
        if any(one in reached for one, _ in entry.needs()):
            node = entry.node
            if node is not None and any(isinstance(scope.state(one), Split) for one in node.operands):
                return node
            reached.update(one for one, _ in entry.makes())
    return None
