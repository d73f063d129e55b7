"""The mark on a loop over layers that says the stage of each of them."""

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.module.marks import LAYERS
from atoll.passes.stage.layers.loop import LayerLoop


def stages_of_layers(loop: LayerLoop) -> list[int]:
    """The stage of each layer of a loop that is marked; people edit dumps, so it may be anything."""
    location, mark = loop.node.location, loop.node.operation.attributes[LAYERS]
    if not isinstance(mark, ir.DenseI64ArrayAttr):
        raise refuse(location, f"{LAYERS} is {mark}, which is no list of stages", f"write {LAYERS} = array<i64: 0, 1>")
    if len(mark) != loop.iterations:
        what = f"the loop has {loop.iterations} layers, and {LAYERS} says the stages of {len(mark)}"
        raise refuse(location, what, "give the stage of each layer")
    return list(mark)
