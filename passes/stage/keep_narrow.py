"""Pass `keep-narrow`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import replace_within
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.marking import read_marks
from atoll.compiler.module.marks import STAGE, SWEEP
from atoll.compiler.module.planned import topology_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.topology.island import PHYSICAL_RANK
from atoll.passes.stage.operations.rounding import is_float32, takes_rounded

log = logging.getLogger(__name__)

_Marks = Sequence[int | None]  # the stages or the sweeps of operations
_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class KeepNarrow(Pass):
    """Keep in bfloat16 what later sweeps of its stage round to that in any case, on TPUs.

    The units of a TPU that multiply matrices take bfloat16, and round a float32 that they are given in the default
    precision. So what later sweeps only multiply by matrices has half of its bytes until then, and what comes of it is
    the same. Within one executable XLA does so as well; it cannot where a value goes from one task to another. Other
    devices multiply float32 as it is, so that the pass does nothing unless all islands are TPUs.

    Requires: `copy-cheap-operations` before.

          %y = tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %0 = dot_general %y, %d {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
        ~~>
          %y = tanh %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %n = convert %y {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}   // to bfloat16
          %w = convert %n {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}   // to float32
          %0 = dot_general %w, %d {atoll.stage = 0 : i32, atoll.sweep = 1 : i32}
    """

    def run(self, module: ir.Module) -> None:
        if not all(island.kind in PHYSICAL_RANK for island in topology_of(module).islands):
            log.info("nothing to do: only TPUs round what they multiply")
            return
        graph = Graph.of(module)
        stages, sweeps = read_marks(graph, STAGE), read_marks(graph, SWEEP)
        narrowed = 0
        for value, made in enumerate(graph.values):
            later = _later_users(graph, value, stages, sweeps) if is_float32(made) else []
            if later and all(takes_rounded(graph.operations[user], made) for user in later):
                _narrow(graph, value, [*_rounding_beside(graph, value, stages, sweeps), *later], sweeps)
                narrowed += graph.sizes[value] // 2
        log.info("later sweeps keep %d bytes less", narrowed)


def _later_users(graph: Graph, value: int, stages: _Marks, sweeps: _Marks) -> list[int]:
    """The operations for which a fragment keeps a value that it makes; none, if the value stays for others anyway."""
    maker = graph.producer[value]
    if maker == ARGUMENT or graph.is_yielded[value] or value in graph.returned:
        return []
    users = graph.users[value]
    if any(graph.region[user] != graph.region[maker] for user in users):
        return []
    return [user for user in users if stages[user] == stages[maker] and (sweeps[user] or 0) > (sweeps[maker] or 0)]


def _rounding_beside(graph: Graph, value: int, stages: _Marks, sweeps: _Marks) -> list[int]:
    """What rounds a value in the fragment that makes it. If it takes what is kept, nothing there may need the rest."""
    maker, made = graph.producer[value], graph.values[value]
    return [
        user
        for user in graph.users[value]
        if (stages[user], sweeps[user]) == (stages[maker], sweeps[maker])
        and takes_rounded(graph.operations[user], made)
    ]


def _narrow(graph: Graph, value: int, users: Sequence[int], sweeps: _Marks) -> None:
    """Round a value where it is made, and widen it once for each sweep that takes it."""
    made, maker = graph.values[value], graph.operations[graph.producer[value]]
    wide = ir.RankedTensorType(made.type)
    narrow = ir.RankedTensorType.get(wide.shape, ir.BF16Type.get(wide.context))
    kept = _converted(made, narrow, maker, ir.InsertionPoint.after(maker.operation))
    widened: dict[int | None, _Value] = {}
    for user in users:
        operation = graph.operations[user]
        if sweeps[user] not in widened:
            widened[sweeps[user]] = _converted(kept, wide, operation, ir.InsertionPoint(operation))
        replace_within(operation, {made: widened[sweeps[user]]})


def _converted(value: _Value, to: ir.Type, beside: ir.OpView, where: ir.InsertionPoint) -> _Value:
    """A conversion in the fragment of an operation."""
    given = beside.operation.attributes
    marks = {STAGE: given[STAGE], SWEEP: given[SWEEP]}
    made = ir.Operation.create(
        "stablehlo.convert", results=[to], operands=[value], attributes=marks, loc=beside.location, ip=where
    )
    result: _Value = made.results[0]
    return result
