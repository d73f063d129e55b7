"""Pass `drop-dead-carries`."""

import logging
from dataclasses import dataclass

from atoll.compiler.batch_rules.control import copy_attributes
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.effects import erase_unused, has_effect
from atoll.compiler.mlir.functions import is_used, operands_within, operations_in
from atoll.compiler.pipeline.pass_base import Pass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DropDeadCarries(Pass):
    """Let loops carry only what somebody needs.

    What is the same for all microbatches is made by a loop of its own, which has no use for much of what the loop that
    it comes from carries. Carried on, such an array would be sent to wherever the loop is.

    Requires: phase `timed`.

          %0:2 = while(%a = %x, %b = %w) {...} {return %next, %b}
          return %0#0
        ~~>
          %0 = while(%a = %x) {...} {return %next}
          return %0
    """

    def run(self, module: ir.Module) -> None:
        dropped = 0
        loops = operations_in(module.operation, stablehlo.WhileOp)
        while loops:
            loop = loops.pop()  # inner loops before the outer ones, with which they may go
            count = len(loop.operation.results)
            live = _live(loop)
            if len(live) < count:
                _rebuild(loop, live)
                dropped += count - len(live)
        log.info("%d carried values were dropped", dropped)


def _live(loop: stablehlo.WhileOp) -> list[int]:
    """The slots whose results are used, or that these, or the end of the loop, depend on."""
    condition, body = (region.blocks[0] for region in loop.operation.regions)
    *inside, terminator = body.operations
    live = {slot for slot, result in enumerate(loop.operation.results) if is_used(result)}
    live |= {slot for slot, argument in enumerate(condition.arguments) if is_used(argument)}
    while True:
        needed = {terminator.operation.operands[slot] for slot in live}
        for operation in reversed(inside):
            if has_effect(operation) or any(result in needed for result in operation.operation.results):
                needed.update(operands_within(operation))
        found = live | {slot for slot, argument in enumerate(body.arguments) if argument in needed}
        if found == live:
            return sorted(live)
        live = found


def _rebuild(loop: stablehlo.WhileOp, live: list[int]) -> None:
    """The loop with some of its slots, in its place."""
    old = loop.operation
    made = ir.Operation.create(
        old.name,
        [old.results[slot].type for slot in live],
        [old.operands[slot] for slot in live],
        regions=2,
        loc=old.location,
        ip=ir.InsertionPoint(old),
    )
    copy_attributes(old, made, live)
    for number, region in enumerate(made.regions):
        block = old.regions[number].blocks[0]
        block.append_to(region)
        if number == 1:
            *_, terminator = block.operations
            kept = [terminator.operation.operands[slot] for slot in live]
            ir.Operation.create("stablehlo.return", [], kept, loc=terminator.location, ip=ir.InsertionPoint(terminator))
            terminator.operation.erase()
            erase_unused(block)
        for slot in reversed(range(len(old.results))):
            if slot not in live:
                block.erase_argument(slot)
    for slot, result in zip(live, made.results, strict=True):
        old.results[slot].replace_all_uses_with(result)
    old.erase()
