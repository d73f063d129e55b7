"""What Shardy's propagation makes of a copy of the program: the program itself stays as it is."""

import logging
from collections.abc import Iterator

from atoll.compiler.batch_rules.nodes import Body, Node, NodeTree
from atoll.compiler.errors import CompileError
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text

log = logging.getLogger(__name__)

_PROPAGATION = "sdy-add-data-flow-edges, sdy-aggressive-propagate, sdy-sink-data-flow-edges"


def after_propagation(program: NodeTree, copy: ir.Module, otherwise: str) -> NodeTree | None:
    """The copy of a program after propagation, with the program's numbers; None if propagation fails or changes the
    operations.

    otherwise: what is not done then, for the log.
    """
    try:
        run_passes(copy, steps_of_text(_PROPAGATION))
    except CompileError as error:
        log.info("%s: %s", otherwise, error)
        return None
    other = NodeTree.of(copy, program.parts)
    if [node.name for node in all_nodes(program.body)] != [node.name for node in all_nodes(other.body)]:
        log.info("%s: it has changed the operations", otherwise)
        return None
    return other


def all_nodes(body: Body) -> Iterator[Node]:
    """The operations of a body, each before those within it."""
    for node in body.nodes:
        yield node
        yield from node.inner()
