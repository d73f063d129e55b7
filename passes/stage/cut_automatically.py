"""Pass `cut-automatically`."""

import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf

from atoll.compiler.contiguous_cut import contiguous_cut
from atoll.compiler.cost import cost_of
from atoll.compiler.graph import Graph, bytes_of
from atoll.compiler.layers.choice import layer_loops
from atoll.compiler.layers.loop import LayerLoop
from atoll.compiler.mlir import ir
from atoll.compiler.pass_base import Pass
from atoll.compiler.plan_marks import LAYERS, STAGE, plan_of, stages_of, write_marks
from atoll.compiler.roles import copied, roles_of
from atoll.compiler.scopes import Role

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CutAutomatically(Pass):
    """Give a stage to every forward operation, where the plan only says how many stages there are.

    The forward operations of the model, in program order, are cut into parts of even cost where few bytes are alive. A
    loop over layers may be cut between any two of them: then it notes the stage of each layer.

    Requires: phase `stablehlo`, and `seed-stages` before.

        module attributes {atoll.stages = 2 : i32} {
          %0 = dot_general %x, %a
          %1 = dot_general %0, %b
        ~~>
          %0 = dot_general %x, %a {atoll.stage = 0 : i32}
          %1 = dot_general %0, %b {atoll.stage = 1 : i32}
    """

    def run(self, module: ir.Module) -> None:
        plan = plan_of(module)
        if plan.placement is not None or not (isinstance(plan.stages, int) or plan.stages == "auto"):
            log.info("nothing to do: the plan says which scopes make the stages")
            return
        graph = Graph.of(module)
        is_copied = copied(graph)
        # Where there is a loop over microbatches, the model is in it; what stands before goes where it is used.
        region = graph.main_loop or 0
        forward = [
            index
            for index, role in enumerate(roles_of(graph))
            if role is Role.FORWARD and not is_copied[index] and graph.region[index] == region
        ]
        loops = {index: loop for index, loop in layer_loops(module, graph).items() if index in set(forward)}
        steps = _Steps(graph, forward, loops)
        cuts = contiguous_cut(steps.costs(), steps.crossing(), stages_of(module))
        stages: list[int | None] = [None] * len(graph.operations)
        for index in forward:
            found = [bisect_right(cuts, step) for step in steps.of(index)[:: 2 if index in loops else 1]]
            if found[0] == found[-1]:
                stages[index] = found[0]
            else:
                _write_layers(graph.operations[index], found[::-1] if loops[index].is_reverse else found)
        write_marks(graph, STAGE, stages)


@dataclass
class _Steps:
    """What the forward part does, in order: operations one by one, and loops over layers layer by layer.

    A layer is two steps, between which there is no place to cut.
    """

    graph: Graph
    forward: list[int]
    loops: Mapping[int, LayerLoop]
    _first: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        starts = accumulate((self._count(index) for index in self.forward), initial=0)
        self._first = dict(zip(self.forward, starts, strict=False))

    def _count(self, index: int) -> int:
        return 2 * self.loops[index].iterations if index in self.loops else 1

    def of(self, index: int) -> range:
        """The steps of an operation."""
        return range(self._first[index], self._first[index] + self._count(index))

    def costs(self) -> list[float]:
        return [
            cost_of(self.graph.operations[index]) / self._count(index) for index in self.forward for _ in self.of(index)
        ]

    def crossing(self) -> list[float]:
        """For each step, the bytes of values made before it and used from it on."""
        changes = [0] * (sum(map(self._count, self.forward)) + 1)
        for value, producer in enumerate(self.graph.producer):
            if producer in self._first:
                last = max((self._last_use(user, value) for user in self.graph.users[value]), default=0)
                made = self.of(producer).stop
                if last >= made:
                    changes[made] += self.graph.sizes[value]
                    changes[last + 1] -= self.graph.sizes[value]
        for index, loop in self.loops.items():
            carried = sum(bytes_of(loop.node.operand_type(slot)) for slot in loop.carried)
            changes[self.of(index).start + 1] += carried
            changes[self.of(index).stop] -= carried
        crossing: list[float] = list(accumulate(changes[:-1]))
        for index in self.loops:
            for step in self.of(index)[1::2]:
                crossing[step] = inf
        return crossing

    def _last_use(self, user: int, value: int) -> int:
        """The last step of an operation that takes a value: what a loop carries or goes through, it takes at first."""
        if user not in self._first:
            return 0
        loop = self.loops.get(user)
        is_for_all = loop is not None and any(self._is(loop, slot, value) for slot in loop.constants)
        return self.of(user)[-1] if is_for_all else self.of(user)[0]

    def _is(self, loop: LayerLoop, slot: int, value: int) -> bool:
        return bool(loop.node.operation.operands[slot] == self.graph.values[value])


def _write_layers(operation: ir.OpView, stages: Sequence[int]) -> None:
    operation.operation.attributes[LAYERS] = ir.DenseI64ArrayAttr.get(list(stages))
