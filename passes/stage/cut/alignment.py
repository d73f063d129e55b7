"""Puts operations that take the same parameter next to each other, where neither needs the other.

A model that goes over two inputs, as for a pair of answers, does so one after the other. Cut in that order, each way
would be on stages of its own, and every parameter would cross to the second and its gradient back, in every step.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.scopes import Role
from atoll.passes.stage.cut.again import done_before
from atoll.passes.stage.cut.parameters import ParameterPart, Parameters
from atoll.passes.stage.cut.work import owners_of
from atoll.passes.stage.operations.backward_partners import source_of
from atoll.passes.stage.operations.cheap_operations import is_inexact, is_scalar, sent_operands
from atoll.passes.stage.operations.roles import roles_of


def reads_floats(graph: Graph) -> list[bool]:
    """Whether each operation takes floating-point numbers that the program is given, or anything made of these.

    What does not, such as a random generator, is no part of the model.
    """
    reads: list[bool] = []
    for taken in graph.operands:
        producers = [(graph.producer[value], value) for value in taken]
        reads.append(
            any(is_inexact(graph.values[value]) if one == ARGUMENT else reads[one] for one, value in producers)
        )
    return reads


def aligned(graph: Graph, forward: Sequence[int]) -> list[int]:
    """The forward operations in an order in which each comes after what it takes, and the ways of a model over several
    inputs go side by side.

    An operation that takes a parameter goes to where the first one takes it, unless it needs what comes of that: then
    the model goes through a layer twice, or ties its first to its last. Parameters that a step has changed, as for a
    gradient elsewhere, count as those that they are made of. What only prepares parameters goes along with what takes
    that: the table of a head that is tied to the embedding would else be transposed where the embedding is, and cross
    to the last stage with every microbatch. What a later loop does again goes to where it was done first. All else
    follows what it takes.
    """
    ranks = {index: rank for rank, index in enumerate(forward)}
    ways = _Ways(graph, forward)
    if not ways.is_any_pulled:
        return list(forward)
    places, users = dict(ways.places), _users(graph, forward)
    for index in reversed(forward):  # what prepares parameters, or is no part of the model, goes with what takes it
        if index not in ways.places:
            places[index] = min([ranks[index], *(places[user] for user in users[index] if user in places)])
    return sorted(forward, key=lambda index: (places[index], ranks[index]))


def _users(graph: Graph, forward: Sequence[int]) -> dict[int, list[int]]:
    """The forward operations that take what each of them makes, be it through what is copied to its users."""
    found: dict[int, list[int]] = {index: [] for index in forward}
    sent = sent_operands(graph)
    for index in forward:
        for producer in {graph.producer[value] for value in sent[index]} & found.keys():
            found[producer].append(index)
    return found


@dataclass
class _Ways:
    graph: Graph
    forward: Sequence[int]
    places: dict[int, int] = field(default_factory=dict)  # of what is part of the model
    is_any_pulled: bool = False
    _first: dict[int, int] = field(default_factory=dict)  # the place of the first operation that takes a parameter
    _passed: dict[int, int] = field(default_factory=dict)  # the parameters an operation depends on, as bits

    def __post_init__(self) -> None:
        is_model, parameters, owners = reads_floats(self.graph), Parameters(self.graph), self._owners_of_updates()
        before, numbers = done_before(self.graph), dict[ParameterPart, int]()
        for rank, index in enumerate(self.forward):
            if is_model[index] and index not in parameters.prepared:
                taken = self.graph.operands[index]
                alike = [before.get(index), *(owners.get(source_of(self.graph, value)) for value in taken)]
                own = frozenset[ParameterPart]().union(*map(parameters.of_value, taken))
                known = {numbers.setdefault(one, len(numbers)) for one in own}
                self._place(index, rank, known, {self.places[one] for one in alike if one in self.places})

    def _place(self, index: int, rank: int, own: Collection[int], alike: Collection[int]) -> None:
        producers = [one for one in self._producers(index) if one in self.places]
        passed = 0
        for one in producers:
            passed |= self._passed[one]
        pulling = [self._first[one] for one in own if one in self._first and not passed >> one & 1] + [*alike]
        is_new = any(one not in self._first for one in own)
        latest = max((self.places[one] for one in producers), default=0)
        follows = any(self._is_pulled(one) for one in producers)
        place = max(latest, *pulling) if pulling else latest if follows and not is_new else rank
        self.places[index] = place
        self.is_any_pulled |= place < rank and bool(pulling)
        for one in own:
            self._first.setdefault(one, place)
            passed |= 1 << one
        self._passed[index] = passed

    def _is_pulled(self, index: int) -> bool:
        return self.forward[self.places[index]] != index

    def _producers(self, index: int) -> Iterator[int]:
        for value in self.graph.operands[index]:
            if self.graph.producer[value] != ARGUMENT:
                yield self.graph.producer[value]

    def _owners_of_updates(self) -> dict[int, int]:
        """Each array that an update makes and a forward operation takes, and the one that the update belongs to."""
        roles, inside = roles_of(self.graph), set(self.forward)
        taken = {value for index in self.forward for value in self.graph.operands[index]}
        made = {
            value: producer
            for value in taken
            if (producer := self.graph.producer[value]) != ARGUMENT
            and producer not in inside
            and roles[producer] is Role.UPDATE
            and not is_scalar(self.graph.values[value])
        }
        owners = owners_of(self.graph, self.forward) if made else []
        return {value: owner for value, producer in made.items() if (owner := owners[producer]) is not None}
