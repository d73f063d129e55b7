"""Pass `make-fragments`."""

from dataclasses import dataclass, field
from functools import cached_property

from atoll.compiler.diagnostics import refuse
from atoll.compiler.entry import entry_function
from atoll.compiler.functions import (
    argument_attributes,
    body_of,
    operations_in,
    result_attributes,
    set_argument_attributes,
    set_result_attributes,
)
from atoll.compiler.graph import ARGUMENT, Graph
from atoll.compiler.homes import homes_of
from atoll.compiler.locations import place
from atoll.compiler.mesh_types import MeshTypes, topology_attribute
from atoll.compiler.mlir import ir, mpmd, sdy
from atoll.compiler.pass_base import Pass
from atoll.compiler.plan_marks import (
    NOT_FOLLOWED,
    STAGE,
    SWEEP,
    integer,
    island_of_stage,
    plan_of,
    read_marks,
    slot,
    stages_of,
    topology_of,
)
from atoll.compiler.shardings import SHARDING, on_island, sharding_of, spec_of, specs_of

_Value = ir.Value[ir.Type]
# What the sweeps of a pipeline are for: forward, backward, and all later ones update. A free placement is no pipeline:
# it goes over the islands as often as it needs to, forward each time.
_PIPELINE = "FBU"
_FREE = "F"


@dataclass(frozen=True)
class MakeFragments(Pass):
    """Put what a stage computes in a sweep into a fragment on the stage's island, and send values between islands.

    A value is sent at most once to each island, from the holder with the fastest link. Arguments live where they are
    used; one that is used on several islands lives on the one whose result replaces it, or that uses it first.

    Requires: phase `staged`.

        func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
          %0 = negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
          %1 = negate %0 {atoll.stage = 1 : i32, atoll.sweep = 0 : i32}
          return %1
        ~~>
        func.func @main(%x: !mpmd.mesh_tensor<"island0", tensor<4xf32>>) -> !mpmd.mesh_tensor<"island1", ...> {
          %0 = mpmd.fragment<mesh="island0", origin=["F0"]> (%x) (%a) { %2 = negate %a; mpmd.return %2 }
          %1 = mpmd.transfer %0
          %3 = mpmd.fragment<mesh="island1", origin=["F1"]> (%1) (%a) { %4 = negate %a; mpmd.return %4 }
          return %3
    """

    def run(self, module: ir.Module) -> None:
        _Placement(module).rewrite()


@dataclass
class _Fragment:
    """The operations of one stage in one sweep, with the values that enter and leave."""

    stage: int
    sweep: int
    operations: list[int] = field(default_factory=list)
    inputs: dict[int, None] = field(default_factory=dict)
    outputs: list[int] = field(default_factory=list)

    def task(self, letters: str) -> str:
        """Its name: `F0`, `B1`, `U0`; `U0.1` in the sweep after the first update."""
        last = len(letters) - 1
        letter = letters[min(self.sweep, last)]
        return f"{letter}{self.stage}" + (f".{self.sweep - last}" if self.sweep > last else "")


