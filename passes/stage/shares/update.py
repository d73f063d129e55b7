"""What an update is of, and what of it replicas can share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from atoll.compiler.batch_rules.counted_loop import MICROBATCHES
from atoll.compiler.batch_rules.nodes import Node, NodeTree, described
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.homes import fed_back
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import PARTS, PATH, PIECE
from atoll.compiler.module.notes import NeededWhole, NotDivisible
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.shardings import SHARDING, Spec, spec_of
from atoll.compiler.topology.island import Island
from atoll.passes.stage.shares.shares import Shares, shared_dimension

_WORD = 32  # bits of a word of a random key


@dataclass(frozen=True)
class Update:
    """What stands after the last loop over microbatches.

    state: the arguments that nothing else reads, and the results that take their places.
    """

    program: NodeTree
    nodes: Sequence[Node]
    state: Mapping[int, int]
    marks: Sequence[ir.DictAttr]

    @classmethod
    def of(cls, module: ir.Module, program: NodeTree) -> "Update":
        nodes = program.body.nodes
        last = max((number for number, node in enumerate(nodes) if node.name == MICROBATCHES), default=-1)
        before = {value for node in nodes[: last + 1] for value in (*node.operands, *node.captured)}
        marks = argument_attributes(entry_function(module))
        state = {
            argument: result
            for argument, result in fed_back(module)
            if argument not in before and PARTS not in marks[argument] and not _are_keys(program.tensor(argument))
        }
        return cls(program, nodes[last + 1 :], state, marks)

    def dimensions(self, islands: Sequence[Island]) -> dict[int, int | None]:
        """For each array of the state, the dimension along which to share it."""
        return {
            argument: shared_dimension(self.program.shape(argument), self._spec(argument), self.program.parts, islands)
            for argument in self.state
        }

    def _spec(self, argument: int) -> Spec:
        """How the user wants an argument divided over the devices of an island."""
        marks = self.marks[argument]
        return spec_of(marks[SHARDING]) if SHARDING in marks else ()

    def left_whole(
        self, shares: Shares, wanted: Mapping[int, int]
    ) -> Iterator[tuple[ir.Location, NeededWhole | NotDivisible]]:
        """The state that every replica keeps whole, and why; scalars are not worth a word."""
        for argument in self.state:
            shape = self.program.shape(argument)
            if argument in shares.kept or prod(shape) == 1:
                continue
            path = text_attribute(self.marks[argument], PATH) or ""
            if argument in wanted:
                user = shares.users_of_whole[argument]
                yield user.location, NeededWhole(path, described(user))
            else:
                sizes, is_in_pieces = " x ".join(map(str, shape)), PIECE in self.marks[argument]
                location = self.program.values[argument].location
                yield location, NotDivisible(path, sizes, is_in_pieces, self.program.parts)


def _are_keys(type_: ir.RankedTensorType) -> bool:
    """Random keys are arrays of words, and a share of these is no key."""
    element = type_.element_type
    return isinstance(element, ir.IntegerType) and element.is_unsigned and element.width == _WORD


def shares_of(module: ir.Module, replicas: int) -> tuple[Update, Mapping[int, int], Shares]:
    """The update, the dimension along which to share each array of its state, and what can be shared then."""
    program = NodeTree.of(module, replicas)
    update = Update.of(module, program)
    wanted = update.dimensions(topology_of(module).islands)
    state = {argument: along for argument, along in wanted.items() if along is not None}
    return update, state, Shares.of(program, update.nodes, state)
