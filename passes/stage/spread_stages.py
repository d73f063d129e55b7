"""Pass `spread-stages`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from atoll.compiler.batch_rules.states import COMBINE
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.homes import replaced_arguments
from atoll.compiler.module.marking import read_marks, write_marks
from atoll.compiler.module.marks import EXCHANGE, PLANNED_STAGE, STAGE
from atoll.compiler.module.notes import Traffic
from atoll.compiler.module.noting import add_note
from atoll.compiler.module.planned import segments_of, stages_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.cut.least_traffic import Labelling, Value, cheap_labels, least_traffic, traffic
from atoll.passes.stage.operations.backward_partners import with_companions
from atoll.passes.stage.operations.cheap_operations import copied, sent_operands
from atoll.passes.stage.operations.sweeps import Sweeps, exchanges_behind


@dataclass(frozen=True)
class SpreadStages(Pass):
    """Give a stage to every operation that has none, so that the fewest bytes cross.

    Backward contractions go where the forward contractions that they belong to are. What is copied to its users
    (constants, broadcasts of scalars) gets no stage. A donated argument and the result that replaces it are pulled to
    one stage. Where the fewest bytes would make a microbatch go over the stages a third time, more bytes cross instead.
    Stages that run in segments are found as if they did not, and their segments after that. The traffic that is left,
    and a lower bound for it, are noted.

    Requires: `seed-stages` or `cut-automatically` before.

          %0 = dot_general %x, %a {atoll.stage = 1 : i32}
          %1 = negate %0
        ~~>
          %0 = dot_general %x, %a {atoll.stage = 1 : i32}
          %1 = negate %0 {atoll.stage = 1 : i32}
    """

    def run(self, module: ir.Module) -> None:
        graph, segments = Graph.of(module), segments_of(module)
        is_copied, homes = copied(graph), replaced_arguments(module)
        known = _Known.of(graph, is_copied, segments)
        values = list(_values(graph, is_copied, homes))
        # A node for each donated argument that is replaced: it pulls the argument and the result to one stage.
        found = known.with_free(len(homes)).spread(values)
        found = replace(found, labels=tuple(_combined_where_made(graph, found.labels)))
        stages = [None if is_copy else label for is_copy, label in zip(is_copied, found.labels, strict=False)]
        if graph.loops:
            may_move = [stage is None for stage in known.kept]
            stages = _without_third_sweep(graph, stages, may_move, stages_of(module), segments)
        labels = (0 if stage is None else stage for stage in (*stages, *found.labels[len(stages) :]))
        # From one segment of a stage to another nothing crosses.
        crossing = traffic([label // segments for label in labels], values)
        _write(graph, stages)
        fact = Traffic(crossing, found.lower_bound, replicas_of(module))
        add_note(module, ir.Location.unknown(), fact)  # about all of the module, which has no line


def _combined_where_made(graph: Graph, labels: Sequence[int]) -> list[int]:
    """The labels, with what replicas combine moved to the stage that makes it: only the total crosses to other stages.

    A value is as large before it is combined as after, so no more bytes cross.
    """
    moved = list(labels)
    for index, is_behind in enumerate(exchanges_behind(graph)):
        if is_behind and text_attribute(graph.operations[index].operation.attributes, EXCHANGE) in COMBINE:
            (operand,) = graph.operands[index]
            moved[index] = moved[graph.producer[operand]]
    return moved


def _without_third_sweep(
    graph: Graph, stages: list[int | None], may_move: Sequence[bool], count: int, segments: int
) -> list[int | None]:
    """The stages, or others with which each loop goes forward and backward once, if moved operations allow it.

    For the least traffic an operation of the backward part may stand on a later stage than what it takes, or on an
    earlier one than what takes it, and one of the forward part, such as a sum over what all layers have, on an earlier
    one. One more sweep would have every microbatch go over all stages again, and most schedules have no place for it.
    There are many more segments than stages, and so more such operations; but a plan with segments should not take more
    sweeps than the same plan without.
    """
    sweeps = Sweeps.of(graph)

    def last(stages: Sequence[int | None], count: int) -> int:
        found = zip(sweeps.run(stages, count), graph.region, strict=True)
        return max((sweep for sweep, region in found if sweep is not None and region % 2), default=0)

    if last(stages, count) <= 1:
        return stages
    may_move = [may and region % 2 == 1 for may, region in zip(may_move, graph.region, strict=True)]

    def moved(stages: Sequence[int | None], count: int) -> list[int | None] | None:
        pushed = sweeps.pushed_on(stages, may_move, count)
        for found in (stages, pushed, sweeps.drawn_on(pushed, may_move, count)):
            back = sweeps.pulled_back(found, may_move, count)
            if last(back, count) <= 1:
                return back
        return None

    found = moved(stages, count)
    if found is not None or segments == 1:
        return found or stages
    # A model whose layers meet in the backward pass, as with penalised activations, is fine on whole stages.
    planned = [None if stage is None else stage // segments for stage in stages]
    return sweeps.in_segments(stages, moved(planned, count // segments) or planned, segments)


def _write(graph: Graph, stages: Sequence[int | None]) -> None:
    """Mark each operation with the stage that was found for it alone; marks that only led to it go."""
    for operation in graph.operations:
        for name in (STAGE, PLANNED_STAGE):
            if name in operation.operation.attributes:
                del operation.operation.attributes[name]
    write_marks(graph, STAGE, stages)


@dataclass(frozen=True)
class _Known:
    """What is known of each node.

    fixed: its stage in the plan, where marks say it.
    kept: the same, and the stages of companions, which are fixed for another reason than traffic.
    of_segments: its segment, where one is known.
    """

    fixed: list[int | None]
    kept: list[int | None]
    of_segments: list[int | None]
    segments: int

    @classmethod
    def of(cls, graph: Graph, is_copied: Sequence[bool], segments: int) -> "_Known":
        """What the marks say of the operations, and their companions."""
        seeds, planned = (_marks_of_rest(graph, is_copied, name) for name in (STAGE, PLANNED_STAGE))
        fixed = [
            stage if stage is not None or seed is None else seed // segments
            for stage, seed in zip(planned, seeds, strict=True)
        ]
        kept, of_segments = (with_companions(graph, is_copied, stages) for stages in (fixed, seeds))
        return cls(fixed, kept, of_segments, segments)

    def with_free(self, count: int) -> "_Known":
        """The same with so many more nodes, of which nothing is known."""
        free = [None] * count
        return _Known([*self.fixed, *free], [*self.kept, *free], [*self.of_segments, *free], self.segments)

    def spread(self, values: Sequence[Value]) -> Labelling:
        """The stage of each node. What goes from one segment of a stage to another stays on its island and costs
        nothing, so the stages of the plan are found first, as they would be without segments, and then the segments
        within each."""
        found = least_traffic(self.fixed, values, self.kept)
        if self.segments == 1:
            return found
        labels = list(found.labels)
        for stage in sorted(set(found.labels)):
            nodes = [node for node, label in enumerate(found.labels) if label == stage]
            first = stage * self.segments
            for node, segment in self._halved(nodes, values, range(first, first + self.segments)):
                labels[node] = segment
        return replace(found, labels=tuple(labels))

    def _halved(self, nodes: Sequence[int], values: Sequence[Value], segments: range) -> Iterator[tuple[int, int]]:
        """The segment of each of the nodes that belong to a range of segments.

        The range is cut in two where the least goes from one half to the other, and then each half again. Neighbours
        share so much more than other segments do that labelling all of them at once would hardly do better.
        """
        if len(segments) == 1:
            yield from ((node, segments.start) for node in nodes)
            return
        middle = segments[len(segments) // 2]
        number = {node: at for at, node in enumerate(nodes)}
        known: list[int | None] = []
        for node in nodes:
            segment = self.of_segments[node]
            known.append(int(segment >= middle) if segment is not None and segment in segments else None)
        inside, renumbered = [], []
        for value in values:
            common = [node for node in value.nodes if node in number]
            if len(common) > 1:
                inside.append(Value(value.weight, tuple(common)))
                renumbered.append(Value(value.weight, tuple(number[node] for node in common)))
        sides = cheap_labels(known, renumbered)
        for side, half in enumerate((range(segments.start, middle), range(middle, segments.stop))):
            yield from self._halved([node for node in nodes if sides[number[node]] == side], inside, half)


def _marks_of_rest(graph: Graph, is_copied: Sequence[bool], name: str) -> list[int | None]:
    """A mark of each operation that is not copied."""
    return [None if is_copy else mark for is_copy, mark in zip(is_copied, read_marks(graph, name), strict=True)]


def _values(graph: Graph, is_copied: Sequence[bool], homes: list[tuple[int, int]]) -> Iterator[Value]:
    """Each value with the operations that must have it; after these nodes comes one for each home."""
    first_home = len(graph.operations)
    nodes: list[dict[int, None]] = [
        {} if producer == ARGUMENT or is_copied[producer] else {producer: None} for producer in graph.producer
    ]
    for number, (argument, result) in enumerate(homes):
        nodes[argument][first_home + number] = None
        nodes[graph.returned[result]][first_home + number] = None
    for index, sources in enumerate(sent_operands(graph)):
        if not is_copied[index]:
            for value in sources:
                nodes[value][index] = None
    # A sum over microbatches begins and goes on where it is made; whoever takes it after the loop has no say in that.
    for one in (one for loop in graph.loops for one in loop.carried if not one.is_part):
        producer = graph.producer[one.yielded]
        if producer != ARGUMENT and not is_copied[producer]:
            for value in (one.initial, one.argument):
                nodes[value][producer] = None
    for value, taking in enumerate(nodes):
        yield Value(graph.sizes[value] * graph.times[value], tuple(taking))
