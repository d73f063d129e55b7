"""Finds the values that can be in pieces if some first values are, and along which dimension each of them is.

What is found only says what can be done in pieces. A value that is needed whole is put together from its pieces, and
pieces of a whole value are cut out of it, so no choice made here can be wrong.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.nodes import Node, NodeTree
from atoll.compiler.batch_rules.rule import FactorRule
from atoll.compiler.batch_rules.table import RULES


@dataclass
class Running:
    """The values and operations that are done in pieces along with some first values.

    fixed: arguments of @main that stay whole.
    dimensions: for each value that is in pieces, the dimension along which it is cut.
    factors: for each operation that is done in pieces, by number, how it treats that dimension.
    """

    program: NodeTree
    fixed: Collection[int]
    dimensions: dict[int, int] = field(default_factory=dict)
    factors: dict[int, Factor] = field(default_factory=dict)
    _left: list[int] = field(default_factory=list)
    _uses: dict[int, list[tuple[Node, int]]] = field(default_factory=dict)  # the nodes that take a value, and where
    _tied: dict[int, tuple[int, ...]] = field(default_factory=dict)  # values that may be the same one at run time

    def _read(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            for operand, value in enumerate(node.operands):
                self._uses.setdefault(value, []).append((node, operand))
            self._read_bodies(node)

    def _read_bodies(self, node: Node) -> None:
        """Ties the results of a choice to what its branches return."""
        if only_chooses(node):
            for branch in node.bodies:
                self._read(branch.nodes)
            for ring in zip(node.results, *(branch.returned for branch in node.bodies), strict=True):
                self._tie(ring)

    def _tie(self, ring: Sequence[int]) -> None:
        """Let values that may be the same one at run time have the same form, if they can."""
        for value in ring:
            self._tied[value] = (*self._tied.get(value, ()), *ring)

    def _run(self) -> None:
        while self._left:
            self._follow(self._left.pop())

    def _set(self, value: int, dimension: int) -> None:
        if value not in self.dimensions:
            self.dimensions[value] = dimension
            self._left.append(value)

    def _want(self, value: int, dimension: int) -> None:
        """Have a value in pieces, if what makes it can be done in pieces."""
        if value not in self.dimensions and self._can_be_made(value, dimension):
            self._set(value, dimension)

    def _can_be_made(self, value: int, dimension: int) -> bool:
        node = self.program.producers[value]
        if node is None:
            return value not in self.fixed and (value in self.program.body.arguments or value in self._tied)
        if self._says_in_bodies(node):
            return value in self._tied
        return bool(self._factors_to(node, value, dimension))

    def _says_in_bodies(self, node: Node) -> bool:
        """Whether the regions of a node decide what it gives, rather than a rule."""
        return only_chooses(node)

    def _follow(self, value: int) -> None:
        """Do what makes a value that is in pieces, and what takes it, in pieces too."""
        dimension = self.dimensions[value]
        node = self.program.producers[value]
        if node is not None and not self._says_in_bodies(node):
            self._go_back(node, value, dimension)
        for other in self._tied.get(value, ()):
            self._want(other, dimension)
        for user, operand in self._uses.get(value, ()):
            self._go_on(user, operand, dimension)

    def _go_back(self, node: Node, value: int, dimension: int) -> None:
        self._decide(node, self._factors_to(node, value, dimension))

    def _go_on(self, node: Node, operand: int, dimension: int) -> None:
        self._decide(node, [one for one in self._all_factors(node) if one.operands[operand] == dimension])

    def _factors_to(self, node: Node, value: int, dimension: int) -> list[Factor]:
        index = node.results.index(value)
        return [one for one in self._all_factors(node) if one.results[index] == dimension]

    def _all_factors(self, node: Node) -> Sequence[Factor]:
        if node.number in self.factors:
            return [self.factors[node.number]]
        rule = RULES.get(node.name)
        # An effect would happen once for each piece.
        if not isinstance(rule, FactorRule) or node.has_effect:
            return ()
        return [one for one in rule.factors(node) if not one.scale]  # a value in pieces is one block

    def _decide(self, node: Node, factors: Sequence[Factor]) -> None:
        """Do an operation in pieces, in the way that suits most of its operands."""
        if node.number in self.factors or not factors:
            return
        chosen = max(factors, key=lambda one: sum(self._suits(node, one)))
        made = list(zip(node.results, chosen.results, strict=True))
        # The dimension ends here, and nothing says how to combine what the pieces give.
        if any(one is None for one in chosen.results) and not chosen.kind:
            return
        # A result is in pieces along another dimension already, and a value has only one form.
        if any(self.dimensions.get(value, one) != one for value, one in made):
            return
        self.factors[node.number] = chosen
        for value, dimension in made:
            if dimension is not None:
                self._set(value, dimension)
        for value, dimension in zip(node.operands, chosen.operands, strict=True):
            if dimension is not None:
                self._want(value, dimension)

    def _suits(self, node: Node, factor: Factor) -> Iterator[bool]:
        for value, dimension in zip(node.operands, factor.operands, strict=True):
            yield value in self.dimensions and self.dimensions[value] == dimension


def only_chooses(node: Node) -> bool:
    """Whether a node chooses between branches that only compute."""
    return node.name in ("stablehlo.case", "stablehlo.if") and not node.has_effect
