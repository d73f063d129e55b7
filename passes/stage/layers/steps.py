"""What the forward part of a model does, step by step, for choosing where to cut it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from typing import Any

from atoll.compiler.batch_rules.counted_loop import CountedLoop
from atoll.compiler.cost.operations import cost_of
from atoll.compiler.mlir.attributes import integer, integer_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.graph import Graph, bytes_of
from atoll.compiler.module.marks import LAYERS, STAGE
from atoll.passes.stage.layers.layer_stages import stages_of_layers


@dataclass
class Steps:
    """What the forward part does, in order: operations one by one, and loops over layers layer by layer.

    A layer is two steps, between which there is no place to cut: so the place between two layers is a valley of its own
    to `contiguous_cut`, whatever crosses elsewhere.
    """

    graph: Graph
    forward: list[int]
    loops: Mapping[int, CountedLoop]
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

    def read_stages(self) -> list[int | None]:
        """The stage of each step, None where none is marked."""
        return [stage for index in self.forward for stage in self._read(index)]

    def _read(self, index: int) -> list[int | None]:
        operation = self.graph.operations[index].operation
        if index not in self.loops or LAYERS not in operation.attributes:
            return [integer_attribute(operation, STAGE)] * self._count(index)
        return [stage for stage in self._in_order(index, stages_of_layers(self.loops[index])) for _ in range(2)]

    def write_stages(self, stages: Sequence[int | None]) -> None:
        """Mark each operation with the stage of its steps, or a loop with the stages of its layers if these differ."""
        for index in self.forward:
            attributes = self.graph.operations[index].operation.attributes
            found = [stages[step] for step in self.of(index)]
            if found[0] is None:
                continue
            for name in (STAGE, LAYERS):
                if name in attributes:
                    del attributes[name]
            if found[0] == found[-1]:
                attributes[STAGE] = integer(found[0])
            else:
                attributes[LAYERS] = ir.DenseI64ArrayAttr.get(self._in_order(index, found[::2]))

    def _in_order(self, index: int, layers: list[Any]) -> list[Any]:
        """From the order of steps to that of layers, or back: a loop in reverse begins with the last layer."""
        return layers[::-1] if self.loops[index].is_reverse else layers

    def _last_use(self, user: int, value: int) -> int:
        """The last step in which an operation needs a value: for what a loop carries or goes over, its first step."""
        if user not in self._first:
            return 0
        loop = self.loops.get(user)
        is_for_all = loop is not None and any(self._is(loop, slot, value) for slot in loop.constants)
        return self.of(user)[-1] if is_for_all else self.of(user)[0]

    def _is(self, loop: CountedLoop, slot: int, value: int) -> bool:
        return bool(loop.node.operation.operands[slot] == self.graph.values[value])
