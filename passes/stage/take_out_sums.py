"""Pass `take-out-sums`."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from atoll.compiler.batch_rules.states import KIND_OF
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.effects import erase_if_unused
from atoll.compiler.mlir.functions import operands_within, replace_within
from atoll.compiler.module.graph import operations_of
from atoll.compiler.module.planned import plan_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.plan.plan import SHARDED
from atoll.passes.stage.branches.branches import is_choice
from atoll.passes.stage.operations.cheap_operations import is_scalar, may_be_copied
from atoll.passes.stage.shares.update import shares_of

log = logging.getLogger(__name__)

_Value = ir.Value[ir.Type]


@dataclass(frozen=True)
class TakeOutSums(Pass):
    """Make sums that are in branches of a shared update ahead of the choice, where replicas can add up their parts.

    Nothing is exchanged in a branch. So a norm in one, as of an optimizer that clips and runs in every second call,
    would leave the state whole, and gradients would be gathered in every call. Made ahead, also where its branch is not
    taken, it reads each share once. What is costly is not made ahead, nor anything where no replica has shares.

    Requires: phase `timed`.

          %0 = case(%i) ({ return %m }, { %1 = reduce %m; %2 = divide %m, %1; return %2 })
        ~~>
          %1 = reduce %m
          %0 = case(%i) ({ return %m }, { %2 = divide %m, %1; return %2 })
    """

    def run(self, module: ir.Module) -> None:
        replicas, count = replicas_of(module), 0
        if replicas == 1 or plan_of(module).update != SHARDED:
            log.info("nothing to do: the plan does not share the update over replicas")
            return
        if not any(map(is_choice, operations_of(module))):
            log.info("nothing to do: there are no branches")
            return
        while choices := _left_whole(module, replicas):
            taken = sum(map(_take_out, choices))
            if not taken:
                break
            count += taken
        log.info("made %d sums ahead of choices", count)


def _left_whole(module: ir.Module, replicas: int) -> list[ir.OpView]:
    """The choices between shares that something would have to be exchanged in."""
    _, _, shares = shares_of(module, replicas)
    return [node.operation.opview for node in shares.choices_left_whole()]


def _take_out(choice: ir.OpView) -> int:
    """Make what a choice's branches sum up ahead of it, if all that it is made of is cheap; returns how many sums.

    What adds such sums to each other is made ahead too, as their parts are then exchanged together.
    """
    count = 0
    for region in choice.operation.regions:
        block = region.blocks[0]
        for inner in filter(is_choice, list(block.operations)):
            _take_out(inner)  # into this branch, from where they go on
        count += _Branch(choice, list(block.operations)).take_out()
    return count


class _Branch:
    """A branch of a choice, and what is made ahead of the choice in place of its values."""

    def __init__(self, choice: ir.OpView, operations: list[ir.OpView]) -> None:
        self._choice = choice
        self._operations = operations
        self._makers: dict[_Value, ir.OpView] = {value: one for one in operations for value in one.operation.results}
        self._cheap: dict[_Value, bool] = {}  # whether a value can be made ahead
        self._ahead: dict[_Value, _Value] = {}

    def take_out(self) -> int:
        """Make the sums ahead, and take them from there; what then has no use goes."""
        sums: dict[_Value, _Value] = {}
        with ir.InsertionPoint(self._choice):
            for one in self._operations:
                is_made = self._can_be_made(one)
                self._cheap.update(dict.fromkeys(one.operation.results, is_made))
                if is_made and (_is_sum(one) or self._adds(one, sums)):
                    self._make(one)
                    total = one.operation.results[0]
                    sums[total] = self._ahead[total]
        for one in self._operations:
            replace_within(one, sums)
        for one in reversed(self._operations[:-1]):
            erase_if_unused(one)
        return len(sums)

    def _can_be_made(self, one: ir.OpView) -> bool:
        is_cheap = may_be_copied(one) or _is_sum(one)
        return is_cheap and all(self._cheap[value] for value in self._taken(one))

    def _adds(self, one: ir.OpView, sums: Iterable[_Value]) -> bool:
        """Whether an operation combines a sum, or a maximum and the like, with another scalar."""
        if one.operation.name not in KIND_OF or not is_scalar(one.operation.results[0]):
            return False
        return any(value in sums for value in one.operation.operands)

    def _taken(self, one: ir.OpView) -> list[_Value]:
        """The values of the branch that an operation takes."""
        return [value for value in operands_within(one) if value in self._makers]

    def _make(self, one: ir.OpView) -> None:
        """Copy an operation ahead, after all that it takes."""
        left = [one]
        while left:
            missing = [self._makers[value] for value in self._taken(left[-1]) if value not in self._ahead]
            if missing:
                left += missing
                continue
            made = left.pop()
            if made.operation.results[0] in self._ahead:
                continue
            copy = made.operation.clone()
            replace_within(copy.opview, self._ahead)
            self._ahead.update(zip(made.operation.results, copy.results, strict=True))


def _is_sum(one: ir.OpView) -> bool:
    return isinstance(one, stablehlo.ReduceOp) and len(one.operation.results) == 1
