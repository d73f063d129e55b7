"""Reads and writes `func.func` operations by their attributes.

The bindings' own accessors on `FuncOp` are added at run time, where no type checker sees them.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from atoll.compiler.mlir.bindings import func, ir
from atoll.compiler.mlir.diagnostics import refuse

_Op = TypeVar("_Op", bound=ir.OpView)


def functions_in(module: ir.Module) -> dict[str, func.FuncOp]:
    """The functions that stand directly in the module, by name."""
    return {symbol_name(op): op for op in module.body.operations if isinstance(op, func.FuncOp)}


def operations_in(operation: ir.Operation | ir.OpView, kind: type[_Op]) -> list[_Op]:
    """The operations of a kind: this one, and those in all its regions, outer before inner.

    A list, as the bindings turn an exception that is raised during a walk into one of another class.
    """
    if not len(operation.operation.regions):  # most have none, and a walk takes longer than this question
        view = operation.operation.opview
        return [view] if isinstance(view, kind) else []
    found: list[_Op] = []

    def note(inner: ir.Operation) -> ir.WalkResult:
        view = inner.opview
        assert isinstance(view, kind)
        found.append(view)
        return ir.WalkResult.ADVANCE

    operation.operation.walk(note, ir.WalkOrder.PRE_ORDER, kind)
    return found


def is_used(value: "ir.Value[ir.Type]") -> bool:
    return any(True for _ in value.uses)


def operands_within(operation: ir.OpView) -> "Iterable[ir.Value[ir.Type]]":
    """The operands of an operation and of all operations in its regions."""
    if not len(operation.operation.regions):  # of most, which are asked for again and again
        return operation.operation.operands
    return chain.from_iterable(inner.operation.operands for inner in operations_in(operation, ir.OpView))


def replace_within(operation: ir.OpView, replaced: "Mapping[ir.Value[ir.Type], ir.Value[ir.Type]]") -> None:
    """Let an operation, and all operations in its regions, take other values in place of some."""
    if not replaced:
        return
    for inner in operations_in(operation, ir.OpView):
        for number, operand in enumerate(list(inner.operation.operands)):
            if operand in replaced:
                inner.operation.operands[number] = replaced[operand]


def new_private_function(
    name: str, inputs: Sequence[ir.Type], results: Sequence[ir.Type], location: ir.Location
) -> func.FuncOp:
    """A function without a body, at the current insertion point."""
    attributes = {
        "sym_name": ir.StringAttr.get(name),
        "sym_visibility": ir.StringAttr.get("private"),
        "function_type": ir.TypeAttr.get(ir.FunctionType.get(list(inputs), list(results))),
    }
    made = ir.Operation.create("func.func", attributes=attributes, regions=1, loc=location).opview
    assert isinstance(made, func.FuncOp)
    return made


def empty_copy(
    function: func.FuncOp, inputs: Sequence[ir.Type], locations: Sequence[ir.Location], results: Sequence[ir.Type]
) -> func.FuncOp:
    """A function with an empty block, in front of another one; it has that one's attributes, but a type of its own."""
    attributes = named_attributes(function.operation.attributes)
    attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(list(inputs), list(results)))
    made = ir.Operation.create(
        "func.func", attributes=attributes, regions=1, loc=function.location, ip=ir.InsertionPoint(function)
    ).opview
    assert isinstance(made, func.FuncOp)
    made.regions[0].blocks.append(*inputs, arg_locs=list(locations))
    return made


def named_attributes(attributes: ir.OpAttributeMap | ir.DictAttr) -> dict[str, ir.Attribute]:
    """Attributes by name; the bindings' two kinds of maps have no common way to list them."""
    if isinstance(attributes, ir.DictAttr):
        return {attributes[index].name: attributes[index].attr for index in range(len(attributes))}
    return {name: attributes[name] for name in attributes}


def symbol_name(function: func.FuncOp) -> str:
    name = ir.StringAttr(function.attributes["sym_name"]).value_bytes
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise refuse(function.location, f"the function name {name!r} is not UTF-8", "rename the function") from None


def is_private(function: func.FuncOp) -> bool:
    attributes = function.attributes
    return "sym_visibility" in attributes and ir.StringAttr(attributes["sym_visibility"]).value == "private"


def set_public(function: func.FuncOp, name: str) -> None:
    """Give a function another name and make it an entry of its module."""
    function.attributes["sym_name"] = ir.StringAttr.get(name, context=function.context)
    function.attributes["sym_visibility"] = ir.StringAttr.get("public", context=function.context)


def body_of(function: func.FuncOp) -> ir.Block:
    """The only block of a function that has one."""
    block: ir.Block = function.regions[0].blocks[0]
    return block


def arguments_of(function: func.FuncOp) -> list[ir.BlockArgument[ir.Type]]:
    return list(body_of(function).arguments)


def type_of(function: func.FuncOp) -> ir.FunctionType:
    return ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)


def set_inputs(function: func.FuncOp, inputs: Sequence[ir.Type], attributes: Sequence[ir.DictAttr]) -> None:
    """Change the argument types and their attributes in the signature; the caller changes the block."""
    results = type_of(function).results
    function.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(list(inputs), results))
    set_argument_attributes(function, attributes)


def argument_attributes(function: func.FuncOp) -> list[ir.DictAttr]:
    """A dictionary for each argument, empty if that carries no attributes."""
    return _dictionaries(function, "arg_attrs", len(type_of(function).inputs))


def result_attributes(function: func.FuncOp) -> list[ir.DictAttr]:
    """A dictionary for each result, empty if that carries no attributes."""
    return _dictionaries(function, "res_attrs", len(type_of(function).results))


def set_argument_attributes(function: func.FuncOp, attributes: Sequence[ir.DictAttr]) -> None:
    function.attributes["arg_attrs"] = ir.ArrayAttr.get(list(attributes))


def set_result_attributes(function: func.FuncOp, attributes: Sequence[ir.DictAttr]) -> None:
    function.attributes["res_attrs"] = ir.ArrayAttr.get(list(attributes))


def _dictionaries(function: func.FuncOp, name: str, count: int) -> list[ir.DictAttr]:
    if name not in function.attributes:
        return [ir.DictAttr.get({}, context=function.context)] * count
    return [ir.DictAttr(attribute) for attribute in ir.ArrayAttr(function.attributes[name])]
