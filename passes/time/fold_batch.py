"""Pass `fold-batch`."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from atoll.compiler.batch_rules.counted_loop import loops_of
from atoll.compiler.batch_rules.decision import Mixed
from atoll.compiler.batch_rules.interpretation import Batch, Interpretation, Rule
from atoll.compiler.batch_rules.nodes import NodeTree, described
from atoll.compiler.batch_rules.replica_axis import axes_by_node, keep_own_devices
from atoll.compiler.batch_rules.states import SAME, Split, State
from atoll.compiler.batch_rules.table import RULES
from atoll.compiler.errors import PlanError
from atoll.compiler.mlir.attributes import text_attribute, text_of
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import Refusal, refuse
from atoll.compiler.mlir.effects import is_print
from atoll.compiler.mlir.functions import argument_attributes, arguments_of
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.interface import batch_dimension
from atoll.compiler.module.island_axes import Axes, axes_of_islands
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import PATH, TOPOLOGY
from atoll.compiler.module.notes import BatchBlocks
from atoll.compiler.module.noting import add_note
from atoll.compiler.module.planned import plan_of, topology_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.plan.resolved_plan import ResolvedPlan
from atoll.compiler.tracebacks import caller
from atoll.passes.time.folding.alone_cuts import check_alone_cuts, take_marks_of_cuts
from atoll.passes.time.folding.behind_sums import part_behind_sums
from atoll.passes.time.folding.cross_check import cross_check
from atoll.passes.time.folding.levels import levels_of
from atoll.passes.time.folding.pieces import give_in_pieces, take_in_pieces, wanted_blocks
from atoll.passes.time.folding.preparation import with_preparation
from atoll.passes.time.folding.rewrite import rewrite
from atoll.passes.time.folding.ways import ways_over_the_batch
from atoll.passes.time.folding.whole_batch import whole_batch_work
from atoll.passes.time.folding.written_out import write_out_mixing, write_out_pieces, write_out_sorting

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldBatch(Pass):
    """Run the step on one microbatch after another, where the plan asks for microbatches or for replicas.

    Replicas divide the batch as microbatches do: a loop has as many iterations as all replicas have microbatches.

    A loop computes what is per example, with shapes of one microbatch; sums over the batch are added up from one
    microbatch to the next. What does not depend on the batch stands before the loop, and what needs the whole batch
    after it. Where examples need something of that, another loop follows, and takes what the one before has kept.

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
    extent = _check_examples(module, plan)
    uncut = " and ".join(f"{name}=1" for name in _cutting(plan))
    batch = _over_replicas(Batch(NodeTree.of(module, parts), rules, plan.accumulator == "float32", uncut))
    if plan.replicas > 1:
        _check_effects(batch.program)
    scope = _one_by_one(batch, plan, extent)
    if give_in_pieces(entry_function(module), scope):
        scope = _proved(_read_again(batch), plan, extent)
    check_alone_cuts(scope)
    levels = levels_of(scope, plan.allowance, plan.replicas, keeps_all=plan.microbatches == 1)
    cross_check(scope, levels)
    for node, fact in (*whole_batch_work(scope.batch.program, levels), *ways_over_the_batch(levels, plan.replicas)):
        add_note(module, node.location, fact)
    rewrite(module, scope, levels)
    islands = _islands(module)
    if plan.replicas > 1 and islands:
        keep_own_devices(module, islands, plan.replicas)
    take_marks_of_cuts(module)


def _check_effects(program: NodeTree) -> None:
    """What acts on the world outside would do so in every replica; a print may, and says in which it does."""
    for node in (inner for one in program.body.nodes for inner in (one, *one.inner())):
        if node.acting is node and not is_print(node.operation.opview):
            what = f"{described(node)} has an effect outside of the program, which would happen in every replica"
            raise refuse(node.location, what, "take it out, or set replicas=1")


class _Uneven(Refusal):
    """The blocks fold, and only their examples are not as many as the parts could share."""


