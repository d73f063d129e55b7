"""How many bytes of a value a device has: islands divide values as the shardings of the program say.

No stage has an island yet. What counts is what every island can follow: where they differ, the one that divides least.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from atoll.compiler.batch_rules.nodes import NodeTree
from atoll.compiler.batch_rules.states import Split, Version
from atoll.compiler.mlir.attributes import text_of
from atoll.compiler.mlir.bindings import ir, sdy
from atoll.compiler.mlir.functions import argument_attributes, operations_in
from atoll.compiler.mlir.ir_text import copy_module
from atoll.compiler.module.graph import bytes_of
from atoll.compiler.module.island_axes import axes_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import TOPOLOGY
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.shardings import SHARDING, Spec, on_island, result_specs, spec_of
from atoll.compiler.topology.island import Island
from atoll.passes.time.folding.propagation import after_propagation


@dataclass(frozen=True)
class DeviceParts:
    """program: @main, before it is folded. specs: of the values that are divided, after propagation."""

    program: NodeTree
    islands: Sequence[Island]
    specs: Mapping[int, Spec]

    @classmethod
    def of(cls, program: NodeTree) -> "DeviceParts":
        """Propagation takes as long as some passes, and runs only where it can find anything."""
        module = program.module
        islands = topology_of(module).islands if text_of(module.operation, TOPOLOGY) else ()
        has_devices = any(axis.size > 1 for island in islands for axis in island.axes)
        specs = _specs(program) if has_devices and _has_shardings(module) else {}
        return cls(program, islands, specs)

    def bytes_on_device(self, version: Version) -> int:
        """Of the parts of a value that all microbatches have together, or of what is the same for all."""
        value, form = version
        size, spec = bytes_of(self.program.values[value].type), self.specs.get(value)
        if spec is None:
            return size
        shape = list(self.program.shape(value))
        if isinstance(form, Split):  # an island divides the part of one microbatch
            shape[form.dimension] //= self.program.parts
        return -(-size // min(_devices(on_island(spec, shape, island), island) for island in self.islands))


def _devices(spec: Spec, island: Island) -> int:
    """Over how many devices an island divides a value."""
    sizes = axes_of(island)
    return prod(sizes[axis] for axes in spec for axis in axes)


def _has_shardings(module: ir.Module) -> bool:
    marks = argument_attributes(entry_function(module))
    return any(SHARDING in one for one in marks) or bool(operations_in(module.operation, sdy.ShardingConstraintOp))


def _specs(program: NodeTree) -> dict[int, Spec]:
    """The specs that divide anything."""
    copy = copy_module(program.module)
    with copy.context, ir.Location.unknown():
        other = after_propagation(program, copy, "what is kept counts whole, as its shardings are unknown")
        if other is None:
            return {}
        marks = argument_attributes(entry_function(copy))
        found = {
            value: spec_of(one[SHARDING])
            for value, one in zip(other.body.arguments, marks, strict=True)
            if SHARDING in one
        }
        for node in other.body.nodes:
            found.update(zip(node.results, result_specs(node.operation.opview), strict=False))
    return {value: spec for value, spec in found.items() if any(spec)}
