"""Pass `share-update`."""

import logging
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import SHARE
from atoll.compiler.module.notes import OneReplica
from atoll.compiler.module.noting import add_note
from atoll.compiler.module.planned import plan_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.plan.plan import SHARDED
from atoll.passes.stage.shares.share_code import write_shares
from atoll.passes.stage.shares.update import shares_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShareUpdate(Pass):
    """Let each replica make its share of the update, and keep its share of the state that only the update reads.

    An operation takes the replica's own share of what all replicas have, such as parameters and gradients; the new
    parameters are gathered from all. What is summed up over shared values, such as a norm, is added up over replicas.
    These exchanges are calls of `@atoll.exchange` until values live on islands.

    Requires: `split-layer-loops` before, so that what is shared is on one stage.

        func.func @main(%w: tensor<4xf32>, %m: tensor<4xf32>, %g: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
          %0 = add %m, %g : tensor<4xf32>
          %1 = subtract %w, %0 : tensor<4xf32>
          return %1, %0
        ~~>
        func.func @main(%w: tensor<4xf32>, %m: tensor<2xf32> {atoll.share = 0 : i32}, %g: tensor<4xf32>) -> ... {
          %0 = custom_call @atoll.exchange(%g) {atoll.exchange = "share", atoll.share = 0 : i32}
          %1 = add %m, %0 : tensor<2xf32>
          %2 = custom_call @atoll.exchange(%w) {atoll.exchange = "share", atoll.share = 0 : i32}
          %3 = subtract %2, %1 : tensor<2xf32>
          %4 = custom_call @atoll.exchange(%3) {atoll.exchange = "gather", atoll.share = 0 : i32}
          return %4, %1
    """

    def run(self, module: ir.Module) -> None:
        replicas = replicas_of(module)
        if plan_of(module).update != SHARDED:
            log.info("nothing to do: the plan does not share the update over replicas")
            return
        if replicas == 1:
            add_note(module, entry_function(module).location, OneReplica())
            return
        _check_once(module)
        update, state, shares = shares_of(module, replicas)
        kept = {argument: result for argument, result in update.state.items() if argument in shares.kept}
        for location, fact in update.left_whole(shares, state):  # while the operations that it names are there
            add_note(module, location, fact)
        for location, gathered in write_shares(module, shares, kept):
            add_note(module, location, gathered)
        log.info("shared %d of %d arrays of state over %d replicas", len(kept), len(update.state), replicas)


def _check_once(module: ir.Module) -> None:
    main = entry_function(module)
    if any(SHARE in marks for marks in argument_attributes(main)):
        raise refuse(main.location, "the update is shared already", "run share-update once")
