"""What each layer of a model costs, as `measure-layers` writes it for the planner."""

import json
from dataclasses import asdict, dataclass

from atoll.compiler.cost.work import Work
from atoll.compiler.mlir.attributes import text_of
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.marks import LAYER_COSTS


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """A part of the model that is not cut, on islands of one kind.

    forward, backward, weight: the work for one microbatch, of which `weight` makes the gradients of parameters.
    update: the work after the last microbatch.
    state: the bytes on each device of its parameters, of what the optimizer keeps for them, of their sums, and of
        what it takes of the batch.
    kept: the bytes on each device that a microbatch keeps for its backward.
    made: the bytes on each device of its results that take over the memory of no donated argument and of no sum.
    """

    forward: Work
    backward: Work
    weight: Work
    update: Work
    state: float
    kept: float
    made: float

    def needs(self, microbatches: float) -> float:
        """The most bytes on each device, if so many microbatches are kept at once."""
        return self.state + max(microbatches * self.kept, self.made)


@dataclass(frozen=True, kw_only=True)
class LayerCosts:
    """All layers, in order.

    islands: for each kind of islands the number of one in the topology. layers: for each of them, for each layer.
    sent: the bytes that cross for one microbatch if it is cut before each layer.
    summed: the bytes of what each layer sums up over microbatches.
    operations: those of the whole forward part for one microbatch, on all devices together.
    names: the scopes in which each layer is; of a loop, with the number of its iteration.
    places: the steps of the forward part before which all layers but the first begin.
    """

    islands: tuple[int, ...]
    layers: tuple[tuple[LayerCost, ...], ...]
    sent: tuple[float, ...]
    summed: tuple[float, ...]
    operations: int
    has_backward: bool
    names: tuple[tuple[tuple[str, ...], ...], ...]
    places: tuple[int, ...]


def write_layer_costs(module: ir.Module, costs: LayerCosts) -> None:
    """Note the costs on the module."""
    module.operation.attributes[LAYER_COSTS] = ir.StringAttr.get(json.dumps(asdict(costs)))


def read_layer_costs(module: ir.Module) -> LayerCosts:
    """What was noted on the module."""
    text = text_of(module.operation, LAYER_COSTS)
    assert text is not None
    told = json.loads(text)
    layers = tuple(tuple(_layer(one) for one in row) for row in told.pop("layers"))
    names = tuple(tuple(map(tuple, one)) for one in told.pop("names"))
    told |= {name: tuple(told[name]) for name in ("islands", "sent", "summed", "places")}
    return LayerCosts(layers=layers, names=names, **told)


def _layer(told: dict[str, object]) -> LayerCost:
    return LayerCost(**{name: Work(**one) if isinstance(one, dict) else one for name, one in told.items()})  # type: ignore[arg-type] # as written
