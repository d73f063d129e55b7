"""Pass `share-update`."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from atoll.compiler.batch_rules.counted_loop import MICROBATCHES
from atoll.compiler.batch_rules.nodes import Node, NodeTree, described
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.homes import fed_back
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import PARTS, PATH, PIECE, SHARE
from atoll.compiler.module.notes import NeededWhole, NotDivisible, OneReplica
from atoll.compiler.module.noting import add_note
from atoll.compiler.module.planned import plan_of, topology_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.module.shardings import SHARDING, Spec, spec_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.plan.plan import SHARDED
from atoll.compiler.topology.island import Island
from atoll.passes.stage.shares.share_code import write_shares
from atoll.passes.stage.shares.shares import Shares, shared_dimension

log = logging.getLogger(__name__)

_WORD = 32  # bits of a word of a random key


@dataclass(frozen=True)
class ShareUpdate(Pass):
    """Let each replica make its share of the update, and keep its share of the state that only the update reads.

    An operation takes the replica's own share of what all replicas have, such as parameters and gradients; the new
    parameters are gathered from all. What is summed up over shared values, such as a norm, is added up over replicas.
    These exchanges are calls of `@atoll.exchange` until values live on islands.

    Requires: `split-layer-loops` before, so that what is shared is on one stage.

        func.func @main(%w: tensor<4xf32>, %m: tensor<4xf32>, %g: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
          %0 = add %m, %g : tensor<4xf32>
          %1 = subtract %w, %0 : tensor<4xf32>
          return %1, %0
        ~~>
        func.func @main(%w: tensor<4xf32>, %m: tensor<2xf32> {atoll.share = 0 : i32}, %g: tensor<4xf32>) -> ... {
          %0 = custom_call @atoll.exchange(%g) {atoll.exchange = "share", atoll.share = 0 : i32}
          %1 = add %m, %0 : tensor<2xf32>
          %2 = custom_call @atoll.exchange(%w) {atoll.exchange = "share", atoll.share = 0 : i32}
          %3 = subtract %2, %1 : tensor<2xf32>
          %4 = custom_call @atoll.exchange(%3) {atoll.exchange = "gather", atoll.share = 0 : i32}
          return %4, %1
    """

    def run(self, module: ir.Module) -> None:
        replicas = replicas_of(module)
        if plan_of(module).update != SHARDED:
            log.info("nothing to do: the plan does not share the update over replicas")
            return
        if replicas == 1:
            add_note(module, entry_function(module).location, OneReplica())
            return
        _check_once(module)
        program = NodeTree.of(module, replicas)
        update = _Update.of(module, program)
        state = {
            argument: along
            for argument, along in update.dimensions(topology_of(module).islands).items()
            if along is not None
        }
        shares = Shares.of(program, update.nodes, state)
        kept = {argument: result for argument, result in update.state.items() if argument in shares.kept}
        for location, fact in update.left_whole(shares, state):  # while the operations that it names are there
            add_note(module, location, fact)
        for location, gathered in write_shares(module, shares, kept):
            add_note(module, location, gathered)
        log.info("shared %d of %d arrays of state over %d replicas", len(kept), len(update.state), replicas)


@dataclass(frozen=True)
class _Update:
    """What stands after the last loop over microbatches.

    state: the arguments that nothing else reads, and the results that take their places.
    """

    program: NodeTree
    nodes: Sequence[Node]
    state: Mapping[int, int]
    marks: Sequence[ir.DictAttr]

    @classmethod
    def of(cls, module: ir.Module, program: NodeTree) -> "_Update":
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


def _check_once(module: ir.Module) -> None:
    main = entry_function(module)
    if any(SHARE in marks for marks in argument_attributes(main)):
        raise refuse(main.location, "the update is shared already", "run share-update once")


def _are_keys(type_: ir.RankedTensorType) -> bool:
    """Random keys are arrays of words, and a share of these is no key."""
    element = type_.element_type
    return isinstance(element, ir.IntegerType) and element.is_unsigned and element.width == _WORD
