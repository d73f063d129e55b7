"""What the forward part of a model does, step by step, for choosing where to cut it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from typing import Any

from atoll.compiler.batch_rules.counted_loop import CountedLoop
from atoll.compiler.mlir.attributes import integer, integer_attribute
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.module.graph import Graph, bytes_of
from atoll.compiler.module.marks import LAYERS, STAGE
from atoll.passes.stage.cut.again import done_before
from atoll.passes.stage.cut.parameters import ParameterPart, Parameters
from atoll.passes.stage.cut.work import work_of
from atoll.passes.stage.layers.layer_stages import stages_of_layers
from atoll.passes.stage.operations.backward_partners import source_of


@dataclass
class Steps:
    """What the forward part does, in order: operations one by one, and loops over layers layer by layer.

    A layer is two steps, between which there is no place to cut: so the place between two layers is a valley of its own
    to `contiguous_cut`, whatever crosses elsewhere. Two loops over the same layers, of which neither needs the other,
    have their steps in common: a layer is on one stage for both. So have an operation and what does it again in a later
    loop over microbatches.
    """

    graph: Graph
    forward: list[int]
    loops: Mapping[int, CountedLoop]
    _first: dict[int, int] = field(init=False)
    _length: int = field(init=False)

    def __post_init__(self) -> None:
        self._first, self._length, before = {}, 0, None
        again = done_before(self.graph)
        for index in self.forward:
            if before is not None and (self._is_same(before, index, again) or self._go_together(before, index)):
                self._first[index] = self._first[before]
            else:
                self._first[index] = self._length
                self._length += self._count(index)
            before = index

    def __len__(self) -> int:
        return self._length

    def _is_same(self, one: int, other: int, again: Mapping[int, int]) -> bool:
        return self._count(one) == self._count(other) == 1 and again.get(other) == again.get(one, one)

    def _go_together(self, one: int, other: int) -> bool:
        if one not in self.loops or other not in self.loops:
            return False
        loop, other_loop = self.loops[one], self.loops[other]
        is_alike = (loop.iterations, loop.is_reverse) == (other_loop.iterations, other_loop.is_reverse)
        return is_alike and bool(self._stacks(one) & self._stacks(other)) and not self._needs(other, one)

    def _stacks(self, index: int) -> set[int]:
        """What the stacks of a loop are made of, except for what the loop fills."""
        loop = self.loops[index]
        stacks = {loop.node.operation.operands[slot] for slot, one in loop.stacks.items() if not one.is_written}
        taken = (value for value in self.graph.operands[index] if self.graph.values[value] in stacks)
        return {source_of(self.graph, value) for value in taken}

    def _needs(self, index: int, other: int) -> bool:
        """Whether an operation needs what another one makes."""
        left, seen = [index], set[int]()
        while left:
            for value in self.graph.operands[left.pop()]:
                producer = self.graph.producer[value]
                if producer == other:
                    return True
                if producer > other and producer not in seen:
                    seen.add(producer)
                    left.append(producer)
        return False

    def _count(self, index: int) -> int:
        return 2 * self.loops[index].iterations if index in self.loops else 1

    def of(self, index: int) -> range:
        """The steps of an operation."""
        return range(self._first[index], self._first[index] + self._count(index))

    def operation(self, step: int) -> int:
        """The operation that a step belongs to."""
        return next(index for index in self.forward if step in self.of(index))

    def work(self, owners: Sequence[int | None]) -> list[float]:
        """What each step brings to its stage, backward part and update included.

        owners: of each operation the forward one that it belongs to.
        """
        found = [0.0] * len(self)
        for index, work in work_of(self.graph, self.forward, owners).items():
            for step in self.of(index):
                found[step] += work / self._count(index)
        return found

    def inside(self, stretches: Iterable[Iterable[int]]) -> set[int]:
        """The steps in front of which a cut would be within one of the stretches of operations."""
        found: set[int] = set()
        for stretch in stretches:
            places = [step for index in stretch for step in (self.of(index)[0], self.of(index)[-1])]
            found.update(range(min(places) + 1, max(places) + 1))
        return found

    def crossing(self) -> list[float]:
        """For each step, the bytes that a cut before it has cross: of values, with every microbatch of a replica, and
        once of parameters that are used before it and from it on. Gradients go back by the same ways, so they are left
        out."""
        changes = [0] * (len(self) + 1)
        for parameter, uses in self._uses_of_parameters().items():
            changes[min(self.of(user)[0] for user, _ in uses) + 1] += parameter.bytes
            changes[max(self._last_use(user, value) for user, value in uses) + 1] -= parameter.bytes
        values = self._of_values(lambda index: self.graph.iterations(self.graph.region[index]))
        return [one + other for one, other in zip(values, accumulate(changes[:-1]), strict=True)]

    def _uses_of_parameters(self) -> dict[ParameterPart, list[tuple[int, int]]]:
        """For each parameter the operations that take it, or what is prepared of it, and as which value. What is sliced
        is used as what slices take of it."""
        parameters, found = Parameters(self.graph), dict[ParameterPart, list[tuple[int, int]]]()
        for index in self.forward:
            if not isinstance(self.graph.operations[index], stablehlo.SliceOp):
                for value in self.graph.operands[index]:
                    for parameter in parameters.of_value(value):
                        found.setdefault(parameter, []).append((index, value))
        return found

    def sent(self) -> list[float]:
        """For each step, the bytes of values made before it and used from it on, of one microbatch."""
        return self._of_values(lambda _: 1)

    def _of_values(self, times: Callable[[int], int]) -> list[float]:
        """times: how often what an operation makes counts."""
        changes = [0] * (len(self) + 1)
        for value, producer in enumerate(self.graph.producer):
            if producer in self._first:
                last = max((self._last_use(user, value) for user in self.graph.users[value]), default=0)
                made = self.of(producer).stop
                if last >= made:
                    changes[made] += times(producer) * self.graph.sizes[value]
                    changes[last + 1] -= times(producer) * self.graph.sizes[value]
        for index, loop in self.loops.items():
            carried = times(index) * sum(bytes_of(loop.node.operand_type(slot)) for slot in loop.carried)
            changes[self.of(index).start + 1] += carried
            changes[self.of(index).stop] -= carried
        sent: list[float] = list(accumulate(changes[:-1]))
        for index in self.loops:
            for step in self.of(index)[1::2]:
                sent[step] = inf
        return sent

    def read_stages(self) -> list[int | None]:
        """The stage of each step, None where none is marked."""
        found: list[int | None] = [None] * len(self)
        for index in self.forward:
            found[self.of(index).start : self.of(index).stop] = self._read(index)
        return found

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
