"""What each layer of a model costs, as `measure-layers` writes it for the planner."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from atoll.compiler.cost.reorders import Reordered
from atoll.compiler.cost.update_way import UpdateWay
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
    optimizer: of `state`, what only the update reads, and returns anew: it may wait in the memory of the host.
    shares: what replicas would share of its update, for each number of them that was asked about.
    """

    forward: Work
    backward: Work
    weight: Work
    update: Work
    state: float
    kept: float
    made: float
    optimizer: float = 0.0
    shares: tuple["UpdateShare", ...] = ()

    def relief(self, way: UpdateWay) -> tuple[float, Work]:
        """By how much a way to update makes `state` smaller, and what it adds to `update`, which may be less than
        nothing."""
        state, work, own = 0.0, Work(), self.optimizer
        for share in self.shares:
            if way.is_shared and share.replicas == way.shared_by:
                left = 1 - 1 / share.replicas
                state, work, own = left * share.state, share.work * -left, own - left * share.state
        if way.is_offloaded:
            state, work = state + own, work + Work(hosted=2 * own)
        return state, work

    def needs(self, microbatches: float) -> float:
        """The most bytes on each device, if so many microbatches are kept at once."""
        return self.state + max(microbatches * self.kept, self.made)


@dataclass(frozen=True, kw_only=True)
class UpdateShare:
    """What so many replicas would share of a layer's update.

    state: of `optimizer`, the bytes on each device of what each replica keeps its share of.
    work: the part of the update that each does its share of.
    scattered: the bytes of sums of which each needs but its share, on all devices together; gathered: of what is then
        put together from shares.
    """

    replicas: int
    state: float
    work: Work
    scattered: float
    gathered: float

    def __mul__(self, part: float) -> "UpdateShare":
        return UpdateShare(
            replicas=self.replicas,
            state=self.state * part,
            work=self.work * part,
            scattered=self.scattered * part,
            gathered=self.gathered * part,
        )


@dataclass(frozen=True, kw_only=True)
class LayerCosts:
    """All layers, in order.

    islands: for each kind of islands the number of one in the topology. layers: for each of them, for each layer.
    sent: the bytes that cross for one microbatch if it is cut before each layer.
    summed: the bytes of what each layer sums up over microbatches.
    operations: those of the whole forward part for one microbatch, on all devices together.
    offload: scope patterns that name what `optimizer` counts, and nothing else; empty if there are none.
    names: the scopes in which each layer is; of a loop, with the number of its iteration.
    places: the steps of the forward part before which all layers but the first begin.
    """

    islands: tuple[int, ...]
    layers: tuple[tuple[LayerCost, ...], ...]
    sent: tuple[float, ...]
    summed: tuple[float, ...]
    operations: int
    has_backward: bool
    offload: str
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


def _layer(told: dict[str, Any]) -> LayerCost:
    shares = tuple(UpdateShare(**_read(one)) for one in told.pop("shares"))
    return LayerCost(**_read(told), shares=shares)


def _read(told: dict[str, Any]) -> dict[str, Any]:
    return {name: _work(one) if isinstance(one, dict) else one for name, one in told.items()}


def _work(told: dict[str, Any]) -> Work:
    return Work(**(told | {"reordered": tuple(Reordered(*one) for one in told["reordered"])}))
