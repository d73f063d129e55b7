"""The shardings in the code of a fragment: those that the user asked for, as far as its island follows them."""

from atoll.compiler.mlir.bindings import ir, sdy
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.module.shardings import SHARDING, on_island, sharding_of, spec_of
from atoll.compiler.topology.topology import Topology


def localise(operation: ir.OpView, topology: Topology, island: int) -> None:
    """Keep, of the shardings inside a fragment, what the user asked for and the island's mesh can follow.

    What was propagated is removed: XLA propagates anew, from the fragment's arguments and results.
    """
    attributes = operation.operation.attributes
    if SHARDING in attributes:
        del attributes[SHARDING]
    if isinstance(operation, sdy.ShardingConstraintOp):
        spec = spec_of(attributes["sharding"])
        shape = ir.RankedTensorType(operation.operation.results[0].type).shape
        followed = on_island(spec, shape, topology.islands[island]) or ((),) * len(shape)
        attributes["sharding"] = sharding_of(followed, operation.operation.context)
    if isinstance(operation, sdy.ManualComputationOp) and len({one.axes for one in topology.islands}) > 1:
        what = "shard_map needs the same mesh on all islands, and these differ"
        raise refuse(operation.location, what, "give the islands equal axes")


def without_sharding(marks: ir.DictAttr) -> ir.DictAttr:
    """The marks of an argument or result; its sharding is part of its type now."""
    named = [marks[index] for index in range(len(marks))]
    return ir.DictAttr.get({one.name: one.attr for one in named if one.name != SHARDING})
