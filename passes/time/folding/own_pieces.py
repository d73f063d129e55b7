"""Finds out whether a step takes its batch in pieces by itself, as one that accumulates gradients does."""

from collections.abc import Iterator

from atoll.compiler.batch_rules.contraction import contracts
from atoll.compiler.batch_rules.counted_loop import CountedLoop, read_loop
from atoll.compiler.batch_rules.decision import Mixed
from atoll.compiler.batch_rules.interpretation import Batch, Interpretation
from atoll.compiler.batch_rules.nodes import NodeTree
from atoll.compiler.batch_rules.states import SAME, Split
from atoll.compiler.batch_rules.table import RULES
from atoll.compiler.batch_rules.trips import loop_over_batch
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import argument_attributes, functions_in
from atoll.compiler.module.interface import batch_dimension
from atoll.compiler.module.main_function import entry_function


def own_loop(module: ir.Module) -> CountedLoop | None:
    """The loop over pieces of the batch that has all of the model in it; None if there is no such loop."""
    main = functions_in(module).get("main")
    if main is None or all(batch_dimension(marks) is None for marks in argument_attributes(main)):
        return None
    return next(filter(None, (_taking(module, count) for count in _counts(module))), None)


def _counts(module: ir.Module) -> Iterator[int]:
    """How many iterations the loops of @main have that may have a model in them, each number once."""
    whiles = [node for node in NodeTree.of(module, 1).body.nodes if node.name == "stablehlo.while"]
    loops = [loop for node in whiles if contracts(node) and isinstance(loop := read_loop(node), CountedLoop)]
    yield from dict.fromkeys(loop.iterations for loop in loops)


def _taking(module: ir.Module, count: int) -> CountedLoop | None:
    """The loop that takes the batch in so many pieces, if nothing else does the model's work with it."""
    program = NodeTree.of(module, count)
    dimensions = map(batch_dimension, argument_attributes(entry_function(module)))
    states = [SAME if one is None else Split(one) for one in dimensions]
    scope = Interpretation(Batch(program, RULES, widens=False, uncut=""), program.body)
    try:
        scope.interpret(states)
    except Mixed:
        return None
    working = [node for node in program.body.nodes if node.number in scope.decisions and contracts(node)]
    if len(working) != 1 or working[0].name != "stablehlo.while":
        return None
    loop = loop_over_batch(working[0], [scope.state(value) for value in working[0].operands])
    return loop if loop is not None and loop.iterations == count else None