def _one_by_one(batch: Batch, plan: ResolvedPlan, extent: int) -> Interpretation:
    """What the rules say of @main, with loops written out whose iterations are proved one by one alone."""
    while True:
        try:
            scope = _proved(batch, plan, extent)
        except Refusal:
            written = _read_again(batch)
            is_written_out = write_out_sorting(written.program, [node for node, _ in loops_of(written.program)])
            if not is_written_out and not _write_out_mixing(written):
                found = _with_pieces_written_out(written, plan, extent)
                if found is None:
                    raise
                return found
        else:
            if not write_out_sorting(scope.batch.program, scope.joined):
                return scope
        batch = _read_again(batch)


def _with_pieces_written_out(batch: Batch, plan: ResolvedPlan, extent: int) -> Interpretation | None:
    """With the first loop written out that goes over pieces of the batch, or of what is prepared for the whole batch;
    None if there is none, or that does not help. Raises _Uneven if it would, with other numbers of microbatches."""
    if not _write_out_pieces(batch, extent) and not _write_out_prepared(batch):
        return None
    try:
        return _one_by_one(_read_again(batch), plan, extent)
    except _Uneven:
        raise
    except Refusal:
        return None


def _write_out_mixing(batch: Batch) -> bool:
    """Write out the first loop that cannot be proved as it is; whether there was one."""
    scope, mixed = _as_it_is(batch)
    return mixed is not None and write_out_mixing(scope, mixed)


def _write_out_pieces(batch: Batch, extent: int) -> bool:
    scope, mixed = _as_it_is(_read_again(batch))
    return mixed is not None and write_out_pieces(scope, mixed, extent)


def _as_it_is(batch: Batch) -> tuple[Interpretation, Mixed | None]:
    """@main as far as it can be interpreted, and what cannot."""
    scope = Interpretation(batch, batch.program.body)
    try:
        scope.interpret(_states(batch))
    except Mixed as mixed:
        return scope, mixed
    return scope, None


def _write_out_prepared(batch: Batch) -> bool:
    batch = _read_again(batch)
    try:
        with_preparation(batch, _states(batch))
    except Mixed as mixed:
        return write_out_mixing(Interpretation(batch, batch.program.body), mixed)
    return False


def _proved(batch: Batch, plan: ResolvedPlan, extent: int) -> Interpretation:
    """What the rules say of @main. If it does not fold as it is, its arguments are taken in pieces, or its data
    preparation is done for the whole batch."""
    module = batch.program.module
    try:
        return _interpreted(batch)
    except Mixed as mixed:
        refusal = _refusal(mixed, batch)
        divider, blocks, closer = _blocks_that_fold(batch, extent)
        size = extent // blocks
        if divider is None or size % batch.parts:
            batch = _read_again(batch)
            try:
                scope = with_preparation(batch, _states(batch))
            except Mixed as deeper:
                if divider is None and not (mixed.wants_blocks and closer is not None):
                    raise _refusal(deeper, batch) from None
            else:
                if scope is not None:
                    return scope
        if divider is None:  # the user is told what is wrong with the examples as they come
            raise (closer if mixed.wants_blocks and closer is not None else refusal) from None
    if size % batch.parts:
        what = f"{divider.name} makes blocks of {size} examples, which {_asked(plan)} cannot share evenly"
        remedy = f"choose {' and '.join(_cutting(plan))} that divide these, or set {batch.uncut}"
        raise _Uneven(what, place(divider.location), remedy, location=divider.location)
    add_note(module, divider.location, BatchBlocks(divider.name, blocks))
    take_in_pieces(entry_function(module), blocks)
    return _interpreted(_read_again(batch))


def _interpreted(batch: Batch, blocks: int = 1) -> Interpretation:
    """@main, if each argument with the examples has them in so many blocks; raises Mixed."""
    while True:
        scope = Interpretation(batch, batch.program.body)
        try:
            scope.interpret(_states(batch, blocks))
        except Mixed as mixed:
            if not part_behind_sums(scope, mixed):
                raise
            batch = _read_again(batch)
        else:
            return scope


