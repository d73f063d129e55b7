"""Sums up what belongs to each layer: its work, its bytes, and what crosses before it."""

from collections import Counter
from collections.abc import Mapping, Sequence

from atoll.compiler.cost.layer_costs import LayerCost, LayerCosts, UpdateShare
from atoll.compiler.cost.operations import cost_of
from atoll.compiler.cost.stored_values import is_written, reads_whole
from atoll.compiler.cost.work import Work, WorkCounter
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import argument_attributes, result_attributes
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.compiler.module.homes import fed_back, replaced_arguments
from atoll.compiler.module.interface import batch_dimension, parts_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import PATH
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.scopes import Role
from atoll.compiler.module.shardings import Spec
from atoll.compiler.plan.patterns_for_paths import patterns_naming
from atoll.compiler.plan.scope_patterns import path_components
from atoll.compiler.topology.island import Island
from atoll.passes.stage.measured.kept import values_kept
from atoll.passes.stage.measured.owners import Owners, layer_owners
from atoll.passes.stage.measured.parts import Parts
from atoll.passes.stage.measured.update_shares import UpdateShares, update_shares

_FORWARD, _BACKWARD, _WEIGHT, _UPDATE = range(4)


def layer_costs(module: ir.Module, places: tuple[int, ...] | None = None, replicas: Sequence[int] = ()) -> LayerCosts:
    """What each layer costs on islands of each kind.

    places: the steps before which layers begin, if that is not to be chosen. replicas: numbers of them that may share
        the update.
    """
    graph = Graph.of(module)
    parts = Parts.of(module, graph, places)
    belongs = layer_owners(graph, parts)
    islands: dict[tuple[object, ...], int] = {}
    topology = topology_of(module)
    for number, island in enumerate(topology.islands):
        islands.setdefault(form_of(island), number)
    sums = _Sums(module, graph, parts, belongs, {count: update_shares(module, graph, count) for count in replicas})
    return LayerCosts(
        islands=tuple(islands.values()),
        layers=tuple(sums.on(topology.islands[number]) for number in islands.values()),
        sent=(0.0, *parts.crossing),
        summed=tuple(sums.summed),
        operations=sum(cost_of(graph.operations[index]) for index in parts.steps.forward),
        has_backward=any(role is Role.BACKWARD for role in belongs.roles),
        offload=sums.offload,
        names=parts.names(),
        places=parts.places,
    )


def form_of(island: Island) -> tuple[object, ...]:
    """What islands of one kind have in common."""
    return island.kind, island.axes, island.memory


