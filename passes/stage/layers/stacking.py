"""Which values are stacked with the layers of some loops: what runs along with the stacks that these take and give."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from atoll.compiler.batch_rules.counted_loop import MICROBATCHES, CountedLoop
from atoll.compiler.batch_rules.nodes import Node, NodeTree
from atoll.compiler.batch_rules.propagation import Running
from atoll.compiler.module.graph import parts_of_loop


@dataclass
class Stacking(Running):
    """What is stacked with some loops over layers; each loop goes over `program.parts` layers.

    readable: all loops over as many layers, by the number of their node.
    loops: the loops that are stacked with the first one.

    What a value is decides only where it is computed, never what: a stack that is needed whole is joined from its
    pieces, and a whole value that is needed in pieces is cut. So no answer here can be wrong, only dear.
    """

    readable: Mapping[int, CountedLoop] = field(default_factory=dict)
    loops: dict[int, CountedLoop] = field(default_factory=dict)

    @classmethod
    def of(
        cls, program: NodeTree, readable: Mapping[int, CountedLoop], fixed: Collection[int], first: int
    ) -> "Stacking":
        """All that is stacked with the loop of a node."""
        stacking = cls(program, fixed, readable=readable)
        stacking._read(program.body.nodes)
        stacking._include(readable[first])
        stacking._run()
        return stacking

    def _read_bodies(self, node: Node) -> None:
        if node.name != MICROBATCHES:
            super()._read_bodies(node)
            return
        # What a loop over microbatches carries has the same form before, in and after the loop.
        (body,) = node.bodies
        self._read(body.nodes)
        columns = (node.operands, body.arguments, body.returned, node.results)
        parts = parts_of_loop(node.operation)
        for number, ring in enumerate(zip(*columns, strict=False)):  # the last argument counts
            if number not in parts:
                self._tie(ring)

    def _include(self, loop: CountedLoop) -> None:
        """Split a loop too: the stacks that it takes are wanted in pieces, and those that it gives come in pieces."""
        if loop.node.number in self.loops:
            return
        self.loops[loop.node.number] = loop
        for slot, stack in loop.stacks.items():
            self._want(loop.node.operands[slot], stack.dimension)
            self._set(loop.node.results[slot], stack.dimension)

    def _can_be_made(self, value: int, dimension: int) -> bool:
        node = self.program.producers[value]
        is_given = node is not None and self._loop_that_gives(node, value, dimension) is not None
        return is_given or super()._can_be_made(value, dimension)

    def _says_in_bodies(self, node: Node) -> bool:
        return node.name == MICROBATCHES or super()._says_in_bodies(node)

    def _loop_that_gives(self, node: Node, value: int, dimension: int) -> CountedLoop | None:
        return self._loop_with(node, node.results.index(value), dimension)

    def _loop_with(self, node: Node, slot: int, dimension: int) -> CountedLoop | None:
        """The loop of a node, if a slot of it is stacked along the dimension."""
        loop = self.readable.get(node.number)
        stack = loop.stacks.get(slot) if loop is not None else None
        return loop if stack is not None and stack.dimension == dimension else None

    def _go_back(self, node: Node, value: int, dimension: int) -> None:
        loop = self._loop_that_gives(node, value, dimension)
        if loop is not None:
            self._include(loop)
        else:
            super()._go_back(node, value, dimension)

    def _go_on(self, node: Node, operand: int, dimension: int) -> None:
        loop = self._loop_with(node, operand, dimension)
        if loop is not None:
            self._include(loop)
        else:
            super()._go_on(node, operand, dimension)
