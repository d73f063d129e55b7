"""Attributes of MLIR as Python's values, and the other way round."""

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.diagnostics import refuse


def integer_attribute(operation: ir.Operation, name: str) -> int | None:
    """The attribute's value, None if it is absent; people edit dumps, so it may be anything."""
    attributes = operation.attributes
    return integer_in(attributes, name, operation.location) if name in attributes else None


def integer_in(attributes: ir.OpAttributeMap | ir.DictAttr, name: str, location: ir.Location) -> int:
    """The value of an attribute that is there."""
    attribute = attributes[name]
    if not isinstance(attribute, ir.IntegerAttr):
        raise refuse(location, f"{name} is {attribute}, which is no integer", f"write {name} = 0 : i32")
    return attribute.value


def integer(value: int, bits: int = 32) -> ir.IntegerAttr:
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(bits), value)


def unsigned(value: int) -> ir.IntegerAttr:
    """How a loop says the number of its iterations."""
    return ir.IntegerAttr.get(ir.IntegerType.get_unsigned(32), value)


def text_attribute(attributes: ir.OpAttributeMap | ir.DictAttr, name: str) -> str | None:
    """A string attribute's value, or None if it is absent or no string."""
    if name not in attributes:
        return None
    value = attributes[name]
    return value.value_bytes.decode(errors="replace") if isinstance(value, ir.StringAttr) else None