class _Placement:
    """One run of the pass."""

    def __init__(self, module: ir.Module) -> None:
        self.module = module
        self.main = entry_function(module)
        self.graph = Graph.of(module)
        self.topology = topology_of(module)
        self.types = MeshTypes(self.topology, module.context)
        self.stages = stages_of(module)
        self.letters = _PIPELINE if plan_of(module).placement is None else _FREE
        # Where each value is at hand on each island, once it is.
        self.held: dict[tuple[int, int], _Value] = {}

    def rewrite(self) -> None:
        *_, terminator = body_of(self.main).operations
        tensors = [value.type for value in self.graph.values]
        self.specs = specs_of(self.graph, argument_attributes(self.main))
        homes = homes_of(self.module, self.graph, self._users_islands, self._producer_island)
        for number, home in enumerate(homes):
            argument = self.graph.values[number]
            argument.set_type(self.types.on(home, tensors[number], self.specs[number]))
            self.held[number, home] = argument
        with ir.InsertionPoint(terminator):
            for number, home in enumerate(homes):
                self._send(number, home, tensors[number])
            for fragment in self.fragments:
                self._build(fragment, tensors)
        self._return(terminator, homes)
        if self.types.not_followed:
            pairs = [f"{island}: {axis}" for island, axis in self.types.not_followed]
            self.module.operation.attributes[NOT_FOLLOWED] = ir.ArrayAttr.get(list(map(ir.StringAttr.get, pairs)))

    @cached_property
    def fragments(self) -> list[_Fragment]:
        """The fragments in the order of their slots."""
        graph = self.graph
        found: dict[int, _Fragment] = {}
        fragment_of: list[_Fragment] = []
        marks = zip(read_marks(graph, STAGE), read_marks(graph, SWEEP), strict=True)
        for index, (stage, sweep) in enumerate(marks):
            assert stage is not None
            assert sweep is not None
            fragment = found.setdefault(slot(stage, sweep, self.stages), _Fragment(stage, sweep))
            fragment.operations.append(index)
            fragment_of.append(fragment)
        is_returned = set(graph.returned)
        for index, fragment in enumerate(fragment_of):
            for value in graph.operands[index]:
                if graph.producer[value] == ARGUMENT or fragment_of[graph.producer[value]] is not fragment:
                    fragment.inputs[value] = None
            for value in graph.results[index]:
                if value in is_returned or any(fragment_of[user] is not fragment for user in graph.users[value]):
                    fragment.outputs.append(value)
        return [found[number] for number in sorted(found)]

    @cached_property
    def _users_islands(self) -> dict[int, list[int]]:
        """The islands that take each value, in the order in which they need it."""
        islands: dict[int, dict[int, None]] = {}
        for fragment in self.fragments:
            for value in fragment.inputs:
                islands.setdefault(value, {})[island_of_stage(self.topology, fragment.stage)] = None
        return {value: list(users) for value, users in islands.items()}

    @cached_property
    def _producer_island(self) -> dict[int, int]:
        return {
            value: island_of_stage(self.topology, fragment.stage)
            for fragment in self.fragments
            for value in fragment.outputs
        }

    def _build(self, fragment: _Fragment, tensors: list[ir.Type]) -> None:
        island = island_of_stage(self.topology, fragment.stage)
        inside = [self.graph.operations[index] for index in fragment.operations]
        location = next((one.location for one in inside if place(one.location)), inside[0].location)
        built = mpmd.FragmentOp(
            [self.types.on(island, tensors[value], self.specs[value]) for value in fragment.outputs],
            [self.held[value, island] for value in fragment.inputs],
            ir.ArrayAttr.get([mpmd.UserOriginAttr.get(fragment.task(self.letters), 0)]),
            self.topology.islands[island].name,
            loc=ir.Location.name(fragment.task(self.letters), location),
        )
        built.operation.attributes[STAGE] = integer(fragment.stage)
        built.operation.attributes[SWEEP] = integer(fragment.sweep)
        types = [tensors[value] for value in fragment.inputs]
        locations = [self.graph.values[value].location for value in fragment.inputs]
        block = ir.Block.create_at_start(built.operation.regions[0], types, locations)
        renamed = dict(zip((self.graph.values[value] for value in fragment.inputs), block.arguments, strict=True))
        with ir.InsertionPoint(block):
            leaving = mpmd.ReturnOp([self.graph.values[value] for value in fragment.outputs], loc=location)
        for operation in inside:
            operation.operation.move_before(leaving)
            for mark in (STAGE, SWEEP):
                del operation.operation.attributes[mark]
            for inner in operations_in(operation, ir.OpView) if len(operation.operation.regions) else [operation]:
                self._localise_sharding(inner, island)
                for number, operand in enumerate(list(inner.operation.operands)):
                    if operand in renamed:
                        inner.operation.operands[number] = renamed[operand]
        for value, result in zip(fragment.outputs, built.operation.results, strict=True):
            self.held[value, island] = result
            self._send(value, island, tensors[value])

    def _send(self, value: int, home: int, tensor: ir.Type) -> None:
        """Send a value from where it is made to the islands that take it, each from the holder that is nearest."""
        holders = [home]
        for island in self._users_islands.get(value, []):
            if island in holders:
                continue
            nearest = min(holders, key=lambda holder: self._seconds(holder, island, self.graph.sizes[value]))
            sent = mpmd.TransferOp(
                self.types.on(island, tensor, self.specs[value]), self.held[value, nearest], loc=self._location(value)
            )
            self.held[value, island] = sent.result
            holders.append(island)

    def _localise_sharding(self, operation: ir.OpView, island: int) -> None:
        """Leave of the shardings inside a fragment what the user asked for and the island's mesh can follow.

        What was propagated goes: the fragment's compiler propagates anew, from its arguments and results.
        """
        attributes = operation.operation.attributes
        if SHARDING in attributes:
            del attributes[SHARDING]
        if isinstance(operation, sdy.ShardingConstraintOp):
            spec = spec_of(attributes["sharding"])
            shape = ir.RankedTensorType(operation.operation.results[0].type).shape
            followed = on_island(spec, shape, self.topology.islands[island]) or ((),) * len(shape)
            attributes["sharding"] = sharding_of(followed, self.module.context)
        if isinstance(operation, sdy.ManualComputationOp) and len({one.axes for one in self.topology.islands}) > 1:
            what = "shard_map needs the same mesh on all islands, and these differ"
            raise refuse(operation.location, what, "give the islands equal axes")

    def _seconds(self, source: int, target: int, size: int) -> float:
        islands = self.topology.islands
        link = self.topology.link(islands[source].name, islands[target].name)
        return link.latency * 1e-9 + size / link.bandwidth

    def _location(self, value: int) -> ir.Location:
        producer = self.graph.producer[value]
        return self.graph.values[value].location if producer == ARGUMENT else self.graph.operations[producer].location

    def _return(self, terminator: ir.OpView, homes: list[int]) -> None:
        for number, value in enumerate(self.graph.returned):
            island = homes[value] if self.graph.producer[value] == ARGUMENT else self._producer_island[value]
            terminator.operation.operands[number] = self.held[value, island]
        inputs = [argument.type for argument in body_of(self.main).arguments]
        results = [operand.type for operand in terminator.operation.operands]
        self.main.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, results))
        set_argument_attributes(self.main, [_without_sharding(one) for one in argument_attributes(self.main)])
        set_result_attributes(self.main, [_without_sharding(one) for one in result_attributes(self.main)])
        self.main.attributes["topology"] = topology_attribute(self.topology, self.module.context)


def _without_sharding(marks: ir.DictAttr) -> ir.DictAttr:
    """The marks of an argument or result; its sharding is part of its type now."""
    named = [marks[index] for index in range(len(marks))]
    return ir.DictAttr.get({one.name: one.attr for one in named if one.name != SHARDING})
