"""Which loops go over layers: one over the steps of a sequence looks the same, but its parameters are not stacked."""

from collections.abc import Iterator, Mapping

from atoll.compiler.batch_rules.counted_loop import MICROBATCHES, CountedLoop, loops_of
from atoll.compiler.batch_rules.nodes import Body, NodeTree
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.graph import Graph, bytes_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import BATCH


def read_loops(module: ir.Module, graph: Graph) -> dict[int, CountedLoop | str]:
    """Each `while` among the operations of a graph: its layers, or why it has none."""
    if not any(isinstance(operation, stablehlo.WhileOp) for operation in graph.operations):
        return {}
    index = {graph.values[results[0]]: number for number, results in enumerate(graph.results) if results}
    found = loops_of(NodeTree.of(module, 1))
    return {index[node.operation.results[0]]: loop for node, loop in found if node.operation.results[0] in index}


def layer_loops(module: ir.Module, graph: Graph) -> dict[int, CountedLoop | str]:
    """Each `while` among the operations of a graph: its layers, or why it has none that should be on several stages."""
    return that_hold_parameters(module, read_loops(module, graph))


def that_hold_parameters(module: ir.Module, loops: Mapping[int, CountedLoop | str]) -> dict[int, CountedLoop | str]:
    """The same, with a reason in place of the layers where iterations share most of the parameters."""
    programs = [loop.node.program for loop in loops.values() if isinstance(loop, CountedLoop)]
    parameters = _parameters(module, programs[0]) if programs else set()

    def judged(loop: CountedLoop | str) -> CountedLoop | str:
        if isinstance(loop, str) or _has_stacked_parameters(loop, parameters):
            return loop
        return "its iterations share more parameters than they have of their own"

    return {index: judged(loop) for index, loop in loops.items()}


def _has_stacked_parameters(loop: CountedLoop, parameters: set[int]) -> bool:
    stacked, shared = 0, sum(_size(loop, value) for value in loop.node.captured if value in parameters)
    for slot, value in enumerate(loop.node.operands):
        if value in parameters and slot in loop.stacks:
            stacked += _size(loop, value)
        elif value in parameters and slot in loop.constants:
            shared += _size(loop, value)
    return stacked > shared


def _size(loop: CountedLoop, value: int) -> int:
    return bytes_of(loop.node.program.tensor(value))


def _parameters(module: ir.Module, program: NodeTree) -> set[int]:
    """The values that depend on arguments, but not on the batch."""
    marks = argument_attributes(entry_function(module))
    batch = {value for value, one in zip(program.body.arguments, marks, strict=True) if BATCH in one}
    depends = set(program.body.arguments)
    for values, results in _flow(program.body):
        if any(value in depends for value in values):
            depends.update(results)
        if any(value in batch for value in values):
            batch.update(results)
    return depends - batch


def _flow(body: Body) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """What depends on what, in order."""
    for node in body.nodes:
        if node.name == MICROBATCHES:
            (inner,) = node.bodies
            yield from _flow(inner)
            yield inner.returned, node.results
        else:
            yield (*node.operands, *node.captured), node.results
