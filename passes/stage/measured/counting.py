"""Sums up what belongs to each layer: its work, its bytes, and what crosses before it."""

from collections.abc import Sequence

from atoll.compiler.cost.layer_costs import LayerCost, LayerCosts
from atoll.compiler.cost.operations import cost_of
from atoll.compiler.cost.work import Work, WorkCounter
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import argument_attributes
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.interface import batch_dimension, parts_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.scopes import Role
from atoll.compiler.topology.island import Island
from atoll.passes.stage.measured.owners import Owners, layer_owners
from atoll.passes.stage.measured.parts import Parts

_FORWARD, _BACKWARD, _WEIGHT, _UPDATE = range(4)


def layer_costs(module: ir.Module) -> LayerCosts:
    """What each layer costs on islands of each kind."""
    graph = Graph.of(module)
    parts = Parts.of(module, graph)
    belongs = layer_owners(graph, parts)
    islands: dict[tuple[object, ...], int] = {}
    topology = topology_of(module)
    for number, island in enumerate(topology.islands):
        islands.setdefault(form_of(island), number)
    sums = _Sums(module, graph, parts, belongs)
    return LayerCosts(
        islands=tuple(islands.values()),
        layers=tuple(sums.on(topology.islands[number]) for number in islands.values()),
        sent=(0.0, *parts.crossing),
        summed=tuple(sums.summed),
        operations=sum(cost_of(graph.operations[index]) for index in parts.steps.forward),
        has_backward=any(role is Role.BACKWARD for role in belongs.roles),
        names=parts.names(),
    )


def form_of(island: Island) -> tuple[object, ...]:
    """What islands of one kind have in common."""
    return island.kind, island.axes, island.memory


class _Sums:
    def __init__(self, module: ir.Module, graph: Graph, parts: Parts, belongs: Owners) -> None:
        self._function = entry_function(module)
        self._graph, self._parts, self._belongs = graph, parts, belongs
        marks = argument_attributes(self._function)
        is_whole = [batch_dimension(one) is None and parts_of(one) is None for one in marks]
        self._parameters = [one for one in range(graph.arguments) if is_whole[one]]
        self._owners = self._owners_of_parameters()
        self._carried = [
            (one, belongs.parts[graph.producer[one.yielded]])
            for loop in graph.loops
            if loop.region in graph.model_regions
            for one in loop.carried
            if not one.is_part and graph.producer[one.yielded] != ARGUMENT
        ]
        self.summed = [0.0] * parts.count
        for one, owners in self._carried:
            _spread(self.summed, owners, graph.sizes[one.yielded])

    def on(self, island: Island) -> tuple[LayerCost, ...]:
        """The layers on islands of one kind."""
        counter = WorkCounter(island)
        counter.note_arguments(self._function)
        graph = self._graph
        for loop in graph.loops:
            for one in loop.carried:
                counter.note(graph.values[one.argument], counter.specs.get(graph.values[one.initial], ()))
        work = [[Work() for _ in range(self._parts.count)] for _ in range(4)]
        updating = Work()
        for index, operation in enumerate(graph.operations):
            done = counter.operation(operation)
            if self._belongs.is_update[index]:
                updating += done
                continue
            owners = self._belongs.parts[index]
            for part in owners:
                work[self._kind(index)][part] += done * (1 / len(owners))
        self._note_sums(counter)
        for one, owners in self._carried:
            for part in owners:
                moved = 2 * counter.local_bytes(graph.values[one.yielded]) / len(owners)
                work[_WEIGHT][part] += Work(moved=moved)
        state, share = self._state(counter)
        updating += Work(moved=self._moved_by_update(counter))
        work[_UPDATE] = [updating * part for part in share]
        kept = self._kept(counter)
        rows = zip(*work, state, kept, strict=True)
        return tuple(
            LayerCost(forward=one[0], backward=one[1], weight=one[2], update=one[3], state=one[4], kept=one[5])
            for one in rows
        )

    def _note_sums(self, counter: WorkCounter) -> None:
        """The sum of a parameter's gradients is divided as the parameter is, where nothing else is known of it."""
        values = self._graph.values
        specs = {
            str(values[one].type): counter.specs[values[one]]
            for one in self._parameters
            if values[one] in counter.specs
        }
        for one, _ in self._carried:
            value = values[one.yielded]
            if value not in counter.specs:
                counter.note(value, specs.get(str(value.type), ()))

    def _kind(self, index: int) -> int:
        if self._belongs.roles[index] is Role.FORWARD:
            return _FORWARD
        return _WEIGHT if self._belongs.is_weight[index] else _BACKWARD

    def _owners_of_parameters(self) -> dict[int, Sequence[int]]:
        """For each argument that the model takes, but for the batch, the parts that take it: those of a loop over its
        layers, also where all layers are cast ahead, or else of the first operation."""
        graph, loops = self._graph, self._parts.steps.loops
        inside = set(self._parts.steps.forward)
        found: dict[int, Sequence[int]] = {}
        for argument in self._parameters:
            users = _users_through(graph, argument)
            taking = [one for one in users if one in loops] or [one for one in users if one in inside]
            if taking:
                found[argument] = self._parts.of_operation(taking[0])
        return found

    def _state(self, counter: WorkCounter) -> tuple[list[float], list[float]]:
        """The bytes of each part that stay, and its share of the update: that of its parameters."""
        graph = self._graph
        own = [0.0] * self._parts.count
        other = 0.0
        for argument in self._parameters:
            size = counter.local_bytes(graph.values[argument])
            if argument in self._owners:
                _spread(own, self._owners[argument], size)
            else:
                other += size
        total = sum(own)
        share = [one / total if total else 1 / len(own) for one in own]
        sums = [0.0] * self._parts.count
        for one, owners in self._carried:
            _spread(sums, owners, counter.local_bytes(graph.values[one.yielded]))
        return [size + more + other * part for size, more, part in zip(own, sums, share, strict=True)], share

    def _moved_by_update(self, counter: WorkCounter) -> float:
        """What the update reads of arguments and sums, each once, and what it writes of results."""
        graph, update = self._graph, self._belongs.is_update
        summed = {one.yielded for loop in graph.loops for one in loop.carried}
        read = {
            value
            for index, values in enumerate(graph.operands)
            if update[index]
            for value in values
            if graph.producer[value] == ARGUMENT or value in summed
        }
        written = {one for one in graph.returned if graph.producer[one] != ARGUMENT and update[graph.producer[one]]}
        return sum(counter.local_bytes(graph.values[value]) for value in (*read, *written))

    def _kept(self, counter: WorkCounter) -> list[float]:
        """What backward operations take of what forward ones make."""
        graph, kept = self._graph, [0.0] * self._parts.count
        behind = {index for index, role in enumerate(self._belongs.roles) if role is not Role.FORWARD}
        for index in self._parts.steps.forward:
            for value in graph.results[index]:
                if any(user in behind and not self._belongs.is_update[user] for user in graph.users[value]):
                    _spread(kept, self._parts.of_operation(index), counter.local_bytes(graph.values[value]))
        return kept


def _users_through(graph: Graph, value: int) -> list[int]:
    """What takes a value, and what takes those values that are made of it alone, in order."""
    found, open_values = list[int](), [value]
    for one in open_values:  # grows
        for user in graph.users[one]:
            found.append(user)
            if len(graph.operands[user]) == 1:
                open_values += graph.results[user]
    return sorted(found)


def _spread(sums: list[float], parts: Sequence[int], amount: float) -> None:
    for part in parts:
        sums[part] += amount / len(parts)
