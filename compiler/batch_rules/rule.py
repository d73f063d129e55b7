"""The kind of rule that most operations have.

It describes an operation by *factors*, as Shardy does: each factor is a dimension that runs through the operation, from
dimensions of operands to dimensions of results. A batch that comes in along a dimension of no factor is mixed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.decision import Decision, Mixed
from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node, described_beside
from atoll.compiler.batch_rules.orders import compared_in_order, make_compared, pass_in_order
from atoll.compiler.batch_rules.states import ABSENT, SAME, Partial, Places, Sorted, Split, State


@dataclass(frozen=True)
class Linear:
    """Which operands may be partial results, so that the result is one too.

    together: operands that have to be partial together, such as both summands.
    alone: operands of which one at a time may be partial, such as either factor of a product.
    kinds: how the partial results may combine.
    """

    together: tuple[int, ...] = ()
    alone: tuple[int, ...] = ()
    kinds: frozenset[str] = frozenset(("add",))


Build = Callable[[Local, Node, Decision, Values], Values]


def build_same(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    """The same operation; only the types of its results differ."""
    return list(local.clone(node, decision, operands).results)


@dataclass(frozen=True)
class FactorRule:
    """A row of the table, for operations whose factors can be listed.

    linear: which operands may be partial results; None if none may.
    """

    operations: tuple[str, ...]
    says: str
    factors: Callable[[Node], Sequence[Factor]]
    linear: Callable[[Node], Linear | None] = lambda _: None
    make: Build = build_same
    takes_batch_in_regions: bool = False

    def forward(self, scope: Interpretation, node: Node, states: Sequence[State]) -> Decision:
        if any(isinstance(state, Partial) for state in states):
            return compared_in_order(scope, node) or self._pass_partial(scope, node, states)
        factors = self.factors(node)
        if any(isinstance(state, Sorted | Places) for state in states):
            return pass_in_order(scope, node, states, factors)
        split = {index: state for index, state in enumerate(states) if isinstance(state, Split)}
        along = [one for one in factors if all(one.operands[index] == form.dimension for index, form in split.items())]
        found = self._fitting(node, along, split)
        if found is None:
            raise Mixed(node, _why_mixed(factors, along, split))
        return found

    def backward(self, _scope: Interpretation, node: Node, wanted: Mapping[int, Split]) -> Decision | None:
        along = [
            one
            for one in self.factors(node)
            if all(one.results[index] == form.dimension for index, form in wanted.items())
        ]
        return self._fitting(node, along, {len(node.operands) + index: form for index, form in wanted.items()})

    def _fitting(self, node: Node, along: Sequence[Factor], given: Mapping[int, Split]) -> Decision | None:
        """The forms that the first factor asks for whose parts have whole elements, if these are given.

        given: the forms of some operands, and of some results, which are numbered behind the operands.
        """
        for factor in along:
            first = next(iter(given))
            blocks = factor.blocks(first, given[first].blocks)
            if blocks is not None and all(blocks[place] == form.blocks for place, form in given.items()):
                decision = self.decide(node, factor, blocks)
                if _divides(node, factor, decision):
                    return decision
        return None

    def build(self, local: Local, node: Node, decision: Decision, operands: Values) -> Values:
        make = make_compared if ABSENT in decision.operands else self.make
        return make(local, node, decision, operands)

    def without_batch(self, _scope: Interpretation, node: Node, _decision: Decision) -> Decision:
        raise AssertionError(f"all results of {node.name} carry the batch, or none")

    def decide(self, node: Node, factor: Factor, blocks: Sequence[int] = ()) -> Decision:
        """The forms that a factor asks for, with so many blocks in each operand and result; with one if not given."""
        count = len(factor.operands)
        blocks = blocks or (1,) * (count + len(factor.results))
        operands = [
            SAME if one is None else Split(one, own) for one, own in zip(factor.operands, blocks[:count], strict=True)
        ]
        results = [
            Partial(factor.kind) if one is None else Split(one, own)
            for one, own in zip(factor.results, blocks[count:], strict=True)
        ]
        return Decision.along(node, factor, operands, results)

    def _pass_partial(self, scope: Interpretation, node: Node, states: Sequence[State]) -> Decision:
        partial = [index for index, state in enumerate(states) if isinstance(state, Partial)]
        state = states[partial[0]]
        assert isinstance(state, Partial)
        linear = self.linear(node)
        rest = [states[index] for index in range(len(states)) if index not in partial]
        is_uniform = all(states[index] == state for index in partial) and all(one == SAME for one in rest)
        if linear is not None and is_uniform and state.kind in linear.kinds:
            results = tuple(state for _ in node.results)
            if set(partial) <= set(linear.together):
                operands = tuple(state if index in linear.together else SAME for index in range(len(states)))
                return Decision(operands, results)
            if len(partial) == 1 and partial[0] in linear.alone:
                return Decision(tuple(states), results)
        reduction = scope.origin(node.operands[partial[0]])
        whole = described_beside(reduction, node) if reduction is not None else "a reduction"
        raise Mixed(node, f"needs the result of {whole}, which is complete only when the loop around them is left")


def _divides(node: Node, factor: Factor, decision: Decision) -> bool:
    """Whether every block has a whole number of elements for each microbatch, and blocks begin where they have to."""
    forms = [*zip(node.operands, decision.operands, strict=True), *zip(node.results, decision.results, strict=True)]
    sizes = [
        divmod(node.program.shape(value)[form.dimension], form.blocks)
        for value, form in forms
        if isinstance(form, Split)
    ]
    is_even = all(rest == 0 and size % node.program.parts == 0 for size, rest in sizes)
    return is_even and (not factor.begins or factor.begins % sizes[0][0] == 0)


def _why_mixed(factors: Sequence[Factor], along: Sequence[Factor], split: Mapping[int, Split]) -> str:
    """What an operation does with the batch, of which no factor is given what it asks for.

    along: the factors of the right dimensions.
    """
    counts = sorted({form.blocks for form in split.values()})
    if not any(not one.scale for one in along):
        if not along and all(any(one.operands[at] == form.dimension for one in factors) for at, form in split.items()):
            return "brings every example of the batch together with every other"
        return "combines the examples of the batch with each other"
    if len(counts) > 1:
        return f"takes the batch in {counts[0]} and in {counts[-1]} blocks, so that other examples meet"
    return "does not keep the microbatches apart"
