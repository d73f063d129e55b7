"""Pass `find-roles`."""

import logging
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import body_of, operations_in
from atoll.compiler.mlir.locations import name_stack
from atoll.compiler.module.graph import Graph
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.scopes import Role, is_told
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.time.roles.dataflow_roles import dataflow_roles

log = logging.getLogger(__name__)

# How jax would have begun the name stack of an operation without scopes.
_STACKS = {
    Role.FORWARD: "jvp()/",
    Role.BACKWARD: "transpose(jvp())/",
    Role.REMATERIALISED: "transpose(jvp())/rematted_computation/",
    Role.UPDATE: "",
}


@dataclass(frozen=True)
class FindRoles(Pass):
    """Give the operations of a train step without name stacks the stacks that jax would have given them.

    jax says in them what is forward and what is backward. A module that was written without locations, or by another
    program, has none; then roles follow from the dataflow: which products take what a product of the model takes, and
    which results they lead to.

    Requires: phase `stablehlo`.

          %y = dot_general %x, %w, contracting_dims = [1] x [0]
          %dw = dot_general %x, %dy, contracting_dims = [0] x [0]
          %new = subtract %w, %dw
        ~~>
          %y = dot_general %x, %w, contracting_dims = [1] x [0] loc("jvp()/dot_general")
          %dw = dot_general %x, %dy, contracting_dims = [0] x [0] loc("transpose(jvp())/dot_general")
          %new = subtract %w, %dw loc("subtract")
    """

    def run(self, module: ir.Module) -> None:
        if any(is_told(name_stack(one.location)) for one in body_of(entry_function(module)).operations):
            log.info("nothing to do: name stacks tell the roles")
            return
        graph = Graph.of(module)
        roles = dataflow_roles(graph)
        if roles is None:
            log.info("nothing to do: no product makes the gradient of an argument")
            return
        for operation, role in zip(graph.operations, roles, strict=True):
            for inner in operations_in(operation, ir.OpView):
                _name(inner, role)


def _name(operation: ir.OpView, role: Role) -> None:
    name = name_stack(operation.location) or operation.operation.name.rpartition(".")[2]
    operation.operation.location = ir.Location.name(_STACKS[role] + name, operation.location)
