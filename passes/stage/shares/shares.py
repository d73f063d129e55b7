"""Which values of an update can be shared over replicas, so that each computes and keeps only its own share.

Found from the arguments that only the update reads, and that it returns anew: the state of the optimizer. What runs
along with a dimension of theirs is shared with them; the parameters themselves are not, as every replica needs them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from atoll.compiler.batch_rules.counted_loop import MICROBATCHES
from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.nodes import Body, Node, NodeTree
from atoll.compiler.batch_rules.propagation import Running, only_chooses
from atoll.compiler.module.shardings import Spec, on_island
from atoll.compiler.topology.island import Island

# Operations whose rules ask where the own share begins, which takes an exchange.
_NUMBERED = frozenset(("stablehlo.gather", "stablehlo.iota", "stablehlo.scatter"))


@dataclass
class Shares(Running):
    """What runs along with some arguments through the update.

    nodes: the operations of the update.
    kept: the arguments.
    users_of_whole: for each argument that was asked for and is not kept, an operation that needs it whole.
    """

    nodes: Sequence[Node] = ()
    kept: Collection[int] = ()
    users_of_whole: Mapping[int, Node] = field(default_factory=dict)
    _whole_choices: Collection[int] = frozenset()  # their branches would have to exchange something
    _read_nodes: set[int] = field(default_factory=set)
    _captured: dict[int, Node] = field(default_factory=dict)  # what regions use, with the operation that has them

    @classmethod
    def of(cls, program: NodeTree, nodes: Sequence[Node], state: Mapping[int, int]) -> "Shares":
        """All that is shared along with arguments, each of them along a dimension.

        An argument that something needs whole is not shared: its shares would have to be gathered in every step.
        """
        left, whole, choices = dict(state), dict[int, Node](), frozenset[int]()
        while True:
            fixed = set(program.body.arguments) - set(left)
            found = cls(program, fixed, nodes=nodes, kept=left.keys(), users_of_whole=whole, _whole_choices=choices)
            found._run_from(left)
            crossed = frozenset(node.number for node in nodes if found._is_crossed(node))
            needed = {value: user for value in left if (user := found._user_of_whole(value))}
            if not crossed and not needed:
                return found
            choices |= crossed
            if not crossed:  # otherwise fewer may be needed whole, once those choices stay whole
                whole |= needed
                left = {value: dimension for value, dimension in left.items() if value not in needed}

    def is_shared(self, node: Node) -> bool:
        """Whether a node is a choice of which some results are shared."""
        return self._is_open(node) and any(value in self.dimensions for value in node.results)

    def choices_left_whole(self) -> list[Node]:
        """Choices between shares that something would have to be exchanged in."""
        return [node for node in self.nodes if node.number in self._whole_choices]

    def is_there_whole(self, node: Node) -> bool:
        """Whether a node that is done in shares takes nothing shared: then it may be done whole as well."""
        return all(one is None for one in self.factors[node.number].operands)

    def _run_from(self, state: Mapping[int, int]) -> None:
        self._read(self.nodes)
        for value, dimension in state.items():
            self._set(value, dimension)
        self._run()

    def _is_open(self, node: Node) -> bool:
        return only_chooses(node) and node.number not in self._whole_choices

    def _read_bodies(self, node: Node) -> None:
        self._read_nodes.add(node.number)
        if self._is_open(node):
            super()._read_bodies(node)
        else:
            self._captured.update((value, node) for value in node.captured)

    def _says_in_bodies(self, node: Node) -> bool:
        return self._is_open(node)

    def _want(self, value: int, dimension: int) -> None:
        """Let all users of a sum over the batch take a share: if nothing needs more, a replica gets its share only."""
        super()._want(value, dimension)
        node = self.program.producers[value]
        if node is not None and node.name == MICROBATCHES:
            self._set(value, dimension)

    def _all_factors(self, node: Node) -> Sequence[Factor]:
        if node.number not in self._read_nodes:
            return ()
        return [one for one in super()._all_factors(node) if _is_complete(node, one)]

    def _user_of_whole(self, value: int) -> Node | None:
        """An operation that needs all of a value, if there is one."""
        for node, operand in self._uses.get(value, ()):
            factor = self.factors.get(node.number)
            if factor is None or factor.operands[operand] != self.dimensions[value]:
                return node
        return self._captured.get(value)

    def _is_crossed(self, node: Node) -> bool:
        """Whether a choice takes or gives shares, and cannot be done with shares alone."""
        touched = any(value in self.dimensions for value in (*node.results, *node.captured))
        return self._is_open(node) and touched and (not self.is_shared(node) or self._exchanges_in(node))

    def _exchanges_in(self, choice: Node) -> bool:
        """Whether something would have to be exchanged in a branch of a choice, which some replicas may not reach.

        What is made outside can be exchanged ahead of the choice.
        """
        return any(self._exchanges_in_branch(choice, branch) for branch in choice.bodies)

    def _exchanges_in_branch(self, choice: Node, branch: Body) -> bool:
        for node in branch.nodes:
            if self.is_shared(node):
                if self._exchanges_in(node):
                    return True
            elif node.number in self.factors:
                factor = self.factors[node.number]
                taken = zip(node.operands, factor.operands, strict=True)
                if factor.kind or node.name in _NUMBERED or not all(self._is_at_hand(*one, branch) for one in taken):
                    return True
            elif any(self._is_made_in_shares(value) for value in (*node.operands, *node.captured)):
                return True
        pairs = zip(choice.results, branch.returned, strict=True)
        return not all(self._is_at_hand(value, self.dimensions.get(result), branch) for result, value in pairs)

    def _is_at_hand(self, value: int, dimension: int | None, branch: Body) -> bool:
        """Whether a branch has a share of a value, or all of it, without an exchange within the branch."""
        if dimension is None:
            return not self._is_made_in_shares(value)
        return self._dimension_made(value) == dimension or not _is_inside(self.program.homes[value], branch)

    def _is_made_in_shares(self, value: int) -> bool:
        """Whether a value is made in shares only, so that nobody has all of it."""
        node = self.program.producers[value]
        is_beside = node is not None and node.number in self.factors and self.is_there_whole(node)
        return self._dimension_made(value) is not None and not is_beside

    def _dimension_made(self, value: int) -> int | None:
        """The dimension along which a value is made in shares; None if it is made whole."""
        node = self.program.producers[value]
        if node is None:
            return self.dimensions[value] if value in self.kept else None
        if node.number in self.factors:
            return self.factors[node.number].results[node.results.index(value)]
        return self.dimensions.get(value) if self.is_shared(node) else None


def _is_inside(home: Body, branch: Body) -> bool:
    return home is branch or any(_is_inside(home, inner) for node in branch.nodes for inner in node.bodies)


def _is_complete(node: Node, factor: Factor) -> bool:
    """Whether the results of all replicas, combined, are the value: nothing joins them that may count only once."""
    return factor.base is None or node.program.is_identity(node.operands[factor.base], factor.kind)


def shared_dimension(shape: Sequence[int], spec: Spec, replicas: int, islands: Sequence[Island]) -> int | None:
    """The first dimension with an even share for each replica, which its island's devices divide as they do the whole.

    Dimensions that the devices do not divide come first: a share along one of these is spread over all devices.
    """

    def is_shared(dimension: int) -> bool:
        size = shape[dimension]
        share = [*shape[:dimension], size // replicas, *shape[dimension + 1 :]]
        if not size or size % replicas:
            return False
        return not spec or all(on_island(spec, share, one) == on_island(spec, shape, one) for one in islands)

    dimensions = sorted(range(len(shape)), key=lambda dimension: bool(spec) and bool(spec[dimension]))
    return next(filter(is_shared, dimensions), None)
