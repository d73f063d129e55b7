"""Pass `measure-layers`."""

from dataclasses import dataclass

from atoll.compiler.cost.layer_costs import write_layer_costs
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.pipeline.pass_base import Pass
from atoll.passes.stage.measured.counting import layer_costs


@dataclass(frozen=True)
class MeasureLayers(Pass):
    """Note what each layer of the model costs, for the planner; no way to a phase goes through here.

    A layer is what stands between two places where the model may be cut. Its backward operations, its parameters and
    its part of the update are counted with it.

    places: the steps of the forward part before which layers are to begin, as another count has them; they are left
        alone where the model has no such steps.
    replicas: numbers of them for which to count what they would share of the update.

    Requires: phase `timed`, a topology, and the passes of phase `staged` that come before `seed-stages`.

        module attributes {atoll.topology = "2 x cpu[1]"} {
          %0 = dot_general %x, %a
          %1 = dot_general %0, %b
        ~~>
        module attributes {atoll.layer_costs = "{\\"sent\\": [0.0, 64.0], ...}", atoll.topology = "2 x cpu[1]"} {
          %0 = dot_general %x, %a
          %1 = dot_general %0, %b
    """

    places: tuple[int, ...] | None = None
    replicas: tuple[int, ...] = ()

    def run(self, module: ir.Module) -> None:
        write_layer_costs(module, layer_costs(module, self.places, self.replicas))
