"""From phase `scheduled` to a program: plain data that runs without the compiler and without the user's source.

Not a pass, as its result is no module. The instruction streams follow the order of @main, in which every value comes
before its uses; a send stands right after what makes its value, and a receive right before what needs it.
"""

from collections.abc import Mapping, Sequence

from atoll.compiler.emit.bundles import Bundle, bundles_of
from atoll.compiler.emit.codes import Codes
from atoll.compiler.emit.exchange_streams import ExchangeWriter
from atoll.compiler.emit.fragment_code import code_of
from atoll.compiler.emit.loop_body import LoopBody
from atoll.compiler.emit.loop_rows import Leaving as Leaving
from atoll.compiler.emit.loop_rows import LoopRow
from atoll.compiler.emit.routes import Route, Routes
from atoll.compiler.emit.stream import ALL, Expected, Name, Stream
from atoll.compiler.emit.stream import ReplicaStreams as ReplicaStreams
from atoll.compiler.export.signature import Signature
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.functions import (
    argument_attributes,
    arguments_of,
    body_of,
    operations_in,
    result_attributes,
    type_of,
)
from atoll.compiler.module.interface import (
    numbers_by_path,
    parts_of,
    share_of,
    start_in_whole,
    whole_shape,
)
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import DONATED, EXCHANGE, PARTS
from atoll.compiler.module.memories import Memories
from atoll.compiler.module.mesh_types import island_of, local_type
from atoll.compiler.module.planned import asked_plan_of, topology_of
from atoll.compiler.module.replicas import replicas_of, twins_of
from atoll.compiler.module.tasks import (
    code_name,
    dataflow_functions,
    fragment_functions,
    island_of_task,
    microbatch_name,
    task_name,
)
from atoll.compiler.task_name import loop_in_names
from atoll.runtime.program import Input, IslandProgram, Output, Place, Places, Program, Start

_Value = ir.Value[ir.Type]

# Where each part of a value begins in the whole, and the places that have a copy of it.
_Parts = Sequence[tuple[Start, tuple[Place, ...]]]


def emit(module: ir.Module, signature: Signature) -> Program:
    """The program of a module; the signature tells what callers pass, unused arguments included."""
    topology = topology_of(module)
    functions = fragment_functions(module)
    main = entry_function(module)
    memories = Memories.of(module)
    codes = Codes(module.context, [code_of(one, memories) for one in functions.values()])
    emitter = _Emitter(module, {name: number for number, name in enumerate(functions)}, codes, memories)
    places = emitter.places_of_arguments(main)
    emitter.follow(main)
    *_, returning = body_of(main).operations
    results = emitter.places_of_results(list(returning.operation.operands), main)
    inputs = tuple(
        Input(
            one.path,
            one.shape,
            one.dtype,
            one.weak_type,
            *_divided(places.get(one.path, ()), one.shape),
            one.donated,
            one.either,
        )
        for one in signature.inputs
    )
    outputs = tuple(
        Output(one.path, one.shape, one.dtype, one.weak_type, *_divided(results[one.path], one.shape))
        for one in signature.outputs
    )
    kept = {place for one in outputs for place in one.every_place}
    donated = {place for one in inputs if one.donated for place in one.every_place}
    axes = {island.name: tuple((axis.name, axis.size) for axis in island.axes) for island in topology.islands}
    return Program(
        islands=tuple(
            IslandProgram(name, axes[name], tuple(stream.buffers), stream.finished(kept, donated))
            for name, stream in emitter.all_streams.items()
        ),
        codes=tuple(codes.codes),
        inputs=inputs,
        outputs=outputs,
        topology=str(topology),
        plan=str(asked_plan_of(module)),
    )


def _divided(parts: _Parts, shape: tuple[int, ...]) -> tuple[Places, tuple[Start, ...]]:
    """The places of the parts, and where they begin in the whole; of a random key, without the dimension of its words.

    One part is the whole.
    """
    starts = tuple(start[: len(shape)] for start, _ in parts)
    return tuple(copies for _, copies in parts), starts if len(starts) > 1 else ()


