"""Which memory values are in: jax says it in annotations of values, and in attributes of `@main`."""

from typing import Any

from atoll.compiler.mlir.bindings import ir, stablehlo

# As jax calls them. The chip's own memory is where a value is of which nothing is said.
DEVICE = "device"
HOST = "pinned_host"

# The attribute of an argument or a result of `@main`.
MEMORY_KIND = "mhlo.memory_kind"

# What jax makes of `jax.device_put` within a function, for platforms that have several memories.
ANNOTATION = "annotate_device_placement"
_FRONTEND = "mhlo.frontend_attributes"
_PLACEMENT = "_xla_buffer_placement"


def is_annotation(operation: ir.OpView) -> bool:
    """Whether it hands on a value, and says which memory that is in."""
    return isinstance(operation, stablehlo.CustomCallOp) and target_of(operation) == ANNOTATION


def target_of(call: stablehlo.CustomCallOp) -> str:
    """What a custom call calls."""
    return ir.StringAttr(call.attributes["call_target_name"]).value


def annotated_kind(operation: ir.OpView) -> str:
    """The memory that an annotation says."""
    said = ir.DictAttr(operation.operation.attributes[_FRONTEND])
    return ir.StringAttr(said[_PLACEMENT]).value


def kind_in(marks: ir.DictAttr) -> str:
    """The memory that an argument or a result of `@main` is in."""
    return ir.StringAttr(marks[MEMORY_KIND]).value if MEMORY_KIND in marks else DEVICE


def annotate(value: ir.Value[Any], kind: str, location: ir.Location) -> ir.Value[Any]:
    """The value in that memory, made at the current point of insertion."""
    attributes = {
        "call_target_name": ir.StringAttr.get(ANNOTATION),
        "has_side_effect": ir.BoolAttr.get(True),
        _FRONTEND: ir.DictAttr.get({_PLACEMENT: ir.StringAttr.get(kind)}),
    }
    made: ir.Operation = ir.Operation.create(
        "stablehlo.custom_call", results=[value.type], operands=[value], attributes=attributes, loc=location
    )
    result: ir.Value[Any] = made.results[0]
    return result
