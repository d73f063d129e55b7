"""Pass `outline-fragments`."""

from dataclasses import dataclass

from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import (
    arguments_of,
    new_private_function,
    operations_in,
    set_argument_attributes,
    set_result_attributes,
)
from atoll.compiler.module.island_axes import axes_of
from atoll.compiler.module.mesh_types import mesh_attribute, spec_of_type
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.shardings import SHARDING, sharding_of
from atoll.compiler.module.tasks import dataflow_functions, island_of_task, task_name
from atoll.compiler.pipeline.pass_base import Pass


@dataclass(frozen=True)
class OutlineFragments(Pass):
    """Move the body of every fragment into a function of its own, which the fragment then calls.

    Requires: phase `placed`.

          %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%x) (%a) { %1 = negate %a; mpmd.return %1 }
        ~~>
          %0 = mpmd.fragment_call<mesh="island0", origin=["F0"]> @F0(%x)
        func.func private @F0(%a: tensor<4xf32>) -> tensor<4xf32> { %1 = negate %a; return %1 }
    """

    def run(self, module: ir.Module) -> None:
        fragments = [
            fragment for one in dataflow_functions(module).values() for fragment in operations_in(one, mpmd.FragmentOp)
        ]
        meshes = {
            island.name: mesh_attribute(axes_of(island), module.context) for island in topology_of(module).islands
        }
        for fragment in fragments:
            mesh = island_of_task(fragment)
            name = str(task_name(fragment))
            function = _outlined(fragment, name, module)
            function.attributes["mesh_shape"] = meshes[mesh]
            with ir.InsertionPoint(fragment):
                call = mpmd.FragmentCallOp(
                    [result.type for result in fragment.operation.results],
                    list(fragment.operation.operands),
                    fragment.operation.attributes["origin"],
                    mesh,
                    name,
                    loc=fragment.location,
                )
            for old, new in zip(fragment.operation.results, call.operation.results, strict=True):
                old.replace_all_uses_with(new)
            fragment.operation.erase()


def _outlined(fragment: mpmd.FragmentOp, name: str, module: ir.Module) -> func.FuncOp:
    """A private function with the fragment's body, at the end of the module."""
    block = fragment.operation.regions[0].blocks[0]
    *body, leaving = list(block.operations)
    inputs = [argument.type for argument in block.arguments]
    results = [value.type for value in leaving.operation.operands]
    with ir.InsertionPoint(module.body):
        function = new_private_function(name, inputs, results, fragment.location)
    target = ir.Block.create_at_start(function.regions[0], inputs, [one.location for one in block.arguments])
    for old, new in zip(list(block.arguments), arguments_of(function), strict=True):
        old.replace_all_uses_with(new)
    with ir.InsertionPoint(target):
        end = func.ReturnOp(list(leaving.operation.operands), loc=leaving.location)
    for operation in body:
        operation.operation.move_before(end)
    leaving.operation.erase()
    # How its values are divided is part of what a function is: two that differ in it are not equal.
    set_argument_attributes(function, [_sharding_marks(value.type) for value in fragment.operation.operands])
    set_result_attributes(function, [_sharding_marks(value.type) for value in fragment.operation.results])
    return function


def _sharding_marks(mesh_tensor: ir.Type) -> ir.DictAttr:
    spec = spec_of_type(mesh_tensor)
    return ir.DictAttr.get({SHARDING: sharding_of(spec, mesh_tensor.context)} if spec else {})
