"""Pass `make-again`."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.functions import replace_within
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.marking import read_marks
from atoll.compiler.module.marks import STAGE, SWEEP
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.operations.cheap_operations import copied, is_scalar, sent_operands

log = logging.getLogger(__name__)

_Fragment = tuple[int, int, int]  # region, stage and sweep

# What moves elements or chooses among them, and quotients: they are rounded alike wherever they are computed. Not
# products and sums, as XLA may round them together, and not conversions, as it may leave out one that another undoes.
EXACT = (
    stablehlo.AbsOp,
    stablehlo.AndOp,
    stablehlo.BroadcastInDimOp,
    stablehlo.ClampOp,
    stablehlo.CompareOp,
    stablehlo.ConcatenateOp,
    stablehlo.DivOp,
    stablehlo.MaxOp,
    stablehlo.MinOp,
    stablehlo.NegOp,
    stablehlo.NotOp,
    stablehlo.OrOp,
    stablehlo.PadOp,
    stablehlo.ReshapeOp,
    stablehlo.ReverseOp,
    stablehlo.SelectOp,
    stablehlo.SliceOp,
    stablehlo.TransposeOp,
    stablehlo.XorOp,
)


@dataclass(frozen=True)
class MakeAgain(Pass):
    """Compute again, in a later sweep of a stage, what is cheap and follows from what that sweep takes anyway.

    For a softmax jax keeps the exponentials as well as their shares of the sum. Both are used on the way forward and
    back, so `keep-less` can move neither; but who has the exponentials and the sum has the shares after one division.
    Done so is only what is rounded alike wherever it is computed. A quotient is, but by an exponential XLA may multiply
    instead where it sees it; so one that is compared is kept, or `x == max(x)` could find nothing.

    Requires: `order-sweeps` before.

          %q = divide %e, %s {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %0 = dot_general %q, %v {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %1 = dot_general %q, %d {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
          %2 = multiply %e, %s {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
        ~~>
          %q = divide %e, %s {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %0 = dot_general %q, %v {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %r = divide %e, %s {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
          %1 = dot_general %r, %d {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
          %2 = multiply %e, %s {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
    """

    def run(self, module: ir.Module) -> None:
        graph = Graph.of(module)
        again = _Again.of(graph, read_marks(graph, STAGE), read_marks(graph, SWEEP))
        made = sum(again.make(value) for value in range(len(graph.values)))
        log.info("later sweeps make %d bytes again rather than take them", made)


@dataclass
class _Again:
    """at_hand: the values that each fragment takes or makes. copies: what was made again, for each fragment."""

    graph: Graph
    stages: list[int | None]
    sweeps: list[int | None]
    is_copied: Sequence[bool]
    changing: frozenset[int]
    at_hand: dict[_Fragment, set[int]]
    copies: "dict[tuple[int, _Fragment], ir.Operation]" = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, stages: list[int | None], sweeps: list[int | None]) -> "_Again":
        is_copied = copied(graph)
        changing = frozenset(one.argument for loop in graph.loops for one in loop.carried if not one.is_part)
        found = cls(graph, stages, sweeps, is_copied, changing, defaultdict(set))
        for index, sources in enumerate(sent_operands(graph)):
            if (fragment := found.fragment(index)) is not None:
                found.at_hand[fragment].update(sources)
        return found

    def fragment(self, index: int) -> _Fragment | None:
        stage, sweep = self.stages[index], self.sweeps[index]
        return None if stage is None or sweep is None else (self.graph.region[index], stage, sweep)

    def make(self, value: int) -> int:
        """Make a value again in all later sweeps that take it, if that is possible; how many bytes are kept less."""
        users = self._later_users(value)
        chains = {fragment: self._chain(value, fragment) for fragment in users}
        if not users or not all(chains.values()):
            return 0
        for fragment, chain in chains.items():
            self._copy(chain, fragment)
            for user in users[fragment]:
                self._let_take(self.graph.operations[user], [value], fragment)
        return self.graph.sizes[value]

    def _later_users(self, value: int) -> dict[_Fragment, list[int]]:
        """Who takes a value in later sweeps of its stage; nobody, if it stays for others anyway."""
        graph, maker = self.graph, self.graph.producer[value]
        if maker == ARGUMENT or self.is_copied[maker] or is_scalar(graph.values[value]):
            return {}
        if graph.is_yielded[value] or value in graph.returned or (home := self.fragment(maker)) is None:
            return {}
        found = defaultdict[_Fragment, list[int]](list)
        for user in graph.users[value]:
            fragment = self.fragment(user)
            if fragment is not None and fragment != home:
                found[fragment].append(user)
        return found if all(one[:2] == home[:2] and one[2] > home[2] for one in found) else {}

    def _chain(self, value: int, fragment: _Fragment) -> list[int]:
        """The operations that make a value of what a fragment takes, in order; none, if they are not all exact."""
        graph, at_hand = self.graph, self.at_hand[fragment]
        found, left = set[int](), [graph.producer[value]]
        while left:
            index = left.pop()
            if index in found:
                continue
            if index == ARGUMENT or not self._may_be_made_again(index, fragment):
                return []
            found.add(index)
            makers = (graph.producer[one] for one in graph.operands[index] if one not in at_hand)
            left += [maker for maker in makers if maker == ARGUMENT or not self.is_copied[maker]]
        divides = any(isinstance(graph.operations[index], stablehlo.DivOp) for index in found)
        return [] if divides and self._is_compared(value) else sorted(found)

    def _is_compared(self, value: int) -> bool:
        """Whether a comparison takes a value, or what is chosen or moved of it. What a loop does is not looked at."""
        left, seen = [value], set[int]()
        while left:
            users = set(self.graph.users[left.pop()]) - seen
            seen |= users
            if any(isinstance(self.graph.operations[user], (stablehlo.CompareOp, stablehlo.WhileOp)) for user in users):
                return True
            exact = (user for user in users if isinstance(self.graph.operations[user], EXACT))
            left += [result for user in exact for result in self.graph.results[user]]
        return False

    def _may_be_made_again(self, index: int, fragment: _Fragment) -> bool:
        graph = self.graph
        is_here = graph.region[index] == fragment[0]
        is_constant = self.changing.isdisjoint(graph.operands[index])
        return is_here and is_constant and isinstance(graph.operations[index], EXACT)

    def _copy(self, chain: Sequence[int], fragment: _Fragment) -> None:
        """Clone operations into a fragment, each beside the one that it repeats, where all that it takes is there."""
        graph = self.graph
        for index in chain:
            if (index, fragment) not in self.copies:
                copy = graph.operations[index].operation.clone(
                    ip=ir.InsertionPoint.after(graph.operations[index].operation)
                )
                copy.attributes[STAGE], copy.attributes[SWEEP] = map(integer, fragment[1:])
                self._let_take(copy.opview, graph.operands[index], fragment)
                self.copies[index, fragment] = copy

    def _let_take(self, user: ir.OpView, values: Sequence[int], fragment: _Fragment) -> None:
        """Let an operation take what its fragment has made again."""
        graph = self.graph
        replaced = {}
        for value in values:
            maker = graph.producer[value]
            if (made := self.copies.get((maker, fragment))) is not None:
                replaced[graph.values[value]] = made.results[graph.results[maker].index(value)]
        replace_within(user, replaced)
