"""From phase `scheduled` to a program: plain data that runs without the compiler and without the user's source.

Not a pass, as its result is no module. The instruction streams follow the order of @main, in which every value comes
before its uses; a send stands right behind what makes its value and a receive right before what needs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from atoll.compiler.entry import DONATED, PATH, entry_function, text_attribute
from atoll.compiler.functions import (
    argument_attributes,
    arguments_of,
    body_of,
    functions_in,
    result_attributes,
    set_public,
    symbol_name,
    type_of,
)
from atoll.compiler.ir_text import to_bytecode
from atoll.compiler.locations import name_stack, place
from atoll.compiler.mesh_types import island_of, local_type, spec_of_type
from atoll.compiler.mlir import func, ir, mpmd, sdy
from atoll.compiler.plan_marks import plan_of, topology_of
from atoll.compiler.scopes import read_scope
from atoll.compiler.shardings import MESH, SHARDING, Spec, spec_of
from atoll.compiler.signature import Signature, dtype_of
from atoll.compiler.tasks import code_name, mesh_name, task_name
from atoll.runtime.program import (
    Buffer,
    Code,
    Free,
    Input,
    Instruction,
    IslandProgram,
    Output,
    Program,
    Receive,
    Run,
    Send,
)

_Value = ir.Value[ir.Type]

_SCOPES_SHOWN = 8


def emit(module: ir.Module, signature: Signature) -> Program:
    """The program of a module; the signature tells what callers pass, unused arguments included."""
    topology = topology_of(module)
    functions = {name: function for name, function in functions_in(module).items() if name != "main"}
    codes = {name: number for number, name in enumerate(functions)}
    main = entry_function(module)
    islands = {island.name: _Island(island.name) for island in topology.islands}
    places = _places_of_arguments(main, islands)
    for operation in body_of(main).operations:
        if isinstance(operation, mpmd.FragmentCallOp):
            islands[mesh_name(operation)].run(operation, codes[code_name(operation)])
        elif isinstance(operation, mpmd.TransferOp):
            source, target = operation.operation.operands[0], operation.operation.results[0]
            tag = islands[island_of(source.type)].send(source, island_of(target.type))
            islands[island_of(target.type)].expect(target, island_of(source.type), tag)
        else:
            returned = [(island_of(value.type), value) for value in operation.operation.operands]
    results = [(name, islands[name].buffer_of(value)) for name, value in returned]
    donated = {place for given in signature.inputs if given.donated for place in places.get(given.path, ())}
    axes = {island.name: tuple((axis.name, axis.size) for axis in island.axes) for island in topology.islands}
    return Program(
        islands=tuple(
            IslandProgram(name, axes[name], tuple(island.buffers), island.finished(results, donated))
            for name, island in islands.items()
        ),
        codes=tuple(code_of(function) for function in functions.values()),
        inputs=tuple(
            Input(one.path, one.shape, one.dtype, one.weak_type, one.donated, places.get(one.path, ()))
            for one in signature.inputs
        ),
        outputs=tuple(
            Output(one.path, one.shape, one.dtype, one.weak_type, (result,))
            for one, result in zip(signature.outputs, results, strict=True)
        ),
        topology=str(topology),
        plan=str(plan_of(module)),
    )


def signature_of_module(module: ir.Module) -> Signature:
    """What @main itself tells of its arguments and results, for a module that comes without a job."""
    main = entry_function(module)
    return Signature.of_paths(
        [
            (text_attribute(marks, PATH) or "", tensor, DONATED in marks)
            for marks, tensor in zip(argument_attributes(main), type_of(main).inputs, strict=True)
        ],
        [
            (text_attribute(marks, PATH) or "", tensor)
            for marks, tensor in zip(result_attributes(main), type_of(main).results, strict=True)
        ],
    )


def _places_of_arguments(main: func.FuncOp, islands: "dict[str, _Island]") -> dict[str, tuple[tuple[str, int], ...]]:
    places: dict[str, tuple[tuple[str, int], ...]] = {}
    for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True):
        name = island_of(argument.type)
        path = text_attribute(marks, PATH)
        assert path is not None
        places[path] = ((name, islands[name].define(argument)),)
    return places


def code_of(function: func.FuncOp) -> Code:
    """A fragment as a module of its own whose `@main` is the function; the meshes that jax speaks of come along."""
    results = tuple(map(_result_buffer, type_of(function).results, result_attributes(function)))
    module = ir.Module.create(ir.Location.unknown(function.context))
    name = symbol_name(function)
    with ir.InsertionPoint(module.body):
        for symbol in function.operation.block.operations:
            if isinstance(symbol, sdy.MeshOp):
                mesh = symbol.operation.clone()
                if ir.StringAttr(mesh.attributes["sym_name"]).value == MESH:
                    mesh.attributes["mesh"] = function.attributes["mesh_shape"]
        copy = function.operation.clone().opview
    assert isinstance(copy, func.FuncOp)
    set_public(copy, "main")
    for attribute in ("mesh_shape", "arg_attrs", "res_attrs"):  # what they say is in the buffers
        if attribute in copy.attributes:
            del copy.attributes[attribute]
    return Code(name, to_bytecode(module), results, place(function.location), _scopes(function))


def _scopes(function: func.FuncOp) -> str:
    """The outermost scopes that a fragment computes, for messages about it; of very many the first ones."""
    paths = (read_scope(name_stack(operation.location)).path for operation in body_of(function).operations)
    names = list(dict.fromkeys(path[0] for path in paths if path))
    return ", ".join([*names[:_SCOPES_SHOWN], *(["..."] if len(names) > _SCOPES_SHOWN else [])])


def _result_buffer(tensor: ir.Type, marks: ir.DictAttr) -> Buffer:
    return _buffer(tensor, spec_of(marks[SHARDING]) if SHARDING in marks else ())


def _buffer(tensor: ir.Type, spec: Spec) -> Buffer:
    ranked = ir.RankedTensorType(tensor)
    return Buffer(tuple(ranked.shape), dtype_of(ranked.element_type), spec)


@dataclass
class _Island:
    """The stream of one island as it grows."""

    name: str
    buffers: list[Buffer] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    numbers: dict[_Value, int] = field(default_factory=dict)
    expected: dict[_Value, tuple[str, int]] = field(default_factory=dict)  # sent to here, not yet received
    tags: int = 0

    def define(self, value: _Value) -> int:
        """A buffer for a value that is at hand from here on."""
        self.numbers[value] = len(self.buffers)
        self.buffers.append(_buffer(local_type(value.type), spec_of_type(value.type)))
        return self.numbers[value]

    def buffer_of(self, value: _Value) -> int:
        """The buffer of a value, which is received first if it is still on its way."""
        if value in self.expected:
            source, tag = self.expected.pop(value)
            self.instructions.append(Receive(self.define(value), source, tag))
        return self.numbers[value]

    def run(self, call: mpmd.FragmentCallOp, code: int) -> None:
        inputs = tuple(self.buffer_of(operand) for operand in call.operation.operands)
        outputs = tuple(self.define(result) for result in call.operation.results)
        self.instructions.append(Run(task_name(call), code, inputs, outputs))

    def send(self, value: _Value, target: str) -> int:
        """Send a value; returns the tag, which no other send from here has."""
        self.instructions.append(Send(self.buffer_of(value), target, self.tags))
        self.tags += 1
        return self.tags - 1

    def expect(self, value: _Value, source: str, tag: int) -> None:
        self.expected[value] = (source, tag)

    def finished(self, results: Sequence[tuple[str, int]], donated: set[tuple[str, int]]) -> tuple[Instruction, ...]:
        """The stream with every buffer given up at its last use: donated to the task if it can take it, else freed."""
        kept = {buffer for name, buffer in results if name == self.name}
        last = {buffer: number for number, one in enumerate(self.instructions) for buffer in _used(one)}
        arguments = set(range(len(self.buffers))) - {buffer for one in self.instructions for buffer in _made(one)}
        lent = {buffer for buffer in arguments if (self.name, buffer) not in donated}
        stream: list[Instruction] = []
        for number, one in enumerate(self.instructions):
            ending = [buffer for buffer in _used(one) if last[buffer] == number and buffer not in kept]
            ending += [buffer for buffer in _made(one) if buffer not in last and buffer not in kept]
            taken: tuple[int, ...] = ()
            if isinstance(one, Run):
                free = [buffer for buffer in ending if buffer not in lent and one.inputs.count(buffer) < 2]
                taken = self._reused(free, one.outputs)
                one = Run(one.task, one.code, one.inputs, one.outputs, taken)
            stream.append(one)
            freed = tuple(buffer for buffer in dict.fromkeys(ending) if buffer not in taken)
            if freed:
                stream.append(Free(freed))
        return tuple(stream)

    def _reused(self, free: Sequence[int], outputs: Sequence[int]) -> tuple[int, ...]:
        """The free buffers whose memory an output can take over, each output that of one buffer."""
        wanted = [self.buffers[output] for output in outputs]
        taken = []
        for buffer in free:
            if self.buffers[buffer] in wanted:
                wanted.remove(self.buffers[buffer])
                taken.append(buffer)
        return tuple(taken)


def _used(one: Instruction) -> tuple[int, ...]:
    match one:
        case Run():
            return one.inputs
        case Send():
            return (one.buffer,)
        case _:
            return ()


def _made(one: Instruction) -> tuple[int, ...]:
    match one:
        case Run():
            return one.outputs
        case Receive():
            return (one.buffer,)
        case _:
            return ()
