"""Pass `seed-stages`."""

import logging
from dataclasses import dataclass
from itertools import takewhile

from atoll.compiler.batch_rules.counted_loop import CountedLoop
from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.attributes import integer, text_attribute
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.mlir.locations import name_stack, place
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marking import write_marks
from atoll.compiler.module.marks import LAYERS, PATH, STAGE, STAGES
from atoll.compiler.module.planned import plan_of, shape_of, topology_of
from atoll.compiler.module.replicas import check_replicas
from atoll.compiler.module.scopes import Role, read_scope
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.plan.scope_patterns import ScopePatterns, path_components
from atoll.passes.stage.layers.choice import read_loops
from atoll.passes.stage.operations.roles import roles_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeedStages(Pass):
    """Give a stage to the operations that the plan's patterns name.

    Operations are named by their scope; where a library sets no scopes, by the path of the parameter that they take.

    Requires: phase `stablehlo`.

        module attributes {atoll.plan = "stages=\\"embed | head\\""} {
          %0 = dot_general %x, %w loc("jit(f)/embed/dot_general")
        ~~>
          %0 = dot_general %x, %w {atoll.stage = 0 : i32} loc("jit(f)/embed/dot_general")
    """

    def run(self, module: ir.Module) -> None:
        plan = plan_of(module)
        if plan.replicas > 1:
            check_replicas(plan.replicas, topology_of(module))
        count = plan.stage_count
        module.operation.attributes[STAGES] = integer(shape_of(module).planned_stages if count is None else count)
        patterns = ScopePatterns.of(plan, topology_of(module) if plan.placement is not None else None)
        if patterns is None:
            log.info("nothing to do: the plan names no scopes")
            return
        graph = Graph.of(module)
        stages, scopes = _stages_by_scope(graph, patterns)
        _write_layers(module, graph, patterns, stages)
        paths = [text_attribute(one, PATH) or "" for one in argument_attributes(entry_function(module))]
        by_argument = [patterns.stage_of(path_components(path), f"argument {path}") for path in paths]
        for index, taken in enumerate(graph.operands):
            if stages[index] is None:
                claims = {by_argument[value] for value in taken if value < graph.arguments} - {None}
                stages[index] = claims.pop() if len(claims) == 1 else None
        patterns.check_all_matched(scopes, list(dict.fromkeys(paths)))  # pieces have the path of the whole
        if plan.placement is None:
            _check_order(graph, stages)
        write_marks(graph, STAGE, stages)


def _stages_by_scope(graph: Graph, patterns: ScopePatterns) -> tuple[list[int | None], list[str]]:
    """The stage of each operation by its scope, and the outer scopes, two deep, in order of appearance."""
    stage_of: dict[tuple[str, ...], int | None] = {}
    scopes: dict[str, None] = {}
    stages: list[int | None] = []
    for operation in graph.operations:
        path = _path(operation)
        if path not in stage_of:
            stage_of[path] = patterns.stage_of(path, place(operation.location)) if path else None
            scopes.update(dict.fromkeys("/".join(path[:depth]) for depth in (1, 2) if depth <= len(path)))
        stages.append(stage_of[path])
    return stages, list(scopes)


def _path(operation: ir.OpView) -> tuple[str, ...]:
    """The scope of an operation; a loop's goes on with the scopes that all of its body is in, as Flax opens scopes
    there."""
    path = read_scope(name_stack(operation.location)).path
    if not isinstance(operation, stablehlo.WhileOp):
        return path
    inside = (
        read_scope(name_stack(inner.location)).path for inner in operation.operation.regions[1].blocks[0].operations
    )
    body = (*path, "while", "body")
    rests = [one[len(body) :] for one in inside if one[: len(body)] == body and len(one) > len(body)]
    shared = takewhile(lambda names: len(set(names)) == 1, zip(*rests, strict=False))
    return (*path, *(names[0] for names in shared))


def _write_layers(module: ir.Module, graph: Graph, patterns: ScopePatterns, stages: list[int | None]) -> None:
    """Note the stages of the layers on loops whose iterations the patterns name: `layers[0..5]`.

    The path of iteration 3 of the loop in scope `layers` is `layers/3`. Backward loops follow the layers later.
    """
    is_pipeline = plan_of(module).placement is None
    roles = roles_of(graph)
    refused: dict[str, PlanError] = {}
    cut: set[str] = set()
    for index, loop in read_loops(module, graph).items():
        operation = graph.operations[index]
        path, where = _path(operation), place(operation.location)
        is_in_model = roles[index] is Role.FORWARD and (graph.region[index] % 2 == 1 or not graph.loops)
        if stages[index] is not None or not path or not is_in_model:
            continue
        count = loop.iterations if isinstance(loop, CountedLoop) else 1
        scope, found = _stages_of_iterations(patterns, path, count, where)
        if not found:
            continue
        if isinstance(loop, str):
            what = f"the loop in scope {scope} cannot be cut into layers: {loop}"
            refused.setdefault(scope, PlanError(what, where, f"name {scope} whole"))
            continue
        known = [stage for stage in found if stage is not None]
        if len(known) < count:
            what = f"iteration {found.index(None)} of the {count} in scope {scope} has no stage"
            raise PlanError(what, where, "name a stage for every iteration")
        if is_pipeline and sorted(known) != known:
            what = f"the loop in scope {scope} comes to the iterations of stage {max(known)} before those of another"
            raise PlanError(what, where, "order the stages as the model runs them")
        layers = known[::-1] if loop.is_reverse else known
        operation.operation.attributes[LAYERS] = ir.DenseI64ArrayAttr.get(layers)
        cut.add(scope)
    for scope, error in refused.items():
        if scope not in cut:  # otherwise it is a loop beside the layers, such as that of a random generator
            raise error


def _stages_of_iterations(
    patterns: ScopePatterns, path: tuple[str, ...], count: int, where: str
) -> tuple[str, list[int | None]]:
    """The innermost scope whose iterations the patterns name, and the stage of each; an empty list if there is none."""
    for depth in reversed(range(1, len(path) + 1)):
        found = [patterns.stage_of((*path[:depth], str(iteration)), where) for iteration in range(count)]
        if any(stage is not None for stage in found):
            return "/".join(path[:depth]), found
    return "", []


def _check_order(graph: Graph, stages: list[int | None]) -> None:
    """PlanError if a forward operation needs one of a later stage: the stages of a pipeline follow each other."""
    latest: list[int | None] = []  # of each operation and what it depends on, one of the latest stage
    for index, role in enumerate(roles_of(graph)):
        producers = [graph.producer[value] for value in graph.operands[index]]
        behind = [latest[one] for one in producers if one != ARGUMENT]
        known = [(stages[one] or 0, one) for one in behind if one is not None]
        if stages[index] is not None:
            stage = stages[index] or 0
            late, other = max(known, default=(0, index))
            if role is Role.FORWARD and late > stage:
                here, there = graph.operations[index].location, graph.operations[other].location
                what = f"{_described(stage, here)} needs what {_described(late, there)} computes"
                raise PlanError(what, place(here), "order the stages as the model runs them")
            known.append((stage, index))
        latest.append(max(known)[1] if known else None)


def _described(stage: int, location: ir.Location) -> str:
    scope = "/".join(read_scope(name_stack(location)).path)
    return f"stage {stage} ({scope})" if scope else f"stage {stage}"
