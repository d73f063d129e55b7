"""The mark on a loop over layers that says the stage of each of them."""

from atoll.compiler.batch_rules.counted_loop import CountedLoop
from atoll.compiler.mlir.attributes import integers_in
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.module.marks import LAYERS


def stages_of_layers(loop: CountedLoop) -> list[int]:
    """The stage of each layer of a loop that is marked."""
    location = loop.node.location
    stages = integers_in(loop.node.operation.attributes, LAYERS, location)
    if len(stages) != loop.iterations:
        what = f"the loop has {loop.iterations} layers, and {LAYERS} says the stages of {len(stages)}"
        raise refuse(location, what, "give the stage of each layer")
    return stages
