"""What each operation of @main is for, by its scope and by what it depends on; and which are cheap enough to copy."""

from atoll.compiler.graph import ARGUMENT, Graph, elements_of
from atoll.compiler.locations import name_stack
from atoll.compiler.mlir import ir, stablehlo
from atoll.compiler.scopes import Role, read_scope

# Never copied, however small: they cost much, have effects, or draw random numbers.
_NEVER_COPIED = (
    stablehlo.CaseOp,
    stablehlo.ConvolutionOp,
    stablehlo.CustomCallOp,
    stablehlo.DotGeneralOp,
    stablehlo.RngBitGeneratorOp,
    stablehlo.RngOp,
    stablehlo.SortOp,
    stablehlo.WhileOp,
)


def roles_of(graph: Graph) -> list[Role]:
    """The role of each operation.

    Under no `jvp`, what a differentiated operation needs is forward, such as preparing the batch; all else is update.
    A function that takes no gradient is forward as a whole.
    """
    roles = [read_scope(name_stack(operation.location)).role for operation in graph.operations]
    is_differentiated = [role is not Role.UPDATE for role in roles]
    if not any(is_differentiated):
        return [Role.FORWARD] * len(roles)
    is_needed = list(is_differentiated)
    for index in reversed(range(len(roles))):
        if is_needed[index]:
            for value in graph.operands[index]:
                if graph.producer[value] != ARGUMENT:
                    is_needed[graph.producer[value]] = True
    # What depends on a differentiated operation comes behind it, even if another one needs it.
    for index, taken in enumerate(graph.operands):
        producers = [graph.producer[value] for value in taken if graph.producer[value] != ARGUMENT]
        is_behind = any(is_differentiated[one] for one in producers)
        if roles[index] is Role.UPDATE:
            is_differentiated[index] = is_behind
            if is_needed[index] and not is_behind:
                roles[index] = Role.FORWARD
    return roles


def copied(graph: Graph) -> list[bool]:
    """Which operations are copied to wherever they are used: what depends only on constants and scalar arguments, and
    broadcasts of scalars, for then the scalar is sent in place of what it is spread to."""
    cheap = [False] * len(graph.operations)
    for index, operation in enumerate(graph.operations):
        if isinstance(operation, _NEVER_COPIED) or len(operation.operation.regions):
            continue
        if any(graph.is_yielded[value] for value in graph.results[index]):
            continue  # a loop has one such value, not one in each fragment
        expensive = [value for value in graph.operands[index] if not _is_cheap(graph, value, cheap)]
        is_broadcast = isinstance(operation, stablehlo.BroadcastInDimOp)
        cheap[index] = not expensive or (is_broadcast and _is_scalar(graph.values[expensive[0]]))
    return cheap


def sent_operands(graph: Graph, is_copied: list[bool]) -> list[list[int]]:
    """What must be at hand for each operation when everything that is copied is copied to it."""
    sources: list[list[int]] = []
    for taken in graph.operands:
        found: dict[int, None] = {}
        for value in taken:
            producer = graph.producer[value]
            if producer != ARGUMENT and is_copied[producer]:
                found.update(dict.fromkeys(sources[producer]))
            else:
                found[value] = None
        sources.append(list(found))
    return sources


def _is_cheap(graph: Graph, value: int, cheap: list[bool]) -> bool:
    if graph.producer[value] == ARGUMENT:
        return _is_scalar(graph.values[value])
    return cheap[graph.producer[value]]


def _is_scalar(value: "ir.Value[ir.Type]") -> bool:
    return elements_of(value.type) == 1
