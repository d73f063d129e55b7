"""Which values are stacked with the layers of some loops, found from the loops through all that touches their stacks.

What a value is here only decides where it is computed: a stack that is needed whole is joined, and a whole value that
is needed in pieces is cut, so that every choice is right.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from atoll.compiler.batch.nodes import Body, Node, Program
from atoll.compiler.batch.rule import Factor, FactorRule
from atoll.compiler.batch.table import RULES
from atoll.compiler.entry import PARTS
from atoll.compiler.layers.loop import MICROBATCHES, LayerLoop

# A node that takes a value, and as which operand.
_Use = tuple[Node, int]


@dataclass
class Stacking:
    """What is stacked with some loops over layers, of which there are `program.parts`.

    readable: all loops over as many layers, by the number of their node.
    fixed: arguments of @main that stay whole.
    dimensions: of each stacked value the dimension along which the layers are.
    loops: the loops that are stacked with the first ones.
    factors: how other operations treat the layers.
    """

    program: Program
    readable: Mapping[int, LayerLoop]
    fixed: Collection[int]
    dimensions: dict[int, int] = field(default_factory=dict)
    loops: dict[int, LayerLoop] = field(default_factory=dict)
    factors: dict[int, Factor] = field(default_factory=dict)
    _left: list[int] = field(default_factory=list)
    _uses: dict[int, list[_Use]] = field(default_factory=dict)
    _tied: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program, readable: Mapping[int, LayerLoop], fixed: Collection[int], first: int) -> "Stacking":
        """All that is stacked with the loop of a node."""
        stacking = cls(program, readable, fixed)
        stacking._read(program.body)
        stacking._include(readable[first])
        while stacking._left:
            stacking._follow(stacking._left.pop())
        return stacking

    def _read(self, body: Body) -> None:
        for node in body.nodes:
            for operand, value in enumerate(node.operands):
                self._uses.setdefault(value, []).append((node, operand))
            if node.name == MICROBATCHES:
                self._read(node.bodies[0])
                self._read_carried(node)
            elif is_choice(node):
                for branch in node.bodies:
                    self._read(branch)
                for ring in zip(node.results, *(branch.returned for branch in node.bodies), strict=True):
                    self._tie(ring)

    def _read_carried(self, node: Node) -> None:
        """What a loop over microbatches carries has one form all the way round."""
        (body,) = node.bodies
        columns = (node.operands, body.arguments, body.returned, node.results)
        parts = node.integers(PARTS)
        for number, ring in enumerate(zip(*columns, strict=False)):  # the last argument counts
            if number not in parts:
                self._tie(ring)

    def _tie(self, ring: Sequence[int]) -> None:
        """Values that are one another at other times have one form, if they can."""
        for value in ring:
            self._tied[value] = (*self._tied.get(value, ()), *ring)

    def _include(self, loop: LayerLoop) -> None:
        """Split a loop: the stacks that it takes are wanted, and those that it gives are there."""
        if loop.node.number in self.loops:
            return
        self.loops[loop.node.number] = loop
        for slot, stack in loop.stacks.items():
            self._want(loop.node.operands[slot], stack.dimension)
            self._set(loop.node.results[slot], stack.dimension)

    def _set(self, value: int, dimension: int) -> None:
        if value not in self.dimensions:
            self.dimensions[value] = dimension
            self._left.append(value)

    def _want(self, value: int, dimension: int) -> None:
        """Stack a value, if what makes it can be done in pieces."""
        if value not in self.dimensions and self._can_be_made(value, dimension):
            self._set(value, dimension)

    def _can_be_made(self, value: int, dimension: int) -> bool:
        node = self.program.producers[value]
        if node is None:
            return value not in self.fixed and self._is_argument(value)
        if _has_bodies(node):
            return value in self._tied
        return self._loop_that_gives(node, value, dimension) is not None or bool(
            self._factors_to(node, value, dimension)
        )

    def _is_argument(self, value: int) -> bool:
        return value in self.program.body.arguments or value in self._tied

    def _loop_that_gives(self, node: Node, value: int, dimension: int) -> LayerLoop | None:
        return self._loop_with(node, node.results.index(value), dimension)

    def _loop_with(self, node: Node, slot: int, dimension: int) -> LayerLoop | None:
        """The loop of a node, if a slot of it is stacked along the dimension."""
        loop = self.readable.get(node.number)
        stack = loop.stacks.get(slot) if loop is not None else None
        return loop if stack is not None and stack.dimension == dimension else None

    def _factors_to(self, node: Node, value: int, dimension: int) -> list[Factor]:
        index = node.results.index(value)
        return [one for one in self._all_factors(node) if one.results[index] == dimension]

    def _all_factors(self, node: Node) -> Sequence[Factor]:
        if node.number in self.factors:
            return [self.factors[node.number]]
        rule = RULES.get(node.name)
        return rule.factors(node) if isinstance(rule, FactorRule) and not node.has_effect else ()

    def _follow(self, value: int) -> None:
        """Let what makes a stacked value and what takes it go along with it."""
        dimension = self.dimensions[value]
        node = self.program.producers[value]
        if node is not None and not _has_bodies(node):
            loop = self._loop_that_gives(node, value, dimension)
            if loop is not None:
                self._include(loop)
            else:
                self._decide(node, self._factors_to(node, value, dimension))
        for other in self._tied.get(value, ()):
            self._want(other, dimension)
        for user, operand in self._uses.get(value, ()):
            loop = self._loop_with(user, operand, dimension)
            if loop is not None:
                self._include(loop)
            else:
                factors = [one for one in self._all_factors(user) if one.operands[operand] == dimension]
                self._decide(user, factors)

    def _decide(self, node: Node, factors: Sequence[Factor]) -> None:
        """Do an operation in pieces, in the way that suits most of what it takes."""
        if node.number in self.factors or not factors:
            return
        chosen = max(factors, key=lambda one: sum(self._suits(node, one)))
        made = list(zip(node.results, chosen.results, strict=True))
        if any(one is None for one in chosen.results) and not chosen.kind:
            return
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


def is_choice(node: Node) -> bool:
    """Whether a node chooses between branches that only compute."""
    return node.name in ("stablehlo.case", "stablehlo.if") and not any(one.has_effect for one in node.inner())


def _has_bodies(node: Node) -> bool:
    """Whether what a node gives is said in its regions."""
    return node.name == MICROBATCHES or is_choice(node)
