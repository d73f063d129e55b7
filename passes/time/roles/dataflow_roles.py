"""The roles of a program's operations by what they take and what takes them, where no scopes tell.

Nothing tells where a gradient begins, so it is found from its end: a result of the type of an argument, made by a
product or a loop that takes what a product or loop of the model takes (`products`). What depends on such a product and
leads to a gradient is backward; what the model's own products need is forward.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from atoll.compiler.batch_rules import elementwise
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import BATCH
from atoll.compiler.module.scopes import Role
from atoll.passes.time.roles.equal_values import EqualValues
from atoll.passes.time.roles.products import Pair, pairs_of

_ELEMENTWISE = frozenset(name for row in elementwise.RULES for name in row.operations)
# What stands between a gradient's product and the parameter's shape.
_RESHAPING = frozenset(("stablehlo.transpose", "stablehlo.reshape", "stablehlo.reverse"))
# The same, and what adds up the gradients of what a model uses twice.
_JOINING = _RESHAPING | {"stablehlo.add", "stablehlo.convert"}
# What makes an array out of nothing that has its shape.
_FILLING = frozenset(("stablehlo.broadcast_in_dim", "stablehlo.constant", "stablehlo.iota", "stablehlo.pad"))


def dataflow_roles(graph: Graph) -> list[Role] | None:
    """The role of each operation; None if the program takes no gradient that can be told by its products."""
    equal = EqualValues.of(graph)
    pairs = pairs_of(graph, equal)
    if not pairs:
        return None
    return _Gradients.of(graph, equal, pairs).roles()


@dataclass(frozen=True)
class _Walk:
    """What a result is made of element by element.

    ends: the values at which the walk stopped: they are made in another way.
    has_own: whether an argument of the result's type is among what it is made of, as in an update.
    """

    ends: tuple[int, ...]
    has_own: bool

    @classmethod
    def of(cls, graph: Graph, value: int) -> "_Walk":
        wanted = graph.values[value].type
        left, seen, ends, has_own = [value], {value}, list[int](), False
        while left:
            one = left.pop()
            producer = graph.producer[one]
            if producer == ARGUMENT:
                has_own |= one != value and graph.values[one].type == wanted
                continue
            name = graph.operations[producer].operation.name
            if name in _ELEMENTWISE or name in _RESHAPING:
                new = [taken for taken in graph.operands[producer] if taken not in seen]
                seen.update(new)
                left += new
            elif name not in _FILLING:
                ends.append(one)
        return cls(tuple(ends), has_own)


@dataclass(frozen=True)
class _Gradients:
    """Where the gradients of a program are, as sets of operations or of values."""

    graph: Graph
    equal: EqualValues
    pairs: Sequence[Pair]
    walks: Sequence[_Walk]  # of each result

    @classmethod
    def of(cls, graph: Graph, equal: EqualValues, pairs: Sequence[Pair]) -> "_Gradients":
        return cls(graph, equal, pairs, [_Walk.of(graph, value) for value in graph.returned])

    def roles(self) -> list[Role] | None:
        if not self._proofs or not self._firsts:
            return None
        towards = self._above(self._joined())
        return [self._role(index, is_towards) for index, is_towards in enumerate(towards)]

    def _role(self, index: int, is_towards: bool) -> Role:
        if self._is_forward[index]:
            return Role.FORWARD
        if not is_towards:
            return Role.UPDATE
        # What no gradient comes into is kept for the backward part, if it stands among the model's operations.
        if not self._is_behind[index] and index < max(self._firsts):
            return Role.FORWARD
        return Role.REMATERIALISED if self.equal.is_again[index] else Role.BACKWARD

    @cached_property
    def _proofs(self) -> set[int]:
        """Values that are the gradient of an argument, by what makes them, on the way to a result of its type."""
        parameters = self._parameters
        types = {(pair.second, self.graph.values[pair.of].type) for pair in self.pairs if pair.of in parameters}
        return {
            end
            for value, walk in zip(self.graph.returned, self.walks, strict=True)
            for end in walk.ends
            if (self.graph.producer[end], self.graph.values[value].type) in types
        }

    @cached_property
    def _parameters(self) -> set[int]:
        """The arguments that may have a gradient."""
        attributes = argument_attributes(entry_function(self.graph.module))
        return {number for number, marks in enumerate(attributes) if BATCH not in marks}

    @cached_property
    def _updates(self) -> set[int]:
        """The results that replace an argument; where none does, those that may be the gradient of one."""
        values = self.graph.values
        types = {values[number].type for number in self._parameters}
        own = {number for number, walk in enumerate(self.walks) if walk.has_own}
        return own or {number for number, value in enumerate(self.graph.returned) if values[value].type in types}

    @cached_property
    def _seconds(self) -> set[int]:
        """The products and loops that make such a gradient or lead to one."""
        leads = self._above(self.graph.producer[end] for end in self._proofs)
        return {pair.second for pair in self.pairs if leads[pair.second]}

    @cached_property
    def _firsts(self) -> set[int]:
        """The products and loops of the model whose gradients were found."""
        return {pair.first for pair in self.pairs if pair.second in self._seconds and not self._is_behind[pair.first]}

    @cached_property
    def _is_behind(self) -> list[bool]:
        """Which operations are of a gradient or depend on one."""
        below = self._below(self._results_of(self._seconds))
        return [found or index in self._seconds for index, found in enumerate(below)]

    @cached_property
    def _is_in_head(self) -> list[bool]:
        """Which operations come after the last of the model's products: the loss, and where its gradient begins."""
        above = self._above(self._firsts, strictly=True)
        below = self._below(self._results_of(one for one in self._firsts if not above[one]))
        return [is_below and not behind for is_below, behind in zip(below, self._is_behind, strict=True)]

    @cached_property
    def _is_forward(self) -> list[bool]:
        """Which operations the model's products need, or its results: the loss, and what is measured."""
        is_in_model = self._below(self._results_of(self._firsts))
        others = (value for number, value in enumerate(self.graph.returned) if number not in self._updates)
        made = (self.graph.producer[value] for value in others)
        results = {one for one in made if one != ARGUMENT and is_in_model[one] and not self._is_behind[one]}
        return self._above(self._firsts | results)

    def _joined(self) -> set[int]:
        """What makes the gradients of parameters, and what only brings these into shape or adds them up."""
        behind, is_behind = (end for walk in self.walks for end in walk.ends), self._is_behind
        found = self._earliest(end for end in behind if is_behind[self.graph.producer[end]])
        # A last bias has only the loss after it.
        updates = (end for number in self._updates for end in self.walks[number].ends)
        found |= self._earliest(
            end
            for end in updates
            if self._is_in_head[self.graph.producer[end]] and not self._is_forward[self.graph.producer[end]]
        )
        found |= {self.graph.producer[end] for end in self._proofs}
        for index, operation in enumerate(self.graph.operations):
            taken = self.graph.operands[index]
            if operation.operation.name in _JOINING and all(self.graph.producer[value] in found for value in taken):
                found.add(index)
        return found

    def _earliest(self, values: Iterable[int]) -> set[int]:
        """What makes those of some values that depend on no other: later ones take gradients, such as norms."""
        some = set(values)
        later = self._below(some)
        return {self.graph.producer[value] for value in some if not later[self.graph.producer[value]]}

    def _results_of(self, operations: Iterable[int]) -> set[int]:
        return {value for index in operations for value in self.graph.results[index]}

    def _below(self, values: set[int]) -> list[bool]:
        """Which operations depend on some values."""
        found: list[bool] = []
        for operands in self.graph.operands:
            producers = self._producers(operands)
            found.append(not values.isdisjoint(operands) or any(found[one] for one in producers))
        return found

    def _above(self, operations: Iterable[int], strictly: bool = False) -> list[bool]:
        """Which operations some depend on, and these too unless strictly."""
        some = set(operations)
        found = [False] * len(self.graph.operations)
        for index in reversed(range(len(found))):
            if found[index] or index in some:
                for one in self._producers(self.graph.operands[index]):
                    found[one] = True
        return found if strictly else [above or index in some for index, above in enumerate(found)]

    def _producers(self, values: Iterable[int]) -> Iterator[int]:
        return (one for one in (self.graph.producer[value] for value in values) if one != ARGUMENT)
