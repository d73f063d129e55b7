"""Attributes of MLIR as Python's values, and the other way round."""

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import Refusal, refuse

_Attributes = ir.OpAttributeMap | ir.DictAttr

# People edit dumps, so an attribute may be anything. Each of these readers gives the value of one that is there, or
# refuses what is of another form.


def integer_in(attributes: _Attributes, name: str, location: ir.Location) -> int:
    attribute = attributes[name]
    if not isinstance(attribute, ir.IntegerAttr):
        raise _of_another_form(attribute, name, location, "no integer", "0 : i32")
    return attribute.value


def integers_in(attributes: _Attributes, name: str, location: ir.Location) -> list[int]:
    attribute = attributes[name]
    if not isinstance(attribute, ir.DenseI64ArrayAttr):
        raise _of_another_form(attribute, name, location, "no list of integers", "array<i64: 0, 1>")
    return list(attribute)


def text_in(attributes: _Attributes, name: str, location: ir.Location) -> str:
    attribute = attributes[name]
    if not isinstance(attribute, ir.StringAttr):
        raise _of_another_form(attribute, name, location, "no text", '"..."')
    return attribute.value_bytes.decode(errors="replace")


def _of_another_form(attribute: ir.Attribute, name: str, location: ir.Location, form: str, example: str) -> Refusal:
    return refuse(location, f"{name} is {attribute}, which is {form}", f"write {name} = {example}")


# The same of what an operation has, None if it has none.


def integer_attribute(operation: ir.Operation, name: str) -> int | None:
    attributes = operation.attributes
    return integer_in(attributes, name, operation.location) if name in attributes else None


def text_of(operation: ir.Operation, name: str) -> str | None:
    attributes = operation.attributes
    return text_in(attributes, name, operation.location) if name in attributes else None


def integer(value: int, bits: int = 32) -> ir.IntegerAttr:
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(bits), value)


def unsigned(value: int) -> ir.IntegerAttr:
    """How a loop says the number of its iterations."""
    return ir.IntegerAttr.get(ir.IntegerType.get_unsigned(32), value)


def text_attribute(attributes: _Attributes, name: str) -> str | None:
    """A string attribute's value, or None if it is absent or no string."""
    if name not in attributes:
        return None
    value = attributes[name]
    return value.value_bytes.decode(errors="replace") if isinstance(value, ir.StringAttr) else None
