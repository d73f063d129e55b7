"""What each operation of @main is for, by its scope and by what it depends on."""

from collections.abc import Sequence

from atoll.compiler.mlir.locations import name_stack
from atoll.compiler.module.graph import ARGUMENT, Graph, once
from atoll.compiler.module.scopes import Role, read_scope


@once
def roles_of(graph: Graph) -> Sequence[Role]:
    """The role of each operation.

    What stands under no `jvp` is forward if a differentiated operation needs it, such as preparing the batch; all else
    is update. A function that takes no gradient is forward as a whole.
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
    # What depends on a differentiated operation comes after it, and so stays update even if another one needs it.
    for index, taken in enumerate(graph.operands):
        producers = [graph.producer[value] for value in taken if graph.producer[value] != ARGUMENT]
        is_behind = any(is_differentiated[one] for one in producers)
        if roles[index] is Role.UPDATE:
            is_differentiated[index] = is_behind
            if is_needed[index] and not is_behind:
                roles[index] = Role.FORWARD
    return roles
