"""What work each forward operation brings with it: its own, and that of its backward part and its update.

Stages are cut in the forward part, and the rest follows the forward operations that it belongs to. A frozen layer
brings its forward part alone, a trained one three times that, and more if its optimizer does much.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from atoll.compiler.cost.operations import cost_of
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.scopes import Role
from atoll.passes.stage.operations.backward_partners import before_barriers
from atoll.passes.stage.operations.cheap_operations import copied, is_inexact, is_scalar, sent_operands
from atoll.passes.stage.operations.roles import roles_of


def owners_of(graph: Graph, forward: Sequence[int]) -> list[int | None]:
    """For each operation the forward one on whose stage it will be, as far as can be told before there are stages: None
    for what is copied to its users, and for what has nothing to do with the forward part.

    forward: the operations that get stages by the cut, in the order in which to cut them. Each is its own owner.
    """
    return _Owners(graph, forward).found()


def work_of(graph: Graph, forward: Sequence[int], owners: Sequence[int | None]) -> dict[int, float]:
    """What a step of one replica computes on the stage of each forward operation."""
    work: dict[int, float] = dict.fromkeys(forward, 0)
    for index, owner in enumerate(owners):
        if owner is not None:
            work[owner] += cost_of(graph.operations[index]) * graph.iterations(graph.region[index])
    return work


@dataclass
class _Owners:
    graph: Graph
    forward: Sequence[int]
    _place: Mapping[int, int] = field(init=False)  # of each forward operation in the order of the cut
    _sources: Sequence[Sequence[int]] = field(init=False)

    def __post_init__(self) -> None:
        self._place = {index: place for place, index in enumerate(self.forward)}
        # `jax.checkpoint` puts all parameters of a block into one barrier, which tells nothing of who takes which.
        self._sources = [[before_barriers(self.graph, one) for one in taken] for taken in sent_operands(self.graph)]

    def found(self) -> list[int | None]:
        is_copied, roles, takers = copied(self.graph), roles_of(self.graph), self._takers()
        places: list[int | None] = []
        for index, is_copy in enumerate(is_copied):
            place = None if is_copy else self._place.get(index)
            if place is None and not is_copy:
                place = self._behind(index, roles[index], places, takers)
            places.append(place)
        for index in reversed(range(len(places))):
            if places[index] is None and not is_copied[index]:
                places[index] = min(self._of_users(index, places), default=None)
        return [None if place is None else self.forward[place] for place in places]

    def _takers(self) -> dict[int, frozenset[int]]:
        """Where forward operations take each value, or where it is made if only others take it."""
        takers: dict[int, set[int]] = {}
        for index, place in self._place.items():
            for value in self._sources[index]:
                takers.setdefault(value, set()).add(place)
        for index, place in self._place.items():
            for value in self.graph.results[index]:
                takers.setdefault(value, {place})
        return {value: frozenset(places) for value, places in takers.items()}

    def _behind(
        self, index: int, role: Role, places: Sequence[int | None], takers: Mapping[int, frozenset[int]]
    ) -> int | None:
        """Where an operation belongs that takes what forward operations take, or what comes of them.

        A gradient goes back through the model: of the places that its operands tell, it belongs to the last one that is
        not behind that of the gradients it takes. Masks, numbers of rows and scalars tell nothing, as they may be made
        long before they are used. An update belongs to what most of its bytes belong to.
        """
        told = [takers[one] for one in self._sources[index] if one in takers and self._tells(one)]
        come = [(value, place) for value, place in self._places_of(index, places) if value not in takers]
        if role in (Role.UPDATE, Role.FORWARD):
            come += [(value, min(takers[value])) for value in self._sources[index] if value in takers]
            return max(come, key=lambda one: self.graph.sizes[one[0]], default=(0, None))[1]
        come = [(value, place) for value, place in come if self._tells(value)]
        options = frozenset.intersection(*told) if told else frozenset()
        options = options or frozenset().union(*told)
        if role is Role.REMATERIALISED:
            first = max((place for _, place in come), default=0)
            return min((one for one in options if one >= first), default=first if come else min(options, default=None))
        last = min((place for _, place in come), default=len(self.forward))
        return max((one for one in options if one <= last), default=last if come else max(options, default=None))

    def _tells(self, value: int) -> bool:
        one = self.graph.values[value]
        return is_inexact(one) and not is_scalar(one)

    def _places_of(self, index: int, places: Sequence[int | None]) -> Iterator[tuple[int, int]]:
        for value in self._sources[index]:
            producer = self.graph.producer[value]
            place = places[producer] if producer != ARGUMENT else None
            if place is not None:
                yield value, place

    def _of_users(self, index: int, places: Sequence[int | None]) -> Iterator[int]:
        for value in self.graph.results[index]:
            for user in self.graph.users[value]:
                place = places[user]
                if place is not None:
                    yield place
