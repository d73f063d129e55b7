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
from atoll.compiler.module.graph import ARGUMENT, Graph, elements_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import BATCH
from atoll.compiler.module.scopes import Role
from atoll.passes.time.roles.equal_values import EqualValues
from atoll.passes.time.roles.products import Pair, pairs_of

_ELEMENTWISE = frozenset(name for row in elementwise.RULES for name in row.operations)
# What takes parts of arrays or makes arrays of parts: a parameter of several, and its gradient.
_MOVING = frozenset(
    (
        "stablehlo.broadcast_in_dim",
        "stablehlo.concatenate",
        "stablehlo.dynamic_slice",
        "stablehlo.dynamic_update_slice",
        "stablehlo.pad",
        "stablehlo.reshape",
        "stablehlo.reverse",
        "stablehlo.slice",
        "stablehlo.transpose",
    )
)
# What brings gradients into shape, and adds up those of what a model uses twice.
_JOINING = _MOVING | {"stablehlo.add", "stablehlo.convert"}


def dataflow_roles(graph: Graph) -> list[Role] | None:
    """The role of each operation; None if the program takes no gradient that can be told by its products."""
    equal = EqualValues.of(graph)
    pairs = pairs_of(graph, equal)
    if not pairs:
        return None
    return _Gradients.of(graph, equal, pairs).roles()


@dataclass(frozen=True)
class _Walk:
    """What a value is made of element by element, but for scalars, which all elements share.

    ends: the values at which the walk stopped: they are made in another way.
    arguments: those at which it stopped, by number.
    """

    ends: tuple[int, ...]
    arguments: frozenset[int]

    @classmethod
    def of(cls, graph: Graph, value: int) -> "_Walk":
        left, seen, ends, arguments = [value], {value}, list[int](), set[int]()
        while left:
            one = left.pop()
            producer = graph.producer[one]
            if producer == ARGUMENT:
                arguments.add(one)
            elif graph.operations[producer].operation.name in _ELEMENTWISE | _MOVING:
                taken = (other for other in graph.operands[producer] if elements_of(graph.values[other].type) != 1)
                new = [other for other in taken if other not in seen]
                seen.update(new)
                left += new
            else:
                ends.append(one)
        return cls(tuple(ends), frozenset(arguments))


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
        graph = self.graph
        ends = [
            (end, graph.values[value].type)
            for value, walk in zip(graph.returned, self.walks, strict=True)
            for end in walk.ends
        ]
        made = {graph.producer[end] for end, _ in ends}
        types = {
            (pair.second, graph.values[number].type)
            for pair in self.pairs
            if pair.second in made
            for number in _Walk.of(graph, pair.of).arguments & self._parameters
        }
        # Optimizers have such products too, of the gradients.
        return self._earliest(end for end, type_ in ends if (graph.producer[end], type_) in types)

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
        returned = list(enumerate(self.graph.returned))
        own = {
            number
            for number, value in returned
            if any(one != value and values[one].type == values[value].type for one in self.walks[number].arguments)
        }
        return own or {number for number, value in returned if values[value].type in types}

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
        producer = self.graph.producer
        behind = (end for walk in self.walks for end in walk.ends if self._is_behind[producer[end]])
        # A last bias has only the loss after it.
        updates = (end for number in self._updates for end in self.walks[number].ends)
        in_head = (end for end in updates if self._is_in_head[producer[end]] and not self._is_forward[producer[end]])
        ends = self._earliest(behind) | self._earliest(in_head) | self._proofs
        found = {producer[end] for end in ends}
        for index, operation in enumerate(self.graph.operations):
            taken = [value for value in self.graph.operands[index] if not self.equal.is_constant[value]]
            is_joined = taken and all(self.graph.producer[value] in found for value in taken)
            if is_joined and operation.operation.name in _JOINING:
                found.add(index)
        return found

    def _earliest(self, values: Iterable[int]) -> set[int]:
        """Those of some values that depend on no other: what makes later ones takes gradients, as norms do."""
        some = set(values)
        later = self._below(some)
        return {value for value in some if not later[self.graph.producer[value]]}

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
