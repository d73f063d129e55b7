"""What the integer scalars of a loop's body are in each of its iterations.

Loops spell their indices in many ways: counted up, counted down, from a bound minus one, made positive, converted. They
are computed here for all iterations at once, rather than recognised by how they are spelt.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

import numpy
from atoll.compiler.batch_rules.nodes import Node, NodeTree
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.constants import splat_integer

_Numbers = "numpy.ndarray[Any, numpy.dtype[numpy.int64]]"


def _compare(node: Node, one: Any, other: Any) -> Any:  # noqa: ANN401 (arrays of numpy)
    said = str(node.operation.attributes["comparison_direction"])
    direction = next(name for name in _COMPARISONS if f" {name}>" in said)
    return _COMPARISONS[direction](one, other)


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "EQ": numpy.equal,
    "NE": numpy.not_equal,
    "GE": numpy.greater_equal,
    "GT": numpy.greater,
    "LE": numpy.less_equal,
    "LT": numpy.less,
}


def _divide(one: Any, other: Any) -> Any:  # noqa: ANN401 (arrays of numpy)
    """As StableHLO divides integers: rounded towards 0, and -1 if it is by 0."""
    quotient = abs(one) // numpy.maximum(abs(other), 1)
    return numpy.where(other == 0, -1, numpy.sign(one) * numpy.sign(other) * quotient)


COMPUTED: dict[str, Callable[..., Any]] = {
    "stablehlo.add": lambda _, one, other: one + other,
    "stablehlo.subtract": lambda _, one, other: one - other,
    "stablehlo.multiply": lambda _, one, other: one * other,
    "stablehlo.divide": lambda _, one, other: _divide(one, other),
    "stablehlo.remainder": lambda _, one, other: numpy.where(other == 0, one, one - other * _divide(one, other)),
    "stablehlo.sign": lambda _, one: numpy.sign(one),
    "stablehlo.negate": lambda _, one: -one,
    "stablehlo.maximum": lambda _, one, other: numpy.maximum(one, other),
    "stablehlo.minimum": lambda _, one, other: numpy.minimum(one, other),
    "stablehlo.and": lambda _, one, other: one & other,
    "stablehlo.or": lambda _, one, other: one | other,
    "stablehlo.select": lambda _, choice, one, other: numpy.where(choice != 0, one, other),
    "stablehlo.clamp": lambda _, least, value, most: numpy.minimum(numpy.maximum(value, least), most),
    "stablehlo.convert": lambda _, one: one,
    "stablehlo.reshape": lambda _, one: one,
    "stablehlo.broadcast_in_dim": lambda _, one: one,
    "stablehlo.compare": _compare,
}

# Beyond it a number may have wrapped around in the loop's own arithmetic.
_MOST = 2**31 - 1


class Scalars:
    """The integer scalars of a loop, computed as they are asked for.

    known: what is known of the body's arguments, for each iteration.
    same: for arguments of the body that the loop hands on as they are, the values outside of the loop.
    """

    def __init__(
        self,
        program: NodeTree,
        iterations: int,
        known: Mapping[int, Sequence[int]] = MappingProxyType({}),
        same: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self._program = program
        self._iterations = iterations
        self._same = same
        self._found: dict[int, Any] = {value: numpy.asarray(numbers) for value, numbers in known.items()}

    def of(self, value: int) -> list[int] | None:
        """The value in each iteration; None if that is not known."""
        numbers = self._numbers(value)
        return None if numbers is None else [int(one) for one in numpy.broadcast_to(numbers, (self._iterations,))]

    def _numbers(self, value: int) -> Any:  # noqa: ANN401 (an array of numpy, or None)
        if value not in self._found:
            self._found[value] = self._compute(value)
        return self._found[value]

    def _compute(self, value: int) -> Any:  # noqa: ANN401 (an array of numpy, or None)
        if value in self._same:
            return self._numbers(self._same[value])
        type_ = self._program.tensor(value)
        node = self._program.producers[value]
        if node is None or not isinstance(type_.element_type, ir.IntegerType):
            return None
        if node.name == "stablehlo.dynamic_slice":
            return self._looked_up(node)
        if prod(type_.shape) != 1:
            return None
        if node.name == "stablehlo.constant":
            return numpy.asarray(splat_integer(node.operation))
        compute = COMPUTED.get(node.name)
        operands = [self._numbers(one) for one in node.operands] if compute is not None else [None]
        if compute is None or any(one is None for one in operands):
            return None
        numbers = numpy.asarray(compute(node, *operands)).astype(numpy.int64)
        return numbers if numpy.all(abs(numbers) <= _MOST) else None

    def _looked_up(self, node: Node) -> Any:  # noqa: ANN401 (an array of numpy, or None)
        """An element of `0, 1, 2, ...`, which loops over layers take their number from."""
        table = self._program.producers[self._same.get(node.operands[0], node.operands[0])]
        if table is None or table.name != "stablehlo.iota" or len(table.result_shape()) != 1:
            return None
        if node.result_shape() != (1,):
            return None
        numbers = self._numbers(node.operands[1])
        # `dynamic_slice` moves a start that is out of bounds to the nearest that is not.
        return None if numbers is None else numpy.clip(numbers, 0, table.result_shape()[0] - 1)