class _Emitter:
    """Follows the dataflow of a module, and tells each island of each replica what to do for it."""

    def __init__(self, module: ir.Module, tasks: Mapping[str, int], codes: Codes, memories: Memories) -> None:
        """tasks: the number of the code of each fragment."""
        count = replicas_of(module)
        topology = topology_of(module)
        twins = twins_of(topology, count)
        self.replicas: list[ReplicaStreams] = [
            {name: Stream(names[replica], memories) for name, names in twins.items()} for replica in range(count)
        ]
        made = {stream.name: stream for replica in self.replicas for stream in replica.values()}
        self.all_streams = {island.name: made[island.name] for island in topology.islands}
        self._functions = dataflow_functions(module)
        self._loops = operations_in(self._functions["main"], mpmd.ForOp)
        self._bundles = {bundle.begin: bundle for bundle in bundles_of(module)}
        self._tasks = tasks
        self._codes = codes
        self._routes = Routes(topology, codes, memories)
        self._exchanges = 0

    def places_of_arguments(self, main: func.FuncOp) -> dict[str, _Parts]:
        """Where each argument of @main is, by path."""
        for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
            for number, streams in enumerate(self.replicas):
                for microbatch in self._microbatches(number, parts_of(marks)):
                    streams[island_of(argument.type)].define((argument, microbatch))
        return self._places_by_path(arguments_of(main), argument_attributes(main))

    def places_of_results(self, values: Sequence[_Value], main: func.FuncOp) -> dict[str, _Parts]:
        """Where each result of @main is, by path; received if it was still on its way."""
        return self._places_by_path(values, result_attributes(main))

    def _places_by_path(self, values: Sequence[_Value], attributes: Sequence[ir.DictAttr]) -> dict[str, _Parts]:
        return {
            path: [part for number in numbers for part in self._parts_of(values[number], attributes[number])]
            for path, numbers in numbers_by_path(attributes).items()
        }

    def _parts_of(self, value: _Value, marks: ir.DictAttr) -> _Parts:
        """A part for each microbatch of each replica, or for each replica; or a copy of the whole on each replica."""
        places: list[Place] = []
        for number, streams in enumerate(self.replicas):
            stream = streams[island_of(value.type)]
            microbatches = self._microbatches(number, parts_of(marks))
            places += [(stream.name, stream.buffer_of((value, microbatch))) for microbatch in microbatches]
        shape = ir.RankedTensorType(local_type(value.type)).shape
        if PARTS not in marks and share_of(marks) is None:
            return [(start_in_whole(shape, marks, 0), tuple(places))]
        return [(start_in_whole(shape, marks, part), (place,)) for part, place in enumerate(places)]

    def _microbatches(self, replica: int, parts: int | None) -> Sequence[int]:
        """Which of all the microbatches are a replica's; for a value that is whole, `ALL` in their place."""
        if parts is None:
            return (ALL,)
        count = parts // len(self.replicas)
        return range(replica * count, (replica + 1) * count)

    def follow(self, main: func.FuncOp) -> None:
        """What stands outside loops runs once in each replica."""
        for operation in body_of(main).operations:
            if isinstance(operation, mpmd.ForOp):
                self._follow_loop(operation)
                continue
            for streams in self.replicas:
                if isinstance(operation, mpmd.FragmentCallOp):
                    stream = streams[island_of_task(operation)]
                    inputs = [stream.buffer_of((operand, ALL)) for operand in operation.operation.operands]
                    outputs = [(result, ALL) for result in operation.operation.results]
                    stream.run(str(task_name(operation)), self._tasks[code_name(operation)], inputs, outputs)
                elif isinstance(operation, mpmd.TransferOp) and EXCHANGE not in operation.operation.attributes:
                    source, target = operation.operation.operands[0], operation.operation.results[0]
                    route = self._routes.route(source, target)
                    tag = _expect(streams, source, target, ALL, route)
                    name = streams[island_of(target.type)].name
                    streams[island_of(source.type)].send((source, ALL), name, tag, route.sent)
            for bundle in self._bundles_after(operation):
                for exchange in self._exchanges_of(bundle):
                    for replica in range(len(self.replicas)):
                        exchange.begin(replica)

    def _bundles_after(self, operation: ir.OpView) -> list[Bundle]:
        """The exchanges that begin with what an operation of @main makes."""
        return [self._bundles[result] for result in operation.operation.results if result in self._bundles]

    def _follow_loop(self, loop: mpmd.ForOp) -> None:
        """The tasks of all microbatches, on each island in the order of its row in the table."""
        main = self._functions["main"]
        body = LoopBody.of(loop, self._functions[microbatch_name(loop)], main, len(self.replicas))
        exchanges = {(bundle.island, bundle.task): self._exchanges_of(bundle) for bundle in self._bundles_after(loop)}
        number_in_names = loop_in_names(self._loops.index(loop), len(self._loops))
        for number, streams in enumerate(self.replicas):
            first = number * body.microbatches
            leaving: dict[Name, Leaving] = {}
            for transfer in body.transfers:
                source = transfer.operation.operands[0]
                for one in range(body.microbatches):
                    route = self._routes.route(source, transfer.result).of(one, number_in_names)
                    tag = _expect(streams, source, transfer.result, first + one, route)
                    leaving[transfer.result, first + one] = Leaving(tag, route.sent)
            for name in streams:
                begins = {task: made for (island, task), made in exchanges.items() if island == name}
                row = LoopRow(
                    island=name,
                    streams=streams,
                    replica=number,
                    body=body,
                    leaving=leaving,
                    codes=self._tasks,
                    begins=begins,
                )
                row.follow()

    def _exchanges_of(self, bundle: Bundle) -> list[ExchangeWriter]:
        streams = [streams[bundle.island] for streams in self.replicas]
        first = self._exchanges
        self._exchanges += len(bundle.units)
        return [
            ExchangeWriter(number, bundle, unit, streams, self._codes)
            for number, unit in enumerate(bundle.units, first)
        ]


def _expect(streams: ReplicaStreams, source: _Value, target: _Value, microbatch: int, route: Route) -> int:
    """Let the target's island know that a value will come; returns the tag it comes with."""
    sender = streams[island_of(source.type)]
    tag = sender.new_tag()
    expected = Expected(sender.name, tag, route.arrives, route.received)
    streams[island_of(target.type)].expect((target, microbatch), expected)
    return tag


def signature_of_module(module: ir.Module) -> Signature:
    """What @main itself says of its arguments and results, for a module that comes without a job."""
    main, replicas = entry_function(module), replicas_of(module)
    inputs, results = list(type_of(main).inputs), list(type_of(main).results)
    arguments, returned = argument_attributes(main), result_attributes(main)
    return Signature.of_paths(
        [
            (path, _whole(inputs[first], arguments[first], replicas), DONATED in arguments[first])
            for path, (first, *_) in numbers_by_path(arguments).items()
        ],
        [
            (path, _whole(results[first], returned[first], replicas))
            for path, (first, *_) in numbers_by_path(returned).items()
        ],
    )


def _whole(type_: ir.Type, marks: ir.DictAttr, replicas: int) -> ir.Type:
    """The type of an argument or result as callers see it: all parts, pieces or shares together."""
    tensor = ir.RankedTensorType(local_type(type_))
    shape = whole_shape(tensor.shape, marks, replicas)
    return ir.RankedTensorType.get(shape, tensor.element_type, loc=ir.Location.unknown(tensor.context))
