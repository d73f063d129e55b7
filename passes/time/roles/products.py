"""Products and loops that belong together: one of the model, and one that computes a gradient of it.

For `y = x @ w` the gradients are `dw = x^T @ dy` and `dx = dy @ w^T`. Each takes one factor of the product once more,
beside something that depends on its result, and contracts those dimensions of the factor that the product leaves free.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.module.graph import ARGUMENT, Graph
from atoll.passes.time.roles.equal_values import EqualValues

_Dimensions = frozenset[int]


class _Factor(NamedTuple):
    """What a product takes: a value by its number, the dimensions that are contracted, and those that are left free."""

    number: int
    contracted: _Dimensions
    free: _Dimensions


class Pair(NamedTuple):
    """An operation of the model, and one that computes the gradient of `of`, a value that it takes."""

    first: int
    second: int
    of: int


def pairs_of(graph: Graph, equal: EqualValues) -> list[Pair]:
    """The pairs of products and of loops. A product that has gradients itself is no gradient, but part of a model that
    takes one."""
    depends = _Dependence.of(graph, equal)
    found = [pair for pair in _pairs_of_products(graph, equal) if depends.on(pair.second, pair.first)]
    firsts = {pair.first for pair in found}
    loops: list[Pair] = []
    for pair in _pairs_of_loops(graph, equal):
        if depends.on(pair.second, pair.first) and all(pair.first != one.second for one in loops):
            loops.append(pair)
    return [*(pair for pair in found if pair.second not in firsts), *loops]


def _is_candidate(operation: ir.OpView) -> bool:
    return isinstance(operation, (stablehlo.DotGeneralOp, stablehlo.ConvolutionOp, stablehlo.WhileOp))


@dataclass(frozen=True)
class _Dependence:
    """For each operation a bit for each product or loop that it depends on; one that is computed again has the bit of
    the first time."""

    masks: list[int]
    bit: dict[int, int]

    @classmethod
    def of(cls, graph: Graph, equal: EqualValues) -> "_Dependence":
        masks: list[int] = []
        by_number: dict[int, int] = {}
        bit: dict[int, int] = {}
        for index, operation in enumerate(graph.operations):
            mask = 0
            for value in graph.operands[index]:
                producer = graph.producer[value]
                if producer != ARGUMENT:
                    mask |= masks[producer] | bit.get(producer, 0)
            masks.append(mask)
            if _is_candidate(operation) and graph.results[index]:
                number = equal.number[graph.results[index][0]]
                bit[index] = by_number.setdefault(number, 1 << len(by_number))
        return cls(masks, bit)

    def on(self, index: int, other: int) -> bool:
        return bool(self.masks[index] & self.bit[other])


def _pairs_of_products(graph: Graph, equal: EqualValues) -> Iterator[Pair]:
    known: dict[int, list[tuple[int, _Factor, int]]] = {}
    for index, operation in enumerate(graph.operations):
        if not isinstance(operation, (stablehlo.DotGeneralOp, stablehlo.ConvolutionOp)) or equal.is_again[index]:
            continue
        factors = _factors(graph, equal, index)
        for factor in factors:
            for first, other, of in known.get(factor.number, ()):
                if (factor.contracted or factor.free) and factor[1:] == (other.free, other.contracted):
                    yield Pair(first, index, of)
        for factor, other in (factors, factors[::-1]):
            known.setdefault(factor.number, []).append((index, factor, other.number))


def _pairs_of_loops(graph: Graph, equal: EqualValues) -> Iterator[Pair]:
    """A loop that takes what an earlier loop takes, and makes a value of its type: the gradient, layer by layer."""
    known: dict[int, list[int]] = {}
    for index, operation in enumerate(graph.operations):
        if not isinstance(operation, stablehlo.WhileOp) or equal.is_again[index]:
            continue
        # Loops of random generators take the same constants, and others count alike.
        taken = {equal.number[value] for value in graph.operands[index] if _may_have_gradient(graph, equal, value)}
        made = _made_types(operation)
        for number in taken:
            if graph.values[number].type in made:
                yield from (Pair(first, index, number) for first in known.get(number, ()))
        for number in taken:
            known.setdefault(number, []).append(index)


def _may_have_gradient(graph: Graph, equal: EqualValues, value: int) -> bool:
    type_ = graph.values[value].type
    is_real = isinstance(type_, ir.RankedTensorType) and isinstance(type_.element_type, ir.FloatType | ir.ComplexType)
    return is_real and not equal.is_constant[value]


def _made_types(loop: stablehlo.WhileOp) -> set[ir.Type]:
    """The types of what a loop changes from one iteration to the next."""
    body = loop.operation.regions[1].blocks[0]
    *_, terminator = body.operations
    carried = zip(body.arguments, terminator.operation.operands, strict=True)
    return {argument.type for argument, yielded in carried if argument != yielded}


def _factors(graph: Graph, equal: EqualValues, index: int) -> tuple[_Factor, _Factor]:
    operation = graph.operations[index]
    values = graph.operands[index]
    left, right = values[0], values[-1]  # a value that is both stands there once
    if isinstance(operation, stablehlo.DotGeneralOp):
        numbers = stablehlo.DotDimensionNumbers(operation.attributes["dot_dimension_numbers"])
        sides = (
            (left, numbers.lhs_contracting_dimensions, numbers.lhs_batching_dimensions),
            (right, numbers.rhs_contracting_dimensions, numbers.rhs_batching_dimensions),
        )
        one, other = (
            _seen_through(graph, equal, value, frozenset(contracted), _rest(graph, value, (*contracted, *batching)))
            for value, contracted, batching in sides
        )
        return one, other
    places = stablehlo.ConvDimensionNumbers(operation.attributes["dimension_numbers"])
    return (
        _seen_through(
            graph, equal, left, frozenset((places.input_feature_dimension,)), frozenset((places.input_batch_dimension,))
        ),
        _seen_through(
            graph,
            equal,
            right,
            frozenset((places.kernel_input_feature_dimension,)),
            frozenset((places.kernel_output_feature_dimension,)),
        ),
    )


def _shape(graph: Graph, value: int) -> list[int]:
    return list(ir.RankedTensorType(graph.values[value].type).shape)


def _rest(graph: Graph, value: int, taken: tuple[int, ...]) -> _Dimensions:
    return frozenset(range(len(_shape(graph, value)))) - frozenset(taken)


def _seen_through(graph: Graph, equal: EqualValues, value: int, contracted: _Dimensions, free: _Dimensions) -> _Factor:
    """What a factor is made of, seen through changes of its type and of the order and grouping of its dimensions."""
    value = equal.number[value]
    while (producer := graph.producer[value]) != ARGUMENT:
        operation = graph.operations[producer]
        if not isinstance(
            operation, (stablehlo.ConvertOp, stablehlo.ReverseOp, stablehlo.TransposeOp, stablehlo.ReshapeOp)
        ):
            break
        (source,) = graph.operands[producer]
        before = _dimensions_before(operation, _shape(graph, source), _shape(graph, value))
        moved = [frozenset(one for at in dimensions for one in before[at]) for dimensions in (contracted, free)]
        if moved[0] & moved[1]:
            break
        value, (contracted, free) = equal.number[source], moved
    shape = _shape(graph, value)
    return _Factor(value, *(frozenset(at for at in dimensions if shape[at] > 1) for dimensions in (contracted, free)))


def _dimensions_before(operation: ir.OpView, shape: list[int], result: list[int]) -> list[_Dimensions]:
    """For each dimension of the result those of the operand that it is made of."""
    if isinstance(operation, stablehlo.TransposeOp):
        return [frozenset((at,)) for at in ir.DenseI64ArrayAttr(operation.attributes["permutation"])]
    if not isinstance(operation, stablehlo.ReshapeOp):
        return [frozenset((at,)) for at in range(len(shape))]
    # A dimension is made of those with which it has a range of the elements' order in common.
    return [
        frozenset(other for other in range(len(shape)) if shape[other] > 1 and _overlap(result, at, shape, other))
        for at in range(len(result))
    ]


def _overlap(one: list[int], at: int, other: list[int], there: int) -> bool:
    """Whether two dimensions of arrays with equally many elements step over common strides."""
    inner, inner_there = prod(one[at + 1 :]), prod(other[there + 1 :])
    return max(inner, inner_there) < min(inner * one[at], inner_there * other[there])