def _refusal(mixed: Mixed, batch: Batch) -> Refusal:
    what = f"{described(mixed.node)} {mixed.why}"
    return refuse(mixed.node.location, what, f"{mixed.remedy}, or set {batch.uncut}")


def _states(batch: Batch, blocks: int = 1) -> list[State]:
    dimensions = map(batch_dimension, argument_attributes(entry_function(batch.program.module)))
    return [SAME if one is None else Split(one, blocks) for one in dimensions]


def _read_again(batch: Batch, parts: int | None = None) -> Batch:
    """The program as it stands now, or in other parts."""
    return _over_replicas(replace(batch, program=NodeTree.of(batch.program.module, parts or batch.parts)))


def _over_replicas(batch: Batch) -> Batch:
    """With what is written for the devices of all replicas."""
    program = batch.program
    islands = _islands(program.module)
    axes = axes_by_node(program, islands, plan_of(program.module).replicas) if islands else {}
    nodes = (inner for one in program.body.nodes for inner in (one, *one.inner())) if axes else ()
    around = (one.number for one in nodes if any(inner.number in axes for inner in (one, *one.inner())))
    return replace(batch, axes=axes, differing=frozenset(around))


def _islands(module: ir.Module) -> Axes:
    """The axes of the islands; none where no topology is known."""
    return axes_of_islands(topology_of(module)) if text_of(module.operation, TOPOLOGY) else {}


@dataclass(frozen=True)
class _Divider:
    """An operation that divides the examples into blocks."""

    name: str
    location: ir.Location


def _blocks_that_fold(batch: Batch, extent: int) -> tuple[_Divider | None, int, Refusal | None]:
    """The operation that divides the examples into blocks, and into how many; None if no such division folds, and then
    what is wrong with the first one that was tried.

    Into blocks that the parts share evenly if it can be; else into some that other parts would share.
    """
    # Described at once: what is tried may part operations, and leave new ones in their place.
    batch, closer = _read_again(batch), None
    found = wanted_blocks(batch.program, extent)
    wanted = [(_Divider(described(node), node.location), blocks, extent // blocks) for blocks, node in found]
    even = [one for one in wanted if one[2] % batch.parts == 0]
    uneven = [one for one in wanted if one[2] % batch.parts and one[2] > 1]
    for divider, blocks, size in (*even, *uneven):
        suited = _read_again(batch, batch.parts if size % batch.parts == 0 else _least_divisor(size))
        try:
            _interpreted(suited, blocks)
        except Mixed as mixed:  # the user is told what is wrong with the examples as they come
            closer = closer or _refusal(mixed, suited)
            continue
        return divider, blocks, None
    return None, 1, closer


def _least_divisor(size: int) -> int:
    return next(one for one in range(2, size + 1) if size % one == 0)


def _check_examples(module: ir.Module, plan: ResolvedPlan) -> int:
    """How many examples there are, in one argument at least and as many as the parts can share evenly."""
    main = entry_function(module)
    parts, asked, extent = plan.microbatches * plan.replicas, _asked(plan), 0
    for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
        dimension = batch_dimension(marks)
        if dimension is not None:
            extent = ir.RankedTensorType(argument.type).get_dim_size(dimension)
            if extent % parts:
                path = text_attribute(marks, PATH) or f"argument {argument.arg_number}"
                what = f"{path} has {extent} examples, which {asked} cannot share evenly"
                remedy = f"choose {' and '.join(_cutting(plan))} that divide the batch"
                raise PlanError(what, place(argument.location) or caller(), remedy)
    if all(batch_dimension(marks) is None for marks in argument_attributes(main)):
        what = f"the plan asks for {asked}, and no argument that is used carries the batch"
        remedy = "name the arguments that do: batch_argnums or batch_axes in Python, --batch for a file of StableHLO"
        raise PlanError(what, caller(), remedy)
    return extent


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
