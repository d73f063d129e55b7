"""Constants whose numbers stand in a resource of the module are given them as all others have theirs.

MLIR has two forms for many numbers: `dense<...>`, an attribute, and `dense_resource<NAME>`, a name for bytes that the
context keeps and the text has at its end. The bindings read only the first. So whoever takes in a module from elsewhere
gives constants this form, and nothing behind that knows of another one.
"""

import re
from collections.abc import Mapping
from math import prod

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.constants import given_value, print_operation
from atoll.compiler.mlir.diagnostics import Refusal, refuse

# Of StableHLO and the dialects beside it: which operations may hold a resource.
_CONSTANTS = frozenset(("stablehlo.constant", "chlo.constant", "sdy.constant"))
_ELIDED = "__elided__"
# The bytes in front of a resource's data, which say how it wants to be aligned.
_ALIGNMENT = 4
_SECTION = re.compile(r"^  dialect_resources: \{.*?^    builtin: \{\n(.*?)^    \}", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r'^      (\S.*): "0x([0-9A-Fa-f]*)",?$', re.MULTILINE)


def write_out_resources(module: ir.Module) -> None:
    """Give every constant of a module its numbers as `dense<...>`; a Refusal of one that has none, or another form."""
    found: list[tuple[ir.Operation, str]] = []

    def look_at(operation: ir.Operation) -> ir.WalkResult:
        if operation.name in _CONSTANTS and (text := _other_form(operation)):
            found.append((operation, text))
        return ir.WalkResult.ADVANCE

    module.operation.walk(look_at)
    # The bindings have no way to a resource's bytes, but MLIR prints them.
    resources = _resources(module) if found else {}
    for operation, text in found:
        operation.attributes["value"] = _dense(operation, text, resources)


def _other_form(constant: ir.Operation) -> str:
    """How a constant's value is written, if that is not dense."""
    value = given_value(constant)
    if value is None or isinstance(value, ir.DenseElementsAttr):
        return ""
    return str(value)


def _resources(module: ir.Module) -> Mapping[str, bytes]:
    """The data of each resource by its name, as names are printed."""
    section = _SECTION.search(print_operation(module.operation).rpartition("\n{-#\n")[2])
    entries = _ENTRY.findall(section[1]) if section else []
    return {name: bytes.fromhex(digits)[_ALIGNMENT:] for name, digits in entries}


def _dense(constant: ir.Operation, text: str, resources: Mapping[str, bytes]) -> ir.Attribute:
    name = text.removeprefix("dense_resource<").rpartition("> : ")[0]
    type_ = ir.RankedTensorType(constant.results[0].type)
    if not text.startswith("dense_resource<"):
        form = text.partition("<")[0]
        raise refuse(
            constant.location, f"a constant is written as {form}<...>", "write all of its numbers, as dense<...>"
        )
    if name not in resources:
        raise _without_numbers(constant, name)
    return _of_bytes(constant, resources[name], type_, name)


def _of_bytes(constant: ir.Operation, data: bytes, type_: ir.RankedTensorType, name: str) -> ir.Attribute:
    count = prod(type_.shape)
    with constant.location:
        try:
            if count:  # the bytes of one element would be taken for those of all
                scalar = ir.RankedTensorType.get([], type_.element_type)
                ir.DenseElementsAttr.get(data[: len(data) // count], type=scalar)
            return ir.DenseElementsAttr.get(data, type=type_)
        except ValueError:
            what = f"resource {name} has {len(data)} bytes, which are not the numbers of a {type_}"
            raise refuse(constant.location, what, "print the module anew, with the program that made it") from None


def _without_numbers(constant: ir.Operation, name: str) -> Refusal:
    if name == _ELIDED:
        what = "a constant has no numbers: they were left out when the module was printed"
        return refuse(constant.location, what, "print it with all of them, or save it as bytecode")
    what = f"a constant takes its numbers from the resource {name}, which the module does not have"
    return refuse(constant.location, what, "save the module as bytecode, or print it with its resources")
