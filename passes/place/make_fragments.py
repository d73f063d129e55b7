"""Pass `make-fragments`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.states import JOIN, KIND_OF_CARRIED
from atoll.compiler.mlir.attributes import integer, unsigned
from atoll.compiler.mlir.bindings import builtin, func, ir, mpmd
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import (
    argument_attributes,
    body_of,
    new_private_function,
    operations_in,
    replace_within,
    result_attributes,
    set_argument_attributes,
    set_result_attributes,
    symbol_name,
)
from atoll.compiler.mlir.locations import place
from atoll.compiler.module.graph import ARGUMENT, Graph, Loop
from atoll.compiler.module.homes import homes_of
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import EXCHANGE, PARTS, ROLE, SHARE, STAGE, SWEEP
from atoll.compiler.module.mesh_types import MeshTypes, topology_attribute
from atoll.compiler.module.notes import NotFollowed
from atoll.compiler.module.noting import add_note
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.replicas import replicas_of
from atoll.compiler.module.shardings import not_followed
from atoll.compiler.module.value_shardings import specs_of
from atoll.compiler.pipeline.pass_base import Pass
from atoll.compiler.replicas.own_sums import exchanged_later
from atoll.passes.place.fragments.own_shardings import localise, without_sharding
from atoll.passes.place.fragments.partition import Dataflow, FragmentPlan, PlacedExchange

_Value = ir.Value[ir.Type]
# The name of the function that a loop over microbatches calls.
MICROBATCH = "microbatch"


@dataclass(frozen=True)
class MakeFragments(Pass):
    """Put what a stage computes in a sweep into a fragment on the stage's island, and send values between islands.

    A value is sent at most once to each island, from the holder with the fastest link. Arguments live where they are
    used; one that is used on several islands lives on the one whose result replaces it, or that uses it first.

    With replicas, what a loop sums up is the sum of one replica; an exchange, which is a transfer to where the sum
    already is, makes it the sum of all. Where a replica needs only its own share of that sum, the exchange gives the
    share alone. What replicas exchange in the update stands after the fragment that makes it; a sum of a loop that is
    only added to what is exchanged there is not exchanged itself.

    The body of a loop over microbatches becomes a function, as transfers stand in functions only; what it takes from
    outside is sent before the loop begins, and what it sums up is sent when it has ended.

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


# For a value of the graph and an island, what holds it there within one function.
_Scope = dict[tuple[int, int], _Value]