class _Sums:
    def __init__(
        self, module: ir.Module, graph: Graph, parts: Parts, belongs: Owners, shares: Mapping[int, UpdateShares]
    ) -> None:
        self._function = entry_function(module)
        self._graph, self._parts, self._belongs, self._shares = graph, parts, belongs, shares
        marks = argument_attributes(self._function)
        is_whole = [batch_dimension(one) is None and parts_of(one) is None for one in marks]
        self._parameters = [one for one in range(graph.arguments) if is_whole[one]]
        self._batch = [one for one in range(graph.arguments) if not is_whole[one]]
        self._owners = self._owners_of_arguments()
        self._optimizer = self._read_by_update_alone(fed_back(module))
        self.offload = self._names_of_optimizer(marks, result_attributes(self._function))
        self._carried = [
            (one, belongs.parts[graph.producer[one.yielded]])
            for loop in graph.loops
            if loop.region in graph.model_regions
            for one in loop.carried
            if not one.is_part and graph.producer[one.yielded] != ARGUMENT
        ]
        is_behind = [
            role is not Role.FORWARD and not is_update
            for role, is_update in zip(belongs.roles, belongs.is_update, strict=True)
        ]
        self._values_kept = values_kept(graph, parts.steps.forward, is_behind)
        self.summed = [0.0] * parts.count
        for one, owners in self._carried:
            _spread(self.summed, owners, graph.sizes[one.yielded])

    def on(self, island: Island) -> tuple[LayerCost, ...]:
        """The layers on islands of one kind."""
        counter = WorkCounter(island)
        counter.note_arguments(self._function)
        graph = self._graph
        counter.hold(graph.values[one.value] for one in self._values_kept)
        for loop in graph.loops:
            for one in loop.carried:
                counter.note(graph.values[one.argument], counter.specs.get(graph.values[one.initial], ()))
        work = [[Work() for _ in range(self._parts.count)] for _ in range(4)]
        updating: dict[int, Work] = {}
        for index, operation in enumerate(graph.operations):
            done = counter.operation(operation)
            if self._belongs.is_update[index]:
                updating[index] = done
                continue
            owners = self._belongs.parts[index]
            for part in owners:
                work[self._kind(index)][part] += done * (1 / len(owners))
        self._note_sums(counter)
        for one, owners in self._carried:
            for part in owners:
                adding = Work(moved=2 * counter.local_bytes(graph.values[one.yielded]) / len(owners))
                work[_WEIGHT][part] += adding
        state, share = self._state(counter)
        moved = {value: counter.local_bytes(graph.values[value]) for value in self._moved_by_update()}
        zeros = sum(counter.local_bytes(graph.values[value]) for value, _ in self._sums())
        whole = sum(updating.values(), Work(moved=sum(moved.values()) + zeros))
        work[_UPDATE] = [whole * part for part in share]
        kept, made = self._kept(counter), self._made(counter)
        self._pass_on(counter, work)
        optimizer = sum(counter.local_bytes(graph.values[one]) for one in self._optimizer)
        shared = self._shared(counter, updating, moved)
        names = ("forward", "backward", "weight", "update", "state", "kept", "made")
        return tuple(
            LayerCost(
                **dict(zip(names, row, strict=True)),
                optimizer=optimizer * part,
                shares=tuple(one * part for one in shared),
            )
            for row, part in zip(zip(*work, state, kept, made, strict=True), share, strict=True)
        )

    def _shared(
        self, counter: WorkCounter, updating: Mapping[int, Work], moved: Mapping[int, float]
    ) -> list[UpdateShare]:
        """What replicas share of the whole update. updating, moved: what its operations do, and the bytes of what it
        reads and writes."""
        graph, found = self._graph, []
        for count, one in self._shares.items():
            work = (updating[index] for index in one.done if index in updating)
            divided = sum(size for value, size in moved.items() if value in one.divided)
            found.append(
                UpdateShare(
                    replicas=count,
                    state=sum(counter.local_bytes(graph.values[value]) for value in one.kept),
                    work=sum(work, Work(moved=divided)),
                    scattered=float(sum(graph.sizes[value] for value in one.scattered)),
                    gathered=float(sum(graph.sizes[value] for value in one.gathered)),
                )
            )
        return found

    def _read_by_update_alone(self, fed_back: Sequence[tuple[int, int]]) -> dict[int, int]:
        """What only the update reads and returns anew, with the numbers of these results."""
        update, graph = self._belongs.is_update, self._graph
        return {
            argument: result
            for argument, result in fed_back
            if argument in self._parameters and all(update[user] for user in graph.users[argument])
        }

    def _names_of_optimizer(self, arguments: Sequence[ir.DictAttr], results: Sequence[ir.DictAttr]) -> str:
        """Scope patterns for that, and for nothing else."""
        ends = [
            *((number in self._optimizer, marks) for number, marks in enumerate(arguments)),
            *((number in self._optimizer.values(), marks) for number, marks in enumerate(results)),
        ]
        paths = [(is_own, path_components(text_attribute(marks, PATH) or "")) for is_own, marks in ends]
        return patterns_naming([one for is_own, one in paths if is_own], [one for is_own, one in paths if not is_own])

    def _note_sums(self, counter: WorkCounter) -> None:
        """The sum of a parameter's gradients is divided as the parameter is, whatever its last summand is by itself. It
        may have the parameter's dimensions in another order."""
        values, specs = self._graph.values, dict[tuple[str, tuple[int, ...]], list[tuple[int, tuple[str, ...]]]]()
        for one in self._parameters:
            if counter.specs.get(values[one]):  # empty where the island has none of the axes
                shape = ir.RankedTensorType(values[one].type).shape
                specs[_sizes(values[one])] = list(zip(shape, counter.specs[values[one]], strict=True))
        for one in (one.yielded for one, _ in self._carried):
            if _sizes(values[one]) in specs:
                counter.note(values[one], _in_order(values[one], specs[_sizes(values[one])]))

    def _kind(self, index: int) -> int:
        if self._belongs.roles[index] is Role.FORWARD:
            return _FORWARD
        return _WEIGHT if self._belongs.is_weight[index] else _BACKWARD

    def _owners_of_arguments(self) -> dict[int, Sequence[int]]:
        """For each argument that the model takes the parts that take it: those of a loop over its layers, also where
        all layers are cast ahead, or else of the first operation."""
        graph, loops = self._graph, self._parts.steps.loops
        inside = set(self._parts.steps.forward)
        found: dict[int, Sequence[int]] = {}
        for argument in (*self._parameters, *self._batch):
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
        for argument in self._batch:
            size = graph.times[argument] * counter.local_bytes(graph.values[argument])
            _spread(sums, self._owners.get(argument, [0]), size)
        for value, owners in self._sums() or self._gradients():
            _spread(sums, owners, counter.local_bytes(graph.values[value]))
        return [size + more + other * part for size, more, part in zip(own, sums, share, strict=True)], share

    def _sums(self) -> list[tuple[int, Sequence[int]]]:
        """What is summed up over microbatches, and the parts whose it is."""
        return [(one.yielded, owners) for one, owners in self._carried]

    def _gradients(self) -> list[tuple[int, Sequence[int]]]:
        """What waits for the update where nothing is summed up."""
        belongs, graph = self._belongs, self._graph
        waiting = (value for value in self._read_by_update() if graph.producer[value] != ARGUMENT)
        return [(value, belongs.parts[graph.producer[value]]) for value in waiting]

    def _read_by_update(self) -> dict[int, None]:
        """What the update takes of arguments, sums and gradients."""
        graph, update = self._graph, self._belongs.is_update
        return {
            value: None
            for index, values in enumerate(graph.operands)
            if update[index]
            for value in values
            if graph.producer[value] == ARGUMENT or not update[graph.producer[value]]
        }

    def _moved_by_update(self) -> set[int]:
        """What the update reads of arguments, sums and gradients, each once, and what it writes of results."""
        graph, update = self._graph, self._belongs.is_update
        written = {one for one in graph.returned if graph.producer[one] != ARGUMENT and update[graph.producer[one]]}
        return {*self._read_by_update(), *written}

    def _kept(self, counter: WorkCounter) -> list[float]:
        """The bytes that each part keeps for the way back."""
        kept = [0.0] * self._parts.count
        for one in self._values_kept:
            _spread(kept, self._parts.of_operation(one.maker), counter.local_bytes(self._graph.values[one.value]))
        return kept

    def _made(self, counter: WorkCounter) -> list[float]:
        """The bytes of each part's results that take over neither a donated argument's memory nor that of a sum, which
        only one of its type can."""
        graph, values = self._graph, self._graph.values
        made, replacing = [0.0] * self._parts.count, {result for _, result in replaced_arguments(graph.module)}
        ending = Counter(str(values[value].type) for value, _ in self._sums() or self._gradients())
        for number, value in enumerate(graph.returned):
            if number in replacing or graph.producer[value] == ARGUMENT:
                continue
            form = str(values[value].type)
            if ending[form]:
                ending[form] -= 1
            else:
                _spread(made, self._belongs.parts[graph.producer[value]], counter.local_bytes(values[value]))
        return made

    def _pass_on(self, counter: WorkCounter, work: Sequence[list[Work]]) -> None:
        """Count what a forward task writes for its backward, and what that reads, where no operation counts it."""
        graph, parts = self._graph, self._parts
        for one in self._values_kept:
            moved = Work(moved=counter.local_bytes(graph.values[one.value]))
            passing = [] if is_written(graph.values[one.value]) else [(_FORWARD, parts.of_operation(one.maker))]
            readers = [taker for taker in one.takers if reads_whole(graph.operations[taker])]
            if readers:
                kind = _WEIGHT if all(self._kind(taker) == _WEIGHT for taker in readers) else _BACKWARD
                passing.append((kind, parts.of_operation(one.maker)))
            for kind, owners in passing:
                for part in owners:
                    work[kind][part] += moved * (1 / len(owners))


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


def _sizes(value: ir.Value[ir.Type]) -> tuple[str, tuple[int, ...]]:
    """What a value and any transpose of it have in common."""
    tensor = ir.RankedTensorType(value.type)
    return str(tensor.element_type), tuple(sorted(tensor.shape))


def _in_order(value: ir.Value[ir.Type], divided: Sequence[tuple[int, tuple[str, ...]]]) -> Spec:
    """How a value is divided that has these sizes, each with its axes, in some order; the first of equal ones first."""
    left, spec = list(divided), []
    for size in ir.RankedTensorType(value.type).shape:
        found = next(one for one in left if one[0] == size)
        left.remove(found)
        spec.append(found[1])
    return tuple(spec)
