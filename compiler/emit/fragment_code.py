"""The code of a fragment: a module of its own, as bytecode."""

from collections.abc import Sequence

from atoll.compiler.emit.stream import buffer_of_type
from atoll.compiler.mlir.bindings import func, ir, sdy
from atoll.compiler.mlir.functions import arguments_of, body_of, result_attributes, set_public, symbol_name, type_of
from atoll.compiler.mlir.ir_text import to_bytecode
from atoll.compiler.mlir.locations import name_stack, place
from atoll.compiler.mlir.memory_kinds import DEVICE, HOST, annotate
from atoll.compiler.module.memories import Memories, is_put_on_host
from atoll.compiler.module.scopes import read_scope
from atoll.compiler.module.shardings import MESH, SHARDING, spec_of
from atoll.runtime.program import Buffer, Code

_SCOPES_SHOWN = 8


def code_of(function: func.FuncOp, memories: Memories) -> Code:
    """A fragment as a module of its own whose `@main` is the function; the meshes that jax speaks of come along."""
    name = symbol_name(function)
    on_host = [memories.is_on_host((name, number)) for number in range(len(type_of(function).results))]
    results = tuple(map(_result_buffer, type_of(function).results, result_attributes(function), on_host))
    module = ir.Module.create(ir.Location.unknown(function.context))
    with ir.InsertionPoint(module.body):
        for symbol in function.operation.block.operations:
            if isinstance(symbol, sdy.MeshOp):
                mesh = symbol.operation.clone()
                if ir.StringAttr(mesh.attributes["sym_name"]).value == MESH:
                    mesh.attributes["mesh"] = function.attributes["mesh_shape"]
        copy = function.operation.clone().opview
    assert isinstance(copy, func.FuncOp)
    set_public(copy, "main")
    for argument, own in zip(arguments_of(copy), arguments_of(function), strict=True):
        if memories.is_planned(own):
            _take_from_host(argument, copy)
    _put_results(copy, on_host)
    for attribute in ("mesh_shape", "arg_attrs", "res_attrs"):  # what they say is in the buffers
        if attribute in copy.attributes:
            del copy.attributes[attribute]
    return Code(name, to_bytecode(module), results, place(function.location), _scopes(function))


def _scopes(function: func.FuncOp) -> str:
    """The outermost scopes that a fragment computes, for messages about it; of very many the first ones."""
    paths = (read_scope(name_stack(operation.location)).path for operation in body_of(function).operations)
    names = list(dict.fromkeys(path[0] for path in paths if path))
    return ", ".join([*names[:_SCOPES_SHOWN], *(["..."] if len(names) > _SCOPES_SHOWN else [])])


def _take_from_host(argument: ir.BlockArgument[ir.Type], function: func.FuncOp) -> None:
    """Let what computes with an argument that the plan has put on the host take it from there."""
    users = [(use.owner, use.operand_number) for use in argument.uses if not isinstance(use.owner, func.ReturnOp)]
    if not users:
        return
    with ir.InsertionPoint.at_block_begin(body_of(function)):
        here = annotate(argument, DEVICE, argument.location)
    for user, number in users:
        user.operation.operands[number] = here


def _put_results(function: func.FuncOp, on_host: Sequence[bool]) -> None:
    """Put each result into the memory that its buffer is in, where the fragment leaves it in another one."""
    *_, returning = body_of(function).operations
    for number, (value, is_on_host) in enumerate(zip(returning.operation.operands, on_host, strict=True)):
        if is_put_on_host(value) != is_on_host and not isinstance(value, ir.BlockArgument):
            with ir.InsertionPoint(returning):
                put = annotate(value, HOST if is_on_host else DEVICE, value.location)
            returning.operation.operands[number] = put


def _result_buffer(tensor: ir.Type, marks: ir.DictAttr, on_host: bool) -> Buffer:
    return buffer_of_type(tensor, spec_of(marks[SHARDING]) if SHARDING in marks else (), on_host)
