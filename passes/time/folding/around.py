"""Places what is the same for all microbatches around the loops; some of it goes into them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from atoll.compiler.batch_rules.decision import Entry
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.passes.time.folding.loops import FoldedLoop, is_in_loop

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


def around_loops(scope: Interpretation, needed: Sequence[Entry], loops: list[FoldedLoop]) -> list[list[Entry]]:
    """What stands around the loops, in order; what only moves data goes into the loop that alone uses it."""
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
