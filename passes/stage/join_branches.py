"""Pass `join-branches`."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.mlir.attributes import integer_attribute
from atoll.compiler.mlir.bindings import ir, mpmd, sdy, stablehlo
from atoll.compiler.mlir.functions import body_of, is_used, operands_within, replace_within
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import BRANCHES, STAGE, SWEEP
from atoll.compiler.module.planned import stages_of
from atoll.compiler.module.shardings import SHARDING
from atoll.compiler.module.slots import slot
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.branches.branches import is_choice
from atoll.passes.stage.operations.cheap_operations import may_be_copied

log = logging.getLogger(__name__)

_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class JoinBranches(Pass):
    """Make one `case` again of those pieces of a `case` that came to the same fragment.

    What several of them computed, each for itself, is computed once, and what they only handed to each other is no
    longer a result.

    Requires: `order-sweeps` before.

          %0 = case(%i) ({ return %x }, { %1 = tanh %x; return %1 })
            {atoll.branches = 0 : i32, atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %1 = case(%i) ({ return %y }, { %2 = negate %0; return %2 })
            {atoll.branches = 0 : i32, atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
        ~~>
          %0 = case(%i) ({ return %y }, { %1 = tanh %x; %2 = negate %1; return %2 })
            {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
    """

    def run(self, module: ir.Module) -> None:
        main = body_of(entry_function(module))
        loops = [operation for operation in main.operations if isinstance(operation, mpmd.ForOp)]
        blocks = [main, *(loop.operation.regions[0].blocks[0] for loop in loops)]
        stages = stages_of(module)
        if not sum(_join_all(block, stages) for block in blocks):
            log.info("nothing to do: no branches were split")


def _join_all(block: ir.Block, stages: int) -> int:
    """Join the pieces in a block, and those in the branches of the joined ones; returns how many there were."""
    groups: dict[int, list[ir.Operation]] = {}
    for operation in block.operations:
        number = integer_attribute(operation.operation, BRANCHES) if is_choice(operation) else None
        if number is not None:
            groups.setdefault(number, []).append(operation.operation)
    for pieces in groups.values():
        _join(pieces, stages)
    return sum(map(len, groups.values()))


def _join(pieces: Sequence[ir.Operation], stages: int) -> None:
    """Join the pieces of one choice that are of the same fragment, in the order of their fragments: each where its last
    piece stands, or that of a fragment before it. So it is behind all that any of them takes, and what stands between
    the pieces and takes any of them, such as an exchange between replicas, goes behind it."""
    fragments: dict[int, list[int]] = {}
    for index, piece in enumerate(pieces):
        stage, sweep = integer_attribute(piece, STAGE), integer_attribute(piece, SWEEP)
        # In the branches of another choice there are no fragments: all is in the fragment of that choice.
        number = 0 if stage is None or sweep is None else slot(stage, sweep, stages)
        fragments.setdefault(number, []).append(index)
    others, joined, last = _Others.of(pieces), list[ir.Operation](), 0
    for number in sorted(fragments):
        last = max(last, fragments[number][-1])
        with pieces[last].context, ir.InsertionPoint(pieces[last]):
            joined.append(_joined([pieces[index] for index in fragments[number]]))
        others.move_behind(joined[-1], last)
    for piece in reversed(pieces):
        piece.erase()
    for region in (region for choice in joined for region in choice.regions):
        _compute_once(region.blocks[0])
        _join_all(region.blocks[0], stages)
        _drop_unused(region.blocks[0])


@dataclass
class _Others:
    """What stands between the pieces of a choice, in order, each with the number of the piece that it stands before."""

    pieces: Sequence[ir.Operation]
    operations: list[tuple[int, ir.OpView]]

    @classmethod
    def of(cls, pieces: Sequence[ir.Operation]) -> "_Others":
        found, before = list[tuple[int, ir.OpView]](), 0
        for operation in pieces[0].block.operations:
            if operation.operation == pieces[before]:
                before += 1
                if before == len(pieces):
                    break
            elif before:
                found.append((before, operation))
        return cls(pieces, found)

    def move_behind(self, choice: ir.Operation, last: int) -> None:
        """Move what takes anything of a choice, which stands before the piece of a number, behind it."""
        taken = set(choice.results)
        for number, (before, operation) in enumerate(self.operations):
            if before <= last and not taken.isdisjoint(operands_within(operation)):
                operation.operation.move_before(self.pieces[last])
                taken.update(operation.operation.results)
                self.operations[number] = last, operation


def _joined(pieces: Sequence[ir.Operation]) -> ir.Operation:
    """One choice that does what some pieces do; these are left empty."""
    first, branches = pieces[0], range(len(pieces[0].regions))
    given = [_hand_on(pieces, branch) for branch in branches]
    # What is still used now is used from outside, so the choice has to give it.
    kept = [result for piece in pieces for result in piece.results if is_used(result)]
    attributes = {name: first.attributes[name] for name in first.attributes if name not in (BRANCHES, SHARDING)}
    attributes |= _shardings(pieces, kept)
    choice = ir.Operation.create(
        first.name,
        [result.type for result in kept],
        list(first.operands),
        attributes,
        regions=len(branches),
        loc=first.location,
    )
    for branch in branches:
        with ir.InsertionPoint(choice.regions[branch].blocks.append()):
            values = [given[branch][result] for result in kept]
            returning = ir.Operation.create("stablehlo.return", [], values, loc=first.location)
        for piece in pieces:
            *body, _ = list(piece.regions[branch].blocks[0].operations)
            for operation in body:
                operation.operation.move_before(returning)
    for result, value in zip(kept, choice.results, strict=True):
        result.replace_all_uses_with(value)
    return choice


def _hand_on(pieces: Sequence[ir.Operation], branch: int) -> Mapping[_Value, _Value]:
    """Let one branch of each piece take what the same branch of those before it gives; returns what they give."""
    given: dict[_Value, _Value] = {}
    for piece in pieces:
        operations = list(piece.regions[branch].blocks[0].operations)
        for operation in operations:
            replace_within(operation, given)
        given.update(zip(piece.results, operations[-1].operation.operands, strict=True))
    return given


def _shardings(pieces: Sequence[ir.Operation], kept: Sequence[_Value]) -> Mapping[str, ir.Attribute]:
    """How the results are divided, if that is known of all of them."""
    found: dict[_Value, sdy.TensorShardingAttr] = {}
    for piece in pieces:
        if SHARDING in piece.attributes:
            shardings = sdy.TensorShardingPerValueAttr(piece.attributes[SHARDING]).shardings
            found.update(zip(piece.results, map(sdy.TensorShardingAttr, shardings), strict=True))
    is_said = bool(kept) and all(result in found for result in kept)
    return {SHARDING: sdy.TensorShardingPerValueAttr.get([found[result] for result in kept])} if is_said else {}


def _compute_once(block: ir.Block) -> None:
    """Keep one of operations that are the same: each piece has its own copies of what is cheap."""
    known: dict[object, ir.Operation] = {}
    for operation in list(block.operations):
        # Barriers keep apart what the user computes twice on purpose.
        if not may_be_copied(operation) or isinstance(operation, stablehlo.OptimizationBarrierOp):
            continue
        one = operation.operation
        attributes = tuple((name, one.attributes[name]) for name in one.attributes)
        other = known.setdefault((one.name, tuple(one.operands), tuple(one.results.types), attributes), one)
        if other is not one:
            for result, same in zip(one.results, other.results, strict=True):
                result.replace_all_uses_with(same)
            one.erase()


def _drop_unused(block: ir.Block) -> None:
    for operation in reversed(list(block.operations)):
        results = operation.operation.results
        if may_be_copied(operation) and not any(map(is_used, results)):
            operation.operation.erase()
