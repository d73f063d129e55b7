"""The kind of rule that most operations have.

It describes an operation by *factors*, as Shardy does: each factor is a dimension that runs through the operation, from
dimensions of operands to dimensions of results. A batch that comes in along a dimension of no factor is mixed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.decision import Decision, Mixed
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node, described_beside
from atoll.compiler.batch_rules.states import SAME, Partial, Split, State


@dataclass(frozen=True)
class Factor:
    """A dimension that runs through an operation.

    operands: for each operand which of its dimensions it is; None where the operand does not have it.
    results: the same for the results; None where it is summed away.
    kind: how partial results combine, where it is summed away.
    base: the operand that joins the combined result once, if there is one.
    """

    operands: tuple[int | None, ...]
    results: tuple[int | None, ...]
    kind: str = ""
    base: int | None = None


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
            return self._pass_partial(scope, node, states)
        factors = self.factors(node)
        split = [(index, state.dimension) for index, state in enumerate(states) if isinstance(state, Split)]
        for factor in factors:
            if all(factor.operands[index] == dimension for index, dimension in split):
                return self.decide(node, factor)
        if all(any(one.operands[index] == dimension for one in factors) for index, dimension in split):
            raise Mixed(node, "brings every example of the batch together with every other")
        raise Mixed(node, "combines the examples of the batch with each other")

    def backward(self, _scope: Interpretation, node: Node, wanted: Mapping[int, Split]) -> Decision | None:
        for factor in self.factors(node):
            if all(factor.results[index] == form.dimension for index, form in wanted.items()):
                return self.decide(node, factor)
        return None

    def build(self, local: Local, node: Node, decision: Decision, operands: Values) -> Values:
        return self.make(local, node, decision, operands)

    def without_batch(self, _scope: Interpretation, node: Node, _decision: Decision) -> Decision:
        raise AssertionError(f"all results of {node.name} carry the batch, or none")

    def decide(self, node: Node, factor: Factor) -> Decision:
        """The forms that a factor asks for."""
        operands: list[State] = [SAME if one is None else Split(one) for one in factor.operands]
        results: tuple[State, ...] = tuple(
            Partial(factor.kind) if one is None else Split(one) for one in factor.results
        )
        base = factor.base
        if base is not None:
            if node.program.is_identity(node.operands[base], factor.kind):
                base = None
            else:
                operands[base] = Partial(factor.kind)
        return Decision(tuple(operands), results, base)

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
