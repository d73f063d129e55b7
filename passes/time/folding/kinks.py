"""Proves that a choice between two floats makes no jump where it changes sides, as in `where(x > 0, x, 0)`."""

import math
from collections.abc import Callable, Mapping
from itertools import permutations

from atoll.compiler.batch_rules.nodes import Node, NodeTree
from atoll.compiler.mlir.constants import splat_number

# What is followed of how a number is made.
_DEEPEST = 12

# Continuous wherever they are defined; how each is computed matters only where it gives the same for both sides.
_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "abs": abs,
    "add": lambda a, b: a + b,
    "exponential": math.exp,
    "exponential_minus_one": math.expm1,
    "log_plus_one": math.log1p,
    "logistic": lambda a: 1 / (1 + math.exp(-a)),
    "maximum": max,
    "minimum": min,
    "multiply": lambda a, b: a * b,
    "negate": lambda a: -a,
    "subtract": lambda a, b: a - b,
    "tanh": math.tanh,
}
_PASSES = frozenset(f"stablehlo.{name}" for name in ("broadcast_in_dim", "convert", "reshape"))


def is_continuous(node: Node) -> bool:
    """Whether an operation chooses by a comparison of two floats, and gives the same on both sides where these are
    equal: `where(a > b, a, b)`, or `where(a > 1, f(a), g(a))` if f(1) is g(1)."""
    compare = node.program.producers[node.operands[0]] if node.name == "stablehlo.select" else None
    if compare is None or compare.name != "stablehlo.compare":
        return False
    compared, sides = compare.operands, node.operands[1:]
    if sorted(compared) == sorted(sides):
        return True
    if not any(f" {word}>" in str(compare.operation.attributes["comparison_direction"]) for word in _ORDERS):
        return False
    for value, border in permutations(compared):
        at = _number(node.program, border, {})
        if at is not None:
            one, other = (_number(node.program, side, {value: at}) for side in sides)
            return one is not None and one == other
    return False


_ORDERS = ("GE", "GT", "LE", "LT")


def is_number(program: NodeTree, value: int, number: float) -> bool:
    """Whether all elements of a value are this number."""
    return _number(program, value, {}) == number


def _number(program: NodeTree, value: int, known: Mapping[int, float], depth: int = 0) -> float | None:
    """The number that all elements of a value are, if some values are known; None if that does not follow."""
    if value in known:
        return known[value]
    node = program.producers[value]
    if node is None or depth == _DEEPEST:
        return None
    if node.name == "stablehlo.constant":
        return _constant(node)
    if node.name in _PASSES:
        return _number(program, node.operands[0], known, depth + 1)
    if node.name == "stablehlo.select" and is_continuous(node):  # where it changes sides both give the same
        sides = {_number(program, side, known, depth + 1) for side in node.operands[1:]}
        return sides.pop() if len(sides) == 1 else None
    function = _FUNCTIONS.get(node.name.removeprefix("stablehlo."))
    if function is None:
        return None
    numbers = [_number(program, one, known, depth + 1) for one in node.operands]
    if None in numbers:
        return None
    try:
        found = function(*numbers)
    except (OverflowError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _constant(node: Node) -> float | None:
    number = splat_number(node.operation)
    return float(number) if number is not None and math.isfinite(number) else None
