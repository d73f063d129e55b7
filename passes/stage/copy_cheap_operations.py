"""Pass `copy-cheap-operations`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import body_of, replace_within
from atoll.compiler.module.graph import ARGUMENT, Carried, Graph, Loop
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marking import read_marks
from atoll.compiler.module.marks import STAGE, SWEEP
from atoll.compiler.module.planned import stages_of
from atoll.compiler.module.slots import slot, sweep_from
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.operations.cheap_operations import sent_beside
from atoll.passes.stage.operations.sweeps import exchanges_behind

_Fragment = tuple[int, int, int]  # region, stage and sweep
_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class CopyCheapOperations(Pass):
    """Give every fragment its own copy of the cheap operations that it uses.

    What depends on constants alone, or spreads a scalar, is cheap: computing it again costs less than sending it.

    Requires: `order-sweeps` before.

          %c = constant 0.0
          %0 = maximum %x, %c {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %1 = maximum %0, %c {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
        ~~>
          %c = constant 0.0 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %0 = maximum %x, %c {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %d = constant 0.0 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
          %1 = maximum %0, %d {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
    """

    def run(self, module: ir.Module) -> None:
        graph = Graph.of(module)
        count = stages_of(module)
        stages, sweeps = read_marks(graph, STAGE), read_marks(graph, SWEEP)
        is_copied = [stage is None for stage in stages]
        copies = _Copies(graph, is_copied)
        for index, (stage, sweep) in enumerate(zip(stages, sweeps, strict=True)):
            if stage is not None and sweep is not None:
                copies.give(index, graph.operations[index], (graph.region[index], stage, sweep))
        for loop in graph.loops:
            copies.give_initial(loop, {one: stages[graph.producer[one.yielded]] or 0 for one in loop.carried})
        sources = sent_beside(graph, is_copied)
        returned = {value: None for value in graph.returned if copies.is_cheap(value)}
        copies.give_returned(
            {value: _last_fragment(graph, sources[graph.producer[value]], stages, sweeps, count) for value in returned}
        )
        for index in reversed(range(len(stages))):
            if stages[index] is None:
                graph.operations[index].operation.erase()


def _last_fragment(
    graph: Graph, values: list[int], stages: list[int | None], sweeps: list[int | None], count: int
) -> _Fragment:
    """The fragment after the loops that makes the last of the values, or that is the first to have it; the first
    fragment where there are only arguments."""
    last, is_behind = 2 * len(graph.loops), exchanges_behind(graph)
    makers = [graph.producer[value] for value in values if graph.producer[value] != ARGUMENT]

    def fragment(maker: int) -> _Fragment:
        stage = stages[maker] or 0
        sweep = (sweeps[maker] or 0) if graph.region[maker] == last else 0
        if is_behind[maker]:
            sweep = sweep_from(stage, slot(stage, sweep, count) + 1, count)
        return last, stage, sweep

    return max(map(fragment, makers), key=lambda one: slot(one[1], one[2], count), default=(last, 0, 0))


@dataclass
class _Copies:
    """The copies made so far, one for each cheap operation and fragment."""

    graph: Graph
    is_copied: list[bool]
    made: "dict[tuple[int, _Fragment], ir.Operation]" = field(default_factory=dict)

    def give(self, index: int, user: ir.OpView, fragment: _Fragment) -> None:
        """Let an operation, and all that its regions hold, take the copies of its fragment."""
        self._make([value for value in self.graph.operands[index] if self.is_cheap(value)], fragment, user)
        self._replace_operands(user, self.graph.operands[index], fragment)

    def give_initial(self, loop: Loop, stages: Mapping[Carried, int]) -> None:
        """Let a loop begin with copies, each made on the stage where the loop adds to it."""
        for number, (one, stage) in enumerate(stages.items()):
            if not one.is_part and self.is_cheap(one.initial):
                fragment = (loop.region - 1, stage, 0)
                self._make([one.initial], fragment, loop.operation)
                loop.operation.operation.operands[number] = self._copy(one.initial, fragment)

    def give_returned(self, fragments: Mapping[int, _Fragment]) -> None:
        """Let @main return copies, each that of a fragment."""
        if not fragments:
            return
        *_, terminator = body_of(entry_function(self.graph.module)).operations
        for value, fragment in fragments.items():
            self._make([value], fragment, terminator)
        copies = {self.graph.values[value]: self._copy(value, fragment) for value, fragment in fragments.items()}
        replace_within(terminator, copies)

    def is_cheap(self, value: int) -> bool:
        return self.graph.producer[value] != ARGUMENT and self.is_copied[self.graph.producer[value]]

    def _make(self, values: Sequence[int], fragment: _Fragment, user: ir.OpView) -> None:
        """Make the fragment's copies of cheap values, and of what those need, in front of their first user there.

        Without recursion, as a chain of cheap operations may be deeper than Python's stack.
        """
        left, missing = list(values), set[int]()
        while left:
            source = self.graph.producer[left.pop()]
            if source not in missing and (source, fragment) not in self.made:
                missing.add(source)
                left += [value for value in self.graph.operands[source] if self.is_cheap(value)]
        for source in sorted(missing):
            copy = self.graph.operations[source].operation.clone(ip=ir.InsertionPoint(user))
            copy.attributes[STAGE], copy.attributes[SWEEP] = map(integer, fragment[1:])
            self.made[source, fragment] = copy
            self._replace_operands(copy.opview, self.graph.operands[source], fragment)

    def _replace_operands(self, user: ir.OpView, taken: Sequence[int], fragment: _Fragment) -> None:
        replace_within(user, {self.graph.values[one]: self._copy(one, fragment) for one in taken if self.is_cheap(one)})

    def _copy(self, value: int, fragment: _Fragment) -> _Value:
        source = self.graph.producer[value]
        copied: _Value = self.made[source, fragment].results[self.graph.results[source].index(value)]
        return copied
