"""The chain of a program for microbatches of any size, from what its layers cost with two sizes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest
from typing import Any

from atoll.compiler.cost.devices import capacity_of, device_kind
from atoll.compiler.cost.layer_costs import LayerCost, LayerCosts, UpdateShare
from atoll.compiler.cost.reorders import Reordered
from atoll.compiler.cost.task_costs import seconds_of
from atoll.compiler.cost.update_way import USUAL, UpdateWay
from atoll.compiler.cost.work import AMOUNTS, Work
from atoll.compiler.planner.chain import Chain, Table
from atoll.compiler.planner.measuring import Measured
from atoll.compiler.topology.island import Island
from atoll.compiler.topology.topology import Topology

_NOT_REORDERED = Reordered(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Model:
    """Costs grow with the examples of a microbatch along a line: one part of them is for each example, and one, such as
    reading the weights, for each microbatch.

    whole: the same of a step that is not divided at all, if that can be told apart: it sums up nothing.
    """

    topology: Topology
    one: Measured
    other: Measured
    whole: Measured | None = None
    limits: tuple[float, ...] | None = None  # for each kind of islands what to take for its devices' memory
    chains: dict[object, Chain] = field(default_factory=dict, compare=False, repr=False)  # those asked for, by what

    @classmethod
    def of(cls, topology: Topology, one: Measured, other: Measured, whole: Measured | None = None) -> "Model":
        """If both have the same layers; or else of the one alone, whose costs are all taken to be for examples."""
        if one.costs.places != other.costs.places or one.examples == other.examples:
            other = Measured(0.0, _scaled(one.costs, 0.0))
        return cls(topology, one, other, whole)

    def of_parts(self, parts: int) -> "Model":
        """The model of a step whose batch is divided into so many parts, by replicas and microbatches."""
        if parts > 1 or self.whole is None:
            return self
        return replace(self._undivided, limits=self.limits)

    @cached_property
    def _undivided(self) -> "Model":
        assert self.whole is not None
        return Model.of(self.topology, self.whole, self.whole)

    @property
    def names(self) -> tuple[tuple[tuple[str, ...], ...], ...]:
        return self.one.costs.names

    @cached_property
    def forms(self) -> tuple[Island, ...]:
        """An island of each kind."""
        return tuple(self.topology.islands[number] for number in self.one.costs.islands)

    @cached_property
    def homes(self) -> tuple[int, ...]:
        """The kind of each island."""
        forms = [(one.kind, one.axes, one.memory) for one in self.forms]
        return tuple(forms.index((one.kind, one.axes, one.memory)) for one in self.topology.islands)

    @property
    def memory(self) -> tuple[float, ...]:
        """What a device of each kind of islands has."""
        if self.limits is not None:
            return self.limits
        return tuple(float(capacity_of(one) or "inf") for one in self.forms)

    def operations(self, examples: float) -> float:
        """Those of the forward part for one microbatch."""
        return self._between(examples, lambda costs: costs.operations)

    def summed(self, begin: int, end: int) -> float:
        """The bytes that layers sum up over microbatches."""
        return sum(self.one.costs.summed[begin:end])

    def update_shares(self, way: UpdateWay) -> tuple[UpdateShare, ...]:
        """What replicas share of each layer's update by this way; empty if there is nothing to share."""
        layers = self.one.costs.layers[0]  # what crosses is the same whatever the kind of islands
        found = tuple(one for layer in layers for one in layer.shares if one.replicas == way.shared_by)
        return found if any(one.state for one in found) else ()

    @property
    def offload(self) -> str:
        """Scope patterns for what only the update reads; empty if there are none."""
        return self.one.costs.offload

    def chain(self, examples: float, part: float | None = None, way: UpdateWay = USUAL) -> Chain:
        """The chain for microbatches of this size.

        part: if given, layers take the least that they take within any task, by that mean of computing and moving.
        """
        asked = examples, part, way
        if asked not in self.chains:
            usual = self._usual(examples, part) if way == USUAL else self.chain(examples, part)
            self.chains[asked] = self._updated(usual, examples, way, part)
        return self.chains[asked]

    def _usual(self, examples: float, part: float | None) -> Chain:
        def seconds(name: str) -> Table:
            return tuple(
                tuple(
                    self._seconds(self._work(examples, kind, layer, name), island, part)
                    for layer in range(len(self.names))
                )
                for kind, island in enumerate(self.forms)
            )

        def size(name: str) -> tuple[tuple[float, ...], ...]:
            return tuple(
                tuple(self._of_layer(examples, kind, layer, name) for layer in range(len(self.names)))
                for kind in range(len(self.forms))
            )

        sent = tuple(self._sent(examples, layer) for layer in range(len(self.names)))
        nothing = (0.0,) * len(sent)
        return Chain(
            forward=seconds("forward"),
            backward=seconds("backward"),
            weight=seconds("weight"),
            update=seconds("update"),
            state=size("state"),
            kept=size("kept"),
            made=size("made"),
            sent=sent,
            returned=sent if self.one.costs.has_backward else nothing,
            beside=tuple(0.0 if part is not None else device_kind(one, self.topology).task for one in self.forms),
        )

    def _updated(self, chain: Chain, examples: float, way: UpdateWay, part: float | None) -> Chain:
        """A chain that is updated in the usual way, updated in another one."""
        if way == USUAL:
            return chain
        update, state = [], []
        for kind, (island, row) in enumerate(zip(self.forms, self.one.costs.layers, strict=True)):
            relief = [one.relief(way) for one in row]
            works = (self._work(examples, kind, layer, "update") + more for layer, (_, more) in enumerate(relief))
            update.append(tuple(max(0.0, self._seconds(work, island, part)) for work in works))
            state.append(tuple(size - less for size, (less, _) in zip(chain.state[kind], relief, strict=True)))
        return replace(chain, update=tuple(update), state=tuple(state))

    def _seconds(self, work: Work, island: Island, part: float | None) -> float:
        if part is None:
            return seconds_of(work, island, self.topology)
        return device_kind(island, self.topology).least_seconds(work, part)

    def _work(self, examples: float, kind: int, layer: int, name: str) -> Work:
        here, there = (getattr(one.costs.layers[kind][layer], name) for one in (self.one, self.other))

        def along(here: float, there: float) -> float:
            return self._along(examples, here, there)

        # The same products in both, so that what each reorders grows with the examples as well.
        reordered = (
            Reordered(*map(along, one, other))
            for one, other in zip_longest(here.reordered, there.reordered, fillvalue=_NOT_REORDERED)
        )
        amounts: dict[str, Any] = {name: along(getattr(here, name), getattr(there, name)) for name in AMOUNTS}
        return Work(**amounts, reordered=tuple(reordered))

    def _of_layer(self, examples: float, kind: int, layer: int, name: str) -> float:
        return self._between(examples, lambda costs: getattr(costs.layers[kind][layer], name))

    def _sent(self, examples: float, layer: int) -> float:
        return self._between(examples, lambda costs: costs.sent[layer])

    def _between(self, examples: float, value: Callable[[LayerCosts], float]) -> float:
        return self._along(examples, value(self.one.costs), value(self.other.costs))

    def _along(self, examples: float, here: float, there: float) -> float:
        grows = (here - there) / (self.one.examples - self.other.examples)
        return max(0.0, here + grows * (examples - self.one.examples))


def _scaled(costs: LayerCosts, factor: float) -> LayerCosts:
    """The same for another size of microbatch, where all but the state and the update is for examples."""

    def scaled(layer: LayerCost) -> LayerCost:
        return replace(
            layer,
            forward=layer.forward * factor,
            backward=layer.backward * factor,
            weight=layer.weight * factor,
            kept=layer.kept * factor,
        )

    return replace(
        costs,
        layers=tuple(tuple(map(scaled, row)) for row in costs.layers),
        sent=tuple(one * factor for one in costs.sent),
        operations=round(costs.operations * factor),
    )
