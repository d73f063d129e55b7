"""What loops over microbatches keep of the batch for later loops, on a device of each island."""

from collections import Counter
from math import prod

from atoll.compiler.mlir.bindings import ir, mpmd
from atoll.compiler.mlir.functions import operations_in
from atoll.compiler.module.graph import bytes_of, iterations_of, parts_of_loop
from atoll.compiler.module.island_axes import axes_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.mesh_types import island_of, local_type, spec_of_type
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.module.tasks import microbatch_call


def kept_by_island(module: ir.Module) -> Counter[str]:
    """The bytes by the name of the island, in a module at phase `scheduled`."""
    sizes = {island.name: axes_of(island) for island in topology_of(module).islands}
    loops = operations_in(entry_function(module), mpmd.ForOp)
    taken = {value for loop in loops for value in microbatch_call(loop).operation.operands}
    kept = Counter[str]()
    for loop in loops:
        microbatches = iterations_of(loop) // replicas_of(module)
        for value in (loop.operation.results[number] for number in parts_of_loop(loop)):
            if value in taken:
                island = island_of(value.type)
                devices = prod(sizes[island][axis] for axes in spec_of_type(value.type) for axis in axes)
                kept[island] += microbatches * bytes_of(local_type(value.type)) // devices
    return kept
