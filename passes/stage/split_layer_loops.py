"""Pass `split-layer-loops`."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from atoll.compiler.batch_rules.counted_loop import MICROBATCHES, CountedLoop, loops_of
from atoll.compiler.batch_rules.nodes import Node, NodeTree
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import argument_attributes, operations_in
from atoll.compiler.module.graph import parts_of_loop
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import BATCH, LAYERS
from atoll.compiler.module.noting import add_note
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.layers.chunks import Layers
from atoll.passes.stage.layers.layer_stages import stages_of_layers
from atoll.passes.stage.layers.split import Stages, split
from atoll.passes.stage.layers.stacking import Stacking

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitLayerLoops(Pass):
    """Split a loop over layers by ranges of layers of one stage, with all that is stacked like its layers.

    What is stacked: the parameters that the loop takes rows of, what the reversed loop of the backward pass takes and
    gives, and what is computed from those elementwise, such as the state of the optimizer. What needs a whole stack
    gets it joined from its pieces.

    Requires: `seed-stages` and `cut-automatically` before, which say the stage of each layer.

        func.func @main(%w: tensor<4x8x8xf32> {atoll.path = "w"}, %x: tensor<8xf32>) {
          %0 = while(%w, %i = 0, %x) {i < 4} {...} {atoll.layers = array<i64: 0, 0, 0, 1>}
        ~~>
        func.func @main(%a: tensor<3x8x8xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 0, 4>},
                        %b: tensor<1x8x8xf32> {atoll.path = "w", atoll.piece = array<i64: 0, 3, 4>}, %x: ...) {
          %0 = while(%a, %i = 0, %x) {i < 3} {...} {atoll.stage = 0 : i32}
          %1 = while(%b, %i = 0, %0) {i < 1} {...} {atoll.stage = 1 : i32}
    """

    def run(self, module: ir.Module) -> None:
        count = 0
        while _split_next(module):
            count += 1
        if not count:
            log.info("nothing to do: no loop over layers is on several stages")


def _split_next(module: ir.Module) -> bool:
    """Split the first loop that is marked, and what is stacked with it; False if none is left."""
    marked = [loop for loop in operations_in(module.operation, stablehlo.WhileOp) if LAYERS in loop.attributes]
    if not marked:
        return False
    program = NodeTree.of(module, 1)
    found = list(loops_of(program))
    for node, loop in found:
        _check(node, loop)
    loops = {node.number: loop for node, loop in found if isinstance(loop, CountedLoop)}
    first = next((loop for loop in loops.values() if loop.node.has(LAYERS)), None)
    if first is None:
        what = "a loop within another operation cannot be split by layers"
        raise refuse(marked[0].location, what, f"remove {LAYERS}")
    program.parts = first.iterations
    alike = {number: loop for number, loop in loops.items() if loop.iterations == first.iterations}
    stacking = Stacking.of(program, alike, list(_in_parts(module, program)), first.node.number)
    by_layer = {number: stages_of_layers(loop) for number, loop in stacking.loops.items() if loop.node.has(LAYERS)}
    ranges = list(_ranges(list(by_layer.values())))
    by_loop = {number: [stages[one.start] for one in ranges] for number, stages in by_layer.items()}
    stages = by_loop[first.node.number]
    is_one = all(other == stages for other in by_loop.values())
    joined = split(module, stacking, ranges, Stages(by_loop, stages if is_one else None))
    log.info("split %d loops over %d layers into %d ranges", len(stacking.loops), first.iterations, len(ranges))
    for location, one in joined:
        add_note(module, location, one)
    return True


def _in_parts(module: ir.Module, program: NodeTree) -> Iterator[int]:
    """The values of @main of which each microbatch has a part: what comes with the batch, and what a loop has kept."""
    marks = argument_attributes(entry_function(module))
    yield from (value for value, one in zip(program.body.arguments, marks, strict=True) if BATCH in one)
    for node in program.body.nodes:
        if node.name == MICROBATCHES:
            yield from (node.results[number] for number in parts_of_loop(node.operation))


def _check(node: Node, loop: CountedLoop | str) -> None:
    """Refuse stages of layers where there are no layers, or not as many."""
    if not node.has(LAYERS):
        return
    if isinstance(loop, str):
        raise refuse(node.location, f"the loop cannot be split by layers: {loop}", f"remove {LAYERS}")
    stages_of_layers(loop)


def _ranges(marked: Sequence[Sequence[int]]) -> Iterator[Layers]:
    """The longest ranges of layers that are on one stage in every one of the loops."""
    start = 0
    for _, run in groupby(zip(*marked, strict=True)):
        stop = start + len(list(run))
        yield Layers(start, stop)
        start = stop
