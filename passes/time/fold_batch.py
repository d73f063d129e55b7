"""Pass `fold-batch`."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from atoll.compiler.batch_rules.decision import Mixed
from atoll.compiler.batch_rules.interpretation import Batch, Interpretation, Rule
from atoll.compiler.batch_rules.nodes import NodeTree, described
from atoll.compiler.batch_rules.states import SAME, Split, State
from atoll.compiler.batch_rules.table import RULES
from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import argument_attributes, arguments_of
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import BATCH, PATH
from atoll.compiler.module.noting import add_note
from atoll.compiler.module.planned import plan_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.plan.resolved_plan import ResolvedPlan
from atoll.compiler.tracebacks import caller
from atoll.passes.time.folding.cross_check import cross_check
from atoll.passes.time.folding.levels import levels_of
from atoll.passes.time.folding.rewrite import rewrite
from atoll.passes.time.folding.whole_batch import whole_batch_work

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldBatch(Pass):
    """Run the step on one microbatch after another, where the plan asks for microbatches or for replicas.

    Replicas divide the batch as microbatches do: a loop has as many iterations as all replicas have microbatches.

    A loop computes what is per example, with shapes of one microbatch; sums over the batch are added up from one
    microbatch to the next. What does not depend on the batch stands before the loop, and what needs the whole batch
    after it.

    Requires: phase `stablehlo`.

        func.func @main(%w: tensor<4xf32>, %x: tensor<8x4xf32> {atoll.batch}) -> tensor<4xf32> {
          %sum = reduce(%x) add across [0]
          %new = add %w, %sum
          return %new
        ~~>
        func.func @main(%w: tensor<4xf32>, %x: tensor<2x4xf32> {atoll.batch, atoll.parts = 4 : i32}) -> tensor<4xf32> {
          %sum = mpmd.for (%zero) {iterations = 4} (%before, %index) {
            %part = reduce(%x) add across [0]
            %after = add %before, %part
            mpmd.return %after
          }
          %new = add %w, %sum
          return %new
    """

    def run(self, module: ir.Module) -> None:
        fold(module, RULES)


def fold(module: ir.Module, rules: Mapping[str, Rule]) -> None:
    """Fold by a table of rules; raises CompileError for what the table does not prove."""
    plan = plan_of(module)
    parts = plan.microbatches * plan.replicas
    if parts == 1:
        log.info("nothing to do: the plan asks for one microbatch")
        return
    states = _states_of_arguments(module, plan)
    program = NodeTree.of(module, parts)
    if plan.replicas > 1:
        _check_effects(program)
    uncut = " and ".join(f"{name}=1" for name in _cutting(plan))
    scope = Interpretation(Batch(program, rules, plan.accumulator == "float32", uncut), program.body)
    try:
        scope.interpret(states)
    except Mixed as mixed:
        what = f"{described(mixed.node)} {mixed.why}"
        raise refuse(mixed.node.location, what, f"{mixed.remedy}, or set {uncut}") from None
    levels = levels_of(scope)
    cross_check(scope, levels)
    for node, work in whole_batch_work(program, levels):
        add_note(module, node.location, work)
    rewrite(module, scope, levels)


def _check_effects(program: NodeTree) -> None:
    """What acts on the world outside would do so in every replica."""
    for node in (one.acting for one in program.body.nodes):
        if node is not None:
            what = f"{described(node)} has an effect outside of the program, which would happen in every replica"
            raise refuse(node.location, what, "take it out, or set replicas=1")


def _states_of_arguments(module: ir.Module, plan: ResolvedPlan) -> list[State]:
    main = entry_function(module)
    parts, asked = plan.microbatches * plan.replicas, _asked(plan)
    states: list[State] = []
    for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
        states.append(Split(0) if BATCH in marks else SAME)
        if BATCH in marks:
            size = ir.RankedTensorType(argument.type).get_dim_size(0)
            if size % parts:
                path = text_attribute(marks, PATH) or f"argument {argument.arg_number}"
                what = f"{path} has {size} examples, which {asked} cannot share evenly"
                remedy = f"choose {' and '.join(_cutting(plan))} that divide the batch"
                raise PlanError(what, place(argument.location) or caller(), remedy)
    if all(state == SAME for state in states):
        what = f"the plan asks for {asked}, and no argument that is used carries the batch"
        raise PlanError(
            what, caller(), "name the arguments that do: batch_argnums in Python, --batch for a file of StableHLO"
        )
    return states


def _asked(plan: ResolvedPlan) -> str:
    """Into how many parts the plan cuts the batch."""
    replicas, microbatches = plan.replicas, plan.microbatches
    if replicas == 1:
        return f"{microbatches} microbatches"
    return f"{replicas} replicas" if microbatches == 1 else f"{replicas} replicas of {microbatches} microbatches"


def _cutting(plan: ResolvedPlan) -> list[str]:
    """The fields of the plan that cut the batch."""
    fields = {"replicas": plan.replicas, "microbatches": plan.microbatches}
    return [name for name, count in fields.items() if count > 1]
