"""Pass `drop-empty-shardings`."""

import logging
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir, sdy, stablehlo
from atoll.compiler.mlir.functions import functions_in, operations_in
from atoll.compiler.module.shardings import SHARDING, name_of_mesh
from atoll.compiler.pipeline.pass_base import Pass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DropEmptyShardings(Pass):
    """Remove meshes without axes, and the constraints and host calls' shardings that put values on them.

    jax writes them for typed random keys, and inside of `shard_map` for host calls; they say nothing, and the islands
    have meshes of their own.

    Requires: nothing.

        sdy.mesh @empty_mesh = <[]>
          %0 = sdy.sharding_constraint %key <@empty_mesh, [{}]>
          %1 = negate %0
        ~~>
          %1 = negate %key
    """

    def run(self, module: ir.Module) -> None:
        empty = {
            ir.StringAttr(mesh.attributes["sym_name"]).value: mesh
            for mesh in module.body.operations
            if isinstance(mesh, sdy.MeshOp) and _is_empty(sdy.MeshAttr(mesh.attributes["mesh"]))
        }
        if not empty:
            log.info("nothing to do: every mesh has axes")
            return
        for function in functions_in(module).values():
            for constraint in operations_in(function, sdy.ShardingConstraintOp):
                if name_of_mesh(constraint.operation.attributes["sharding"]) in empty:
                    constraint.operation.results[0].replace_all_uses_with(constraint.operation.operands[0])
                    constraint.operation.erase()
            for call in operations_in(function, stablehlo.CustomCallOp):
                if SHARDING in call.attributes and _mesh_of_results(call.attributes[SHARDING]) in empty:
                    del call.attributes[SHARDING]
        for mesh in empty.values():
            mesh.operation.erase()


def _is_empty(mesh: sdy.MeshAttr) -> bool:
    # A mesh of one device has no axes either: jax writes it for host callbacks.
    return not mesh.axes and not mesh.device_ids


def _mesh_of_results(sharding: ir.Attribute) -> str:
    """The mesh that the results of an operation are on."""
    return name_of_mesh(sdy.TensorShardingPerValueAttr(sharding).shardings[0])
