"""Pass `verify-staged`."""

from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.module.graph import ARGUMENT, Graph, Loop
from atoll.compiler.module.interface import check_pieces
from atoll.compiler.module.loop_roles import loop_role
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marking import check_marks, read_marks
from atoll.compiler.module.marks import PHASE, ROLE, STAGE, SWEEP
from atoll.compiler.module.planned import stages_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.module.slots import slot
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.operations.sweeps import exchanges_behind


@dataclass(frozen=True)
class VerifyStaged(Pass):
    """Check that the module is in phase `staged`, and record it.

    Every operation has a stage that exists and a sweep, and values flow to the same fragment or to later ones; what
    replicas exchange flows to later ones, and is exchanged behind the loops. Every loop has a role, with a letter for
    each of its sweeps. The pieces of an argument or a result are the whole together.

    Requires: phase `stablehlo`.

        module attributes {atoll.phase = "stablehlo", atoll.stages = 2 : i32} {...}
        ~~>
        module attributes {atoll.phase = "staged", atoll.stages = 2 : i32} {...}
    """

    def run(self, module: ir.Module) -> None:
        check_marks(module, "staged")
        check_pieces(entry_function(module), replicas_of(module))
        count = stages_of(module)
        graph = Graph.of(module)
        slots: list[int] = []
        stages, sweeps, is_behind = read_marks(graph, STAGE), read_marks(graph, SWEEP), exchanges_behind(graph)
        for index, (stage, sweep) in enumerate(zip(stages, sweeps, strict=True)):
            location = graph.operations[index].location
            if stage is None or sweep is None:
                raise refuse(location, "an operation has no stage or no sweep", f"add {STAGE} and {SWEEP}")
            if not 0 <= stage < count or sweep < 0:
                raise refuse(location, f"there is no stage {stage} of sweep {sweep}", f"stages are 0 to {count - 1}")
            if graph.is_exchange[index]:
                _check_exchange(graph, index)
            slots.append(slot(stage, sweep, count))
            for producer in (graph.producer[value] for value in graph.operands[index]):
                is_beside = producer != ARGUMENT and graph.region[producer] == graph.region[index]
                if is_beside and slots[producer] + is_behind[producer] > slots[index]:
                    what = (
                        f"stage {stage} in sweep {sweep} needs a value of stage {stages[producer]} in sweep "
                        f"{sweeps[producer]}, which comes {'no sooner' if is_behind[producer] else 'later'}"
                    )
                    raise refuse(location, what, "move it to a later sweep")
        for loop in graph.loops:
            _check_role(
                loop, max((sweeps[one] or 0 for one, it in enumerate(graph.region) if it == loop.region), default=0)
            )
        module.operation.attributes[PHASE] = ir.StringAttr.get("staged")


def _check_role(loop: Loop, last: int) -> None:
    role = loop_role(loop.operation)
    if len(role) <= last:
        what = f'{ROLE} is "{role}", and the loop goes over the stages in {last + 1} sweeps'
        raise refuse(loop.operation.location, what, "write a letter for each")


def _check_exchange(graph: Graph, index: int) -> None:
    """What it exchanges, and of which kind, is checked where islands are known."""
    operation = graph.operations[index].operation
    if len(operation.operands) != 1 or len(operation.results) != 1:
        what = f"an exchange has {len(operation.operands)} operands and {len(operation.results)} results"
        raise refuse(operation.location, what, "write one of each")
    if graph.region[index] != 2 * len(graph.loops):
        raise refuse(operation.location, "replicas exchange before a loop ends", "move it behind the last loop")
