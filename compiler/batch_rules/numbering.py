"""Finds indices that count the examples: `x[jnp.arange(n), labels]` looks up each example in its own row."""

import math
from typing import Any

import numpy
from atoll.compiler.batch_rules.nodes import Node, NodeTree
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.constants import integers


def counted_dimension(indices: Node, operand: int, vector: int, component: int) -> int | None:
    """The dimension of the indices along which one of their components counts 0, 1, 2, …; None if it does not.

    vector: the dimension that holds the components of an index; the rank of the indices if there is only one.
    """
    program, value = indices.program, indices.operands[operand]
    shape = program.shape(value)
    if vector < len(shape) and shape[vector] > 1:
        found = _component(program, value, vector, component)
        if found is None:
            return None
        value = found
    return _counted(program, value)


def counted_dimension_of(program: NodeTree, value: int) -> int | None:
    """The dimension along which a value counts 0, 1, 2, …; None if it does not."""
    return _counted(program, value)


def _component(program: NodeTree, value: int, vector: int, component: int) -> int | None:
    """The value that a concatenation takes as this component of the indices."""
    node = program.producers[value]
    if node is None or node.name != "stablehlo.concatenate" or node.integer("dimension") != vector:
        return None
    for part in node.operands:
        size = program.shape(part)[vector]
        if component < size:
            return part if size == 1 else _component(program, part, vector, component)
        component -= size
    return None


def _counted(program: NodeTree, value: int) -> int | None:
    """The dimension d, if every element is its own position along d."""
    node = program.producers[value]
    if node is None:
        return None
    if node.name == "stablehlo.iota":
        return node.integer("iota_dimension")
    if node.name == "stablehlo.constant":
        return _counted_constant(node)
    if node.name == "stablehlo.select":
        # jnp selects between an index and, for negative ones, the same counted from the end; none here is negative.
        return _counted(program, node.operands[2]) if _is_below_zero(program, node.operands[0]) else None
    if node.name not in ("stablehlo.convert", "stablehlo.broadcast_in_dim", "stablehlo.reshape"):
        return None
    source = _counted(program, node.operands[0])
    if source is None:
        return None
    return _moved(node, source)


def _moved(node: Node, source: int) -> int | None:
    """Which dimension of the result a dimension of the operand becomes."""
    shape, result = node.operand_shape(), node.result_shape()
    if node.name == "stablehlo.convert":
        target = node.result_type().element_type
        return source if isinstance(target, ir.IntegerType) and shape[source] <= 1 << (target.width - 1) else None
    if node.name == "stablehlo.broadcast_in_dim":
        place = node.integers("broadcast_dimensions")[source]
        return place if result[place] == shape[source] else None
    before = math.prod(shape[:source])
    places = (place for place in range(len(result)) if math.prod(result[:place]) == before)
    return next((place for place in places if result[place] == shape[source]), None)


def _counted_constant(node: Node) -> int | None:
    numbers = integers(node.operation)
    if numbers is None:
        return None
    places: tuple[Any, ...] = numpy.indices(numbers.shape, sparse=True)
    return next((along for along, place in enumerate(places) if (numbers == place).all()), None)


def _is_below_zero(program: NodeTree, predicate: int) -> bool:
    """Whether it compares a counting value with 0 for less, or is the constant that jax has folded this into."""
    if program.is_identity(predicate, "or"):
        return True
    node = program.producers[predicate]
    if node is None or node.name != "stablehlo.compare":
        return False
    is_less = "LT" in str(node.operation.attributes["comparison_direction"])
    return is_less and _counted(program, node.operands[0]) is not None and program.is_identity(node.operands[1], "add")