class _Placement:
    """One run of the pass."""

    def __init__(self, module: ir.Module) -> None:
        self.module = module
        self.main = entry_function(module)
        self.graph = Graph.of(module)
        self.topology = topology_of(module)
        self.types = MeshTypes(self.topology, module.context)
        self.flow = Dataflow.of(module, self.graph)
        self.tensors = [value.type for value in self.graph.values]
        self.specs = specs_of(self.graph, argument_attributes(self.main))
        # Each loop is an odd region; what stands before it and after it, an even one.
        self._regions = 2 * len(self.graph.loops) + 1
        self._is_replicated = replicas_of(module) > 1
        self._exchanged_later = exchanged_later(self.graph)
        self._has_parts = [PARTS in marks for marks in argument_attributes(self.main)]
        # What a loop keeps for later ones, a part of each microbatch.
        self._kept = {one.yielded for loop in self.graph.loops for one in loop.carried if one.is_part}
        self._users = self.flow.users()
        self._producer_island = self.flow.island_of_makers()
        self._unmade = list(self.flow.exchanges)
        # Each axis that a sharding asks for in vain on an island, and where one first does.
        self._not_followed: dict[tuple[str, str], ir.Location] = {}
        users = {value: [island for _, island in taking] for value, taking in self._users.items()}
        self.homes = homes_of(self.module, self.graph, users, self._producer_island)

    def rewrite(self) -> None:
        *_, terminator = body_of(self.main).operations
        held = _Scope()
        for number, home in enumerate(self.homes):
            argument = self.graph.values[number]
            argument.set_type(self._type(number, home))
            held[number, home] = argument
        with ir.InsertionPoint(terminator):
            # Parts of the batch are sent within the loops that take them, one a microbatch.
            whole = [(one, home) for one, home in enumerate(self.homes) if not self._has_parts[one]]
            self._send_all(whole, held, range(self._regions))
            for region in range(self._regions):
                if region % 2:
                    self._build_loop(self.graph.loops[region // 2], held)
                else:
                    self._build_around(region, held)
        self._return(terminator, held)
        # Users before makers, as an operation that is still used cannot be erased.
        for exchange in reversed(self.flow.exchanges):
            exchange.operation.operation.erase()
        for loop in self.graph.loops:
            loop.operation.operation.erase()
        for (island, axis), location in self._not_followed.items():
            add_note(self.module, location, NotFollowed(island, axis))

    # Building.

    def _type(self, value: int, island: int) -> ir.Type:
        tensor, spec, on = self.tensors[value], self.specs[value], self.topology.islands[island]
        for axis in not_followed(spec, ir.RankedTensorType(tensor).shape, on):
            self._not_followed.setdefault((on.name, axis), self.graph.values[value].location)
        return self.types.on(island, tensor, spec)

    def _build_around(self, region: int, held: _Scope) -> None:
        """Build the fragments of a region outside of loops, and each exchange as soon as its operand is there."""
        regions = range(region, self._regions)
        self._build_exchanges(held, regions)
        for fragment in self.flow.fragments_in(region):
            self._build_all([fragment], held, regions)
            self._build_exchanges(held, regions)

    def _build_exchanges(self, held: _Scope, regions: range) -> None:
        for exchange in list(self._unmade):
            if exchange.region == regions.start and (exchange.operand, exchange.island) in held:
                self._build_exchange(exchange, held[exchange.operand, exchange.island], held, regions)

    def _build_exchange(
        self, exchange: PlacedExchange, operand: _Value, held: _Scope, regions: range, kind: str | None = None
    ) -> None:
        """Build an exchange, or one of another kind in its place, and send what it gives to where it is taken.

        One with shares changes the shape of a value, which a transfer cannot.
        """
        self._unmade.remove(exchange)
        marks = exchange.operation.operation.attributes
        attributes = {mark: marks[mark] for mark in (EXCHANGE, SHARE) if mark in marks}
        if kind is not None:
            attributes[EXCHANGE] = ir.StringAttr.get(kind)
        if SHARE in marks:
            name, type_ = "builtin.unrealized_conversion_cast", self._type(exchange.result, exchange.island)
        else:  # what replicas combine keeps its division; whoever takes it may divide it otherwise
            name, type_ = mpmd.TransferOp.OPERATION_NAME, operand.type
        made = ir.Operation.create(name, [type_], [operand], attributes, loc=exchange.operation.location)
        held[exchange.result, exchange.island] = made.results[0]
        self._send(exchange.result, exchange.island, held, regions)

    def _build_all(self, fragments: Iterable[FragmentPlan], held: _Scope, regions: range) -> None:
        """Build fragments, and send what they make to where it is taken in some regions."""
        for fragment in fragments:
            self._send_all(((value, fragment.island) for value in self._build(fragment, held)), held, regions)

    def _build(self, fragment: FragmentPlan, held: _Scope) -> list[int]:
        """Build a fragment; returns what it has made."""
        inside = [self.graph.operations[index] for index in fragment.operations]
        location = next((one.location for one in inside if place(one.location)), inside[0].location)
        built = mpmd.FragmentOp(
            [self._type(value, fragment.island) for value in fragment.outputs],
            [held[value, fragment.island] for value in fragment.inputs],
            ir.ArrayAttr.get([mpmd.UserOriginAttr.get(str(fragment.name), 0)]),
            self.topology.islands[fragment.island].name,
            loc=ir.Location.name(str(fragment.name), location),
        )
        built.operation.attributes[STAGE] = integer(fragment.stage)
        built.operation.attributes[SWEEP] = integer(fragment.sweep)
        types = [self.tensors[value] for value in fragment.inputs]
        locations = [self.graph.values[value].location for value in fragment.inputs]
        block = ir.Block.create_at_start(built.operation.regions[0], types, locations)
        renamed = dict(zip(map(self._known_as(fragment.region), fragment.inputs), block.arguments, strict=True))
        with ir.InsertionPoint(block):
            leaving = mpmd.ReturnOp([self.graph.values[value] for value in fragment.outputs], loc=location)
        for operation in inside:
            operation.operation.move_before(leaving)
            for mark in (STAGE, SWEEP):
                del operation.operation.attributes[mark]
            for inner in operations_in(operation, ir.OpView):
                localise(inner, self.topology, fragment.island)
            replace_within(operation, renamed)
        for value, result in zip(fragment.outputs, built.operation.results, strict=True):
            held[value, fragment.island] = result
        return fragment.outputs

    def _known_as(self, region: int) -> Callable[[int], _Value]:
        """What a value is to the operations of a region; after a loop, what the loop yields is known as its result."""
        values, outside, producer = self.graph.values, self.graph.outside, self.graph.producer
        return lambda value: (
            outside[value] if value in outside and self.graph.region[producer[value]] < region else values[value]
        )

    def _send_all(self, values: Iterable[tuple[int, int]], held: _Scope, regions: range) -> None:
        for value, home in values:
            self._send(value, home, held, regions)

    def _send(self, value: int, home: int, held: _Scope, regions: range) -> None:
        """Send a value from where it is made to the islands that take it in some regions.

        Each gets it from the nearest holder. In a loop the maker always sends it: an island to which the value was sent
        may, by the schedule, take it later than the next island needs it, and the two would wait for each other.
        """
        holders = [home]
        for island in self._takers(value, regions):
            if island in holders:
                continue
            nearest = min(holders, key=lambda holder: self._seconds(holder, island, self.graph.sizes[value]))
            if regions.start % 2:  # in a loop
                nearest = home
            sent = mpmd.TransferOp(self._type(value, island), held[value, nearest], loc=self._location(value))
            held[value, island] = sent.result
            holders.append(island)

    def _takers(self, value: int, regions: range) -> list[int]:
        """The islands that take a value in some regions, in the order in which they need it."""
        return list(dict.fromkeys(island for region, island in self._users.get(value, ()) if region in regions))

    # Loops.

    def _build_loop(self, loop: Loop, held: _Scope) -> None:
        """Build the loop anew: it calls a function that holds the fragments of one microbatch."""
        islands = [self._producer_island[one.yielded] for one in loop.carried]
        taken = self._taken_by(loop)
        counting = self._takers(loop.index, range(loop.region, loop.region + 1))
        function = self._function_of(loop, taken, counting)
        location = loop.operation.location
        begin = [
            held[one.initial, island] if not one.is_part else self._placeholder(loop, number, island)
            for number, (one, island) in enumerate(zip(loop.carried, islands, strict=True))
        ]
        types = [self._type(one.yielded, island) for one, island in zip(loop.carried, islands, strict=True)]
        built = mpmd.ForOp(types, begin, unsigned(loop.iterations), loc=location)
        for mark in (PARTS, ROLE):
            if mark in loop.operation.operation.attributes:
                built.operation.attributes[mark] = loop.operation.operation.attributes[mark]
        index = self.graph.values[loop.index]
        block = ir.Block.create_at_start(
            built.operation.regions[0], [*types, index.type], [location] * (len(types) + 1)
        )
        *carried, count = block.arguments
        with ir.InsertionPoint(block):
            assigned = [
                mpmd.AssignOp(self._type(loop.index, island), count, loc=location).result for island in counting
            ]
            begun = [argument for argument, one in zip(carried, loop.carried, strict=True) if not one.is_part]
            given: list[_Value] = [*begun, *(held[pair] for pair in taken), *assigned]
            called = mpmd.CallOp(types, given, symbol_name(function), loc=location)
            mpmd.ReturnOp(list(called.operation.results), loc=location)
        for one, island, result in zip(loop.carried, islands, built.operation.results, strict=True):
            held[one.yielded, island] = result
            if one.is_part:
                continue
            after = range(loop.region + 1, self._regions)
            shares = self._shares_of(loop, one.yielded, island)
            if shares is not None:
                self._build_exchange(shares, result, held, after, self._kind_of(one.yielded))
                continue
            # A sum that nobody uses after the loop is not worth an exchange.
            is_used = self._is_used_after(loop, one.yielded) and one.yielded not in self._exchanged_later
            if self._is_replicated and is_used:
                held[one.yielded, island] = self._exchanged(one.yielded, result)
            self._send(one.yielded, island, held, after)

    def _is_used_after(self, loop: Loop, value: int) -> bool:
        users = self.graph.users[value]
        return value in self.graph.returned or any(self.graph.region[user] > loop.region for user in users)

    def _shares_of(self, loop: Loop, value: int, island: int) -> PlacedExchange | None:
        """The own share of a sum, if nothing after the loop takes more of it, so that no replica needs the total."""
        if value in self.graph.returned:
            return None
        users = [user for user in self.graph.users[value] if self.graph.region[user] > loop.region]
        found = [
            one for one in self.flow.exchanges if one.operand == value and one.is_own_share and one.island == island
        ]
        return found[0] if len(users) == len(found) == 1 else None

    def _exchanged(self, value: int, total: _Value) -> _Value:
        """The sum of all replicas, made of the sum of one."""
        made = mpmd.TransferOp(total.type, total, loc=self._location(value))
        made.operation.attributes[EXCHANGE] = ir.StringAttr.get(self._kind_of(value))
        return made.result

    def _kind_of(self, value: int) -> str:
        """How the replicas' parts of a sum are combined."""
        maker = self.graph.operations[self.graph.producer[value]]
        kind = KIND_OF_CARRIED.get(maker.operation.name)
        if kind is None:
            what = f"a loop carries on what {maker.operation.name} makes, which replicas cannot combine"
            raise refuse(maker.location, what, f"make it by one of {', '.join(KIND_OF_CARRIED)}")
        if kind != JOIN:
            return kind
        # Each replica has written its own parts, over what leaves the others' as they are.
        is_truth = ir.RankedTensorType(self.tensors[value]).element_type == ir.IntegerType.get_signless(1)
        return "or" if is_truth else "add"

    def _taken_by(self, loop: Loop) -> list[tuple[int, int]]:
        """What a loop takes from outside, and on which islands: parts of the batch where they live, as they are sent
        once a microbatch, and all else everywhere it is needed."""
        inside = {loop.index, *(one.argument for one in loop.carried)}
        taken: dict[tuple[int, int], None] = {}
        for fragment in self.flow.fragments_in(loop.region):
            for value in fragment.inputs:
                producer = self.graph.producer[value]
                if value in inside or (producer != ARGUMENT and self.graph.region[producer] == loop.region):
                    continue
                taken[value, self._home(value) if self._is_in_parts(value) else fragment.island] = None
        return list(taken)

    def _function_of(self, loop: Loop, taken: Sequence[tuple[int, int]], counting: Sequence[int]) -> func.FuncOp:
        """The function of one microbatch. It takes the sums so far, what is made outside of the loop, and the number of
        the microbatch."""
        sums = [(one.argument, self._producer_island[one.yielded]) for one in loop.carried if not one.is_part]
        parameters = [*sums, *taken, *((loop.index, island) for island in counting)]
        ends = [(one.yielded, self._producer_island[one.yielded]) for one in loop.carried]
        inputs, results = ([self._type(*pair) for pair in pairs] for pairs in (parameters, ends))
        name = MICROBATCH if loop is self.graph.loops[-1] else f"{MICROBATCH}_{loop.region // 2}"
        with ir.InsertionPoint(self.module.body):
            function = new_private_function(name, inputs, results, loop.operation.location)
        function.attributes["topology"] = topology_attribute(self.topology, self.module.context)
        locations = [self.graph.values[value].location for value, _ in parameters]
        block = ir.Block.create_at_start(function.regions[0], inputs, locations)
        held = _Scope(zip(parameters, block.arguments, strict=True))
        here = range(loop.region, loop.region + 1)
        with ir.InsertionPoint(block):
            self._send_all((pair for pair in taken if self._is_in_parts(pair[0])), held, here)
            self._build_all(self.flow.fragments_in(loop.region), held, here)
            func.ReturnOp([held[pair] for pair in ends], loc=loop.operation.location)
        return function

    def _is_in_parts(self, value: int) -> bool:
        return value in self._kept or (value < self.graph.arguments and self._has_parts[value])

    def _home(self, value: int) -> int:
        """Where a value lives outside of loops."""
        return self.homes[value] if self.graph.producer[value] == ARGUMENT else self._producer_island[value]

    def _placeholder(self, loop: Loop, number: int, island: int) -> _Value:
        """What a loop wants as a part's initial value, which nobody reads."""
        constant = loop.operation.operation.operands[number]
        value, location = loop.carried[number].yielded, loop.operation.location
        replicated = self.types.on(island, self.tensors[value], ())  # what comes from no island cannot be divided
        assigned = mpmd.AssignOp(replicated, constant, loc=location).result
        kind = self._type(value, island)
        if kind == replicated:
            return assigned
        divided: _Value = builtin.UnrealizedConversionCastOp([kind], [assigned], loc=location).results[0]
        return divided

    def _seconds(self, source: int, target: int, size: int) -> float:
        islands = self.topology.islands
        link = self.topology.link(islands[source].name, islands[target].name)
        return link.latency * 1e-9 + size / link.bandwidth

    def _location(self, value: int) -> ir.Location:
        producer = self.graph.producer[value]
        return self.graph.values[value].location if producer == ARGUMENT else self.graph.operations[producer].location

    # Shardings, links and the signature.

    def _return(self, terminator: ir.OpView, held: _Scope) -> None:
        for number, value in enumerate(self.graph.returned):
            island = self.homes[value] if self.graph.producer[value] == ARGUMENT else self._producer_island[value]
            terminator.operation.operands[number] = held[value, island]
        inputs = [argument.type for argument in body_of(self.main).arguments]
        results = [operand.type for operand in terminator.operation.operands]
        self.main.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, results))
        set_argument_attributes(self.main, [without_sharding(one) for one in argument_attributes(self.main)])
        set_result_attributes(self.main, [without_sharding(one) for one in result_attributes(self.main)])
        self.main.attributes["topology"] = topology_attribute(self.topology, self.module.context)
