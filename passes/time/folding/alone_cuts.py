"""Checks that what a scope sees of each microbatch alone are the examples of that microbatch.

Such a scope takes its examples from a value that is cut into as many parts as there are microbatches. That is right if
the proof has the i-th part of just that dimension in microbatch i; where examples stand in another order, it is not.
"""

from collections.abc import Iterator, Mapping

from atoll.compiler.batch_rules.decision import Decision
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.states import Split
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.module.marks import ALONE_CUT


def check_alone_cuts(scope: Interpretation) -> None:
    """Refuse examples that are not cut where the microbatches are."""
    decisions = dict(_decisions(scope.decisions))
    for top in scope.body.nodes:
        for node in (top, *top.inner()):
            if node.has(ALONE_CUT) and not _is_right(scope, top, node, decisions.get(node.number)):
                what = (
                    "what per_microbatch is to do alone takes the examples in another order than microbatches have them"
                )
                raise refuse(node.location, what, "keep them along one axis, one after another, up to that scope")


def take_marks_of_cuts(module: ir.Module) -> None:
    """Take away what has been checked."""

    def take(operation: ir.Operation) -> ir.WalkResult:
        if ALONE_CUT in operation.attributes:
            del operation.attributes[ALONE_CUT]
        return ir.WalkResult.ADVANCE

    module.operation.walk(take)


def _decisions(found: Mapping[int, Decision]) -> Iterator[tuple[int, Decision]]:
    """What was decided, in regions too."""
    yield from found.items()
    for decision in found.values():
        for body in decision.bodies:
            yield from _decisions(body.decisions)


def _is_right(scope: Interpretation, top: Node, node: Node, decision: Decision | None) -> bool:
    if decision is None:  # the same for all: right for numbers that the examples do not come into, and cut like them
        taken = {*top.operands, *top.captured, *top.results}
        is_whole = top.number in scope.batch.whole or top in scope.joined or not scope.mixed.isdisjoint(taken)
        return not is_whole
    pairs = zip(node.operand_shape(), node.result_shape(), strict=False)
    cut = next(axis for axis, (before, after) in enumerate(pairs) if before != after)
    return decision.operands[0] == decision.results[0] == Split(cut)
