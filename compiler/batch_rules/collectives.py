"""Rules for what the devices of a `shard_map` tell each other.

A value there is a device's own part, and a microbatch has its part of each of these. So devices exchange what they have
of one microbatch, and what arrives is of that microbatch as well.
"""

from collections.abc import Sequence

from atoll.compiler.batch_rules.elementwise import ALL_KINDS, every_dimension
from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.nodes import Node, kind_of_body
from atoll.compiler.batch_rules.rule import FactorRule, Linear


def _combines(node: Node) -> Linear | None:
    kind = kind_of_body(node)
    return Linear(together=tuple(range(len(node.operands))), kinds=frozenset((kind,))) if kind else None


def _moves(node: Node) -> Linear:
    """To devices that nobody sends anything come zeros, which are the same in every part and in the whole."""
    return Linear(together=tuple(range(len(node.operands))), kinds=ALL_KINDS)


def _gathered(node: Node) -> Sequence[Factor]:
    return _resized(node, node.integer("all_gather_dim"))


def _scattered(node: Node) -> Sequence[Factor]:
    return _resized(node, node.integer("scatter_dimension"))


def _resized(node: Node, dimension: int) -> Sequence[Factor]:
    """Of all dimensions, one has in the result the blocks of several devices, or only those for one."""
    factors = []
    for one in range(len(node.operand_shape())):
        scale = {(node.operand_shape(index)[one], made[one]) for index, made in _results(node)}
        if one != dimension:
            factors.append(_everywhere(node, one))
        elif len(scale) == 1 and all(*scale):
            ((before, after),) = scale
            factors.append(_everywhere(node, one, before, after))
    return factors


def _exchanged(node: Node) -> Sequence[Factor]:
    """A dimension is cut into a piece for each device, and the pieces that arrive are joined along another one."""
    cut, joined, count = (node.integer(name) for name in ("split_dimension", "concat_dimension", "split_count"))
    factors = []
    for one in range(len(node.operand_shape())):
        if one == cut == joined:
            # Pieces may change places if each of them begins with a block.
            first = node.operand_shape()[one] // count
            factors.append(Factor(*_dimensions(node, one), begins=first if count > 1 else 0))
        elif one in (cut, joined):
            factors.append(_everywhere(node, one, *((count, 1) if one == cut else (1, count))))
        else:
            factors.append(_everywhere(node, one))
    return factors


def _results(node: Node) -> Sequence[tuple[int, Sequence[int]]]:
    return [(index, node.result_shape(index)) for index in range(len(node.results))]


def _everywhere(node: Node, dimension: int, before: int = 1, after: int = 1) -> Factor:
    """The dimension of all operands and results, with blocks in this proportion."""
    operands, results = _dimensions(node, dimension)
    if before == after:
        return Factor(operands, results)
    return Factor(operands, results, scale=(before,) * len(operands) + (after,) * len(results))


def _dimensions(node: Node, dimension: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (dimension,) * len(node.operands), (dimension,) * len(node.results)


RULES = (
    FactorRule(
        ("stablehlo.all_reduce",), "each example with those of other devices at its place", every_dimension, _combines
    ),
    FactorRule(
        ("stablehlo.collective_broadcast", "stablehlo.collective_permute"),
        "every example by itself",
        every_dimension,
        _moves,
    ),
    FactorRule(("stablehlo.all_gather",), "as for `concatenate` of what devices have", _gathered, _moves),
    FactorRule(
        ("stablehlo.reduce_scatter",),
        "as for `all_reduce`; along the dimension that is scattered by whole blocks",
        _scattered,
        _combines,
    ),
    FactorRule(
        ("stablehlo.all_to_all",), "along dimensions of which whole blocks go to each device", _exchanged, _moves
    ),
)
