"""Which results a training loop hands back as arguments of the next step, by their paths and types alone."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from atoll.compiler.module.interface import Piece
from atoll.compiler.plan.scope_patterns import path_components

# What a leaf is in its argument or result: the keys that lead to it, which piece it is, and its kind.
_Place = tuple[tuple[str, ...], Piece | None, Hashable]


@dataclass(frozen=True)
class StateLeaf:
    """An argument or result of `@main`: a leaf of a pytree.

    path: what the user calls it: `state['params']['w']`.
    kind: what has to be equal for one to take the place of another.
    piece: which piece it is, of what is in several.
    """

    path: str
    kind: Hashable
    piece: Piece | None = None


def replacements(arguments: Mapping[int, StateLeaf], results: Sequence[StateLeaf]) -> dict[int, int]:
    """For each leaf of arguments that a result replaces, the number of that result; arguments have their own numbers.

    An argument is replaced as a whole, by the first result, `result` or `result[0]`, that has all its leaves, of the
    same kinds, and replaces no other argument yet. What no result has all leaves of is replaced as far as it goes, by
    the result that has most: looked for leaf by leaf, a `w` could be found in the losses of the layers.
    """
    groups: dict[tuple[str, ...], dict[_Place, int]] = {}
    for number, leaf in arguments.items():
        path = path_components(leaf.path)
        groups.setdefault(path[:1], {})[path[1:], leaf.piece, leaf.kind] = number
    offered = _Offered(results)
    found: dict[int, int] = {}
    for is_whole in (True, False):
        for argument in groups.values():
            if found.keys().isdisjoint(argument.values()):
                pairs = offered.most(argument)
                if len(pairs) == len(argument) or not is_whole:
                    offered.used.update(pairs.values())
                    found |= {argument[place]: result for place, result in pairs.items()}
    return dict(sorted(found.items()))


class _Offered:
    """What results there are. used: the numbers of those that replace something."""

    def __init__(self, results: Sequence[StateLeaf]) -> None:
        self.used: set[int] = set()
        # For what may be wanted, in which wholes it is, by their order, and the number of the leaf there.
        self._at: defaultdict[_Place, list[tuple[int, int]]] = defaultdict(list)
        wholes: defaultdict[tuple[str, ...], int] = defaultdict(count().__next__)
        for length in (1, 2):  # `result['w']`, `result[0]['w']`
            for number, leaf in enumerate(results):
                path = path_components(leaf.path)
                if len(path) >= length:
                    place = path[length:], leaf.piece, leaf.kind
                    self._at[place].append((wholes[path[:length]], number))

    def most(self, wanted: Iterable[_Place]) -> dict[_Place, int]:
        """The leaves of the result that has most of what is wanted, the first such one; empty if none has any."""
        fitting: defaultdict[int, dict[_Place, int]] = defaultdict(dict)
        for place in wanted:
            for whole, number in self._at.get(place, ()):
                if number not in self.used:
                    fitting[whole][place] = number
        return fitting[min(fitting, key=lambda whole: (-len(fitting[whole]), whole))] if fitting else {}
