"""StableHLO's operations that combine many elements, or look them up, for `evaluated_operations`.

A body, of a reduction for example, is a function of a list of arrays. Most go element by element, so that what is
written for scalars does for whole arrays.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy
from atoll.compiler.mlir.bindings import chlo, ir, stablehlo
from evaluated_reading import UnknownError, dtype_of, ints, optional_ints, shape_of, whole
from numpy.lib.stride_tricks import sliding_window_view

Array = numpy.ndarray
Body = Callable[[list[Array]], list[Array]]
Compute = Callable[..., Any]

# What a body may have to go over whole arrays at once.
_BY_ELEMENT = frozenset(
    f"stablehlo.{name}"
    for name in (
        *("abs", "add", "and", "clamp", "compare", "complex", "constant", "convert", "divide", "imag", "is_finite"),
        *("maximum", "minimum", "multiply", "negate", "not", "or", "real", "remainder", "return", "select", "sign"),
        *("subtract", "xor"),
    )
)


_UFUNCS = {
    "stablehlo.add": numpy.add,
    "stablehlo.multiply": numpy.multiply,
    "stablehlo.maximum": numpy.maximum,
    "stablehlo.minimum": numpy.minimum,
}


def _check_by_element(operation: ir.Operation) -> None:
    for region in operation.regions:
        for one in region.blocks[0].operations:
            if one.operation.name not in _BY_ELEMENT:
                raise UnknownError(f"{one.operation.name} in {operation.name}")


def padded(one: Array, value: Array, low: Sequence[int], high: Sequence[int], between: Sequence[int]) -> Array:
    """With elements around and between those there are; less than none takes some away."""
    spread = tuple(max(0, size + (size - 1) * inner) for size, inner in zip(one.shape, between, strict=True))
    around = [(max(0, before), max(0, after)) for before, after in zip(low, high, strict=True)]
    shape = [before + size + after for size, (before, after) in zip(spread, around, strict=True)]
    result = numpy.full(shape, value, one.dtype)
    index = zip(around, spread, between, strict=True)
    result[tuple(slice(before, before + size, inner + 1) for (before, _), size, inner in index)] = one
    kept = zip(low, high, shape, strict=True)
    return result[tuple(slice(max(0, -before), size - max(0, -after)) for before, after, size in kept)]


def _ufunc(operation: ir.Operation) -> Any:
    """What numpy has for a body that combines two numbers by one operation; None if it does more."""
    (block,) = operation.regions[0].blocks
    first, *others = (one.operation for one in block.operations)
    is_single = len(block.arguments) == 2 and len(others) == 1 and first.name in _UFUNCS
    if not is_single or dtype_of(block.arguments[0]).kind not in "iuf":
        return None
    return _UFUNCS[first.name] if {*first.operands} == {*block.arguments} else None


def _folded(body: Body, initial: Sequence[Array], operands: Sequence[Array], ufunc: Any) -> list[Array]:
    """Along the first axis, one after the other; operands are of one shape."""
    if ufunc is not None:
        return [ufunc.reduce(operands[0], 0, dtype=operands[0].dtype, initial=initial[0][()])]
    rest = operands[0].shape[1:]
    found = [numpy.broadcast_to(one, rest) for one in initial]
    for number in range(len(operands[0])):
        found = body([*found, *(one[number] for one in operands)])
    return found


def _flattened(one: Array, dimensions: Sequence[int]) -> Array:
    """Some dimensions as one, in front of the others."""
    kept = [number for number in range(one.ndim) if number not in dimensions]
    moved = one.transpose([*sorted(dimensions), *kept])
    return moved.reshape(
        -1 if one.size else int(numpy.prod([one.shape[d] for d in dimensions])), *moved.shape[len(dimensions) :]
    )


def reduced(operation: ir.Operation) -> Compute:
    _check_by_element(operation)
    ufunc = _ufunc(operation)
    dimensions = ints(operation, "dimensions")
    shapes = [shape_of(one) for one in operation.results]

    def compute(operands: list[Array], body: Body) -> list[Array]:
        half = len(operands) // 2
        found = _folded(body, operands[half:], [_flattened(one, dimensions) for one in operands[:half]], ufunc)
        return [numpy.broadcast_to(one, shape) for one, shape in zip(found, shapes, strict=True)]

    return compute


def _windows(one: Array, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Array:
    """For each place of a window its elements, in dimensions of their own behind all others."""
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations, strict=True)]
    all_of = sliding_window_view(one, reach)
    return all_of[(*(slice(None, None, by) for by in strides), *(slice(None, None, by) for by in dilations))]


def _padding(operation: ir.Operation, rank: int) -> tuple[list[int], list[int]]:
    if "padding" not in operation.attributes:
        return [0] * rank, [0] * rank
    amounts = numpy.array(operation.attributes["padding"]).reshape(rank, 2)
    return amounts[:, 0].tolist(), amounts[:, 1].tolist()


def reduced_windows(operation: ir.Operation) -> Compute:
    _check_by_element(operation)
    ufunc = _ufunc(operation)
    sizes = ints(operation, "window_dimensions")
    rank, ones = len(sizes), [1] * len(sizes)
    strides = optional_ints(operation, "window_strides", ones)
    base = [one - 1 for one in optional_ints(operation, "base_dilations", ones)]
    dilations = optional_ints(operation, "window_dilations", ones)
    low, high = _padding(operation, rank)
    shapes = [shape_of(one) for one in operation.results]

    def compute(operands: list[Array], body: Body) -> list[Array]:
        half = len(operands) // 2
        values = [
            padded(one, value, low, high, base) for one, value in zip(operands[:half], operands[half:], strict=True)
        ]
        windows = [_flattened(_windows(one, sizes, strides, dilations), range(rank, 2 * rank)) for one in values]
        found = _folded(body, operands[half:], windows, ufunc)
        return [numpy.broadcast_to(one, shape) for one, shape in zip(found, shapes, strict=True)]

    return compute


def selected_and_scattered(operation: ir.Operation) -> Compute:
    """Of each window the element that is selected gets what the source has for the window."""
    _check_by_element(operation)
    rank = len(shape_of(operation.operands[0]))
    ones = [1] * rank
    sizes = optional_ints(operation, "window_dimensions", ones)
    strides = optional_ints(operation, "window_strides", ones)
    low, high = _padding(operation, rank)

    def compute(operands: list[Array], select: Body, scatter: Body) -> list[Array]:
        operand, source, initial = operands
        # The number of each element; outside of the operand there is none, and none is selected.
        numbers = numpy.arange(operand.size).reshape(operand.shape)
        windows = [
            _flattened(_windows(padded(one, value, low, high, [0] * rank), sizes, strides, ones), range(rank, 2 * rank))
            for one, value in ((operand, numpy.array(0, operand.dtype)), (numbers, numpy.array(-1)))
        ]
        values, places = (one.reshape(len(one), -1) for one in windows)
        chosen, best = places[0].copy(), values[0].copy()
        for value, place in zip(values[1:], places[1:], strict=True):
            keeps = ((chosen >= 0) & select([best, value])[0]) | (place < 0)
            chosen, best = numpy.where(keeps, chosen, place), numpy.where(keeps, best, value)
        result = numpy.broadcast_to(initial, operand.size).copy()
        for place, given in zip(chosen, source.reshape(-1), strict=True):
            result[place] = scatter([result[place], given])[0]
        return [result.reshape(operand.shape)]

    return compute


# Products.


def dots(operation: ir.Operation) -> Compute:
    numbers = stablehlo.DotDimensionNumbers(operation.attributes["dot_dimension_numbers"])
    batches = list(numbers.lhs_batching_dimensions), list(numbers.rhs_batching_dimensions)
    summed = list(numbers.lhs_contracting_dimensions), list(numbers.rhs_contracting_dimensions)
    dtype, shape = dtype_of(operation.results[0]), shape_of(operation.results[0])

    def matrices(one: Array, batch: list[int], contracted: list[int], is_first: bool) -> Array:
        kept = [number for number in range(one.ndim) if number not in (*batch, *contracted)]
        order = [*batch, *kept, *contracted] if is_first else [*batch, *contracted, *kept]
        sizes = [int(numpy.prod([one.shape[d] for d in some], dtype=int)) for some in (batch, kept, contracted)]
        ends = sizes[1:] if is_first else sizes[:0:-1]
        return one.transpose(order).reshape(sizes[0], *ends).astype(dtype, copy=False)

    def compute(one: Array, other: Array) -> Array:
        first = matrices(one, batches[0], summed[0], True)
        second = matrices(other, batches[1], summed[1], False)
        return numpy.matmul(first, second).reshape(shape)

    return compute


def ragged(operation: ir.Operation) -> Compute:
    """Rows times the matrix of their group, or the product of two groups of rows for each group."""
    numbers = chlo.RaggedDotDimensionNumbers(operation.attributes["ragged_dot_dimension_numbers"])
    (rows,), groups = numbers.lhs_ragged_dimensions, list(numbers.rhs_group_dimensions)
    summed = [list(numbers.lhs_contracting_dimensions), list(numbers.rhs_contracting_dimensions)]
    dtype, shape = dtype_of(operation.results[0]), shape_of(operation.results[0])
    if rows != 0 or groups not in ([], [0]) or list(numbers.lhs_batching_dimensions):
        raise UnknownError("a ragged product along other dimensions")

    def compute(one: Array, other: Array, sizes: Array) -> Array:
        result, ends = numpy.zeros(shape, dtype), numpy.cumsum(sizes)
        for group, (size, end) in enumerate(zip(sizes, ends, strict=True)):
            part = one[end - size : end]
            if groups:
                within = [dimension - 1 for dimension in summed[1]]
                result[end - size : end] = numpy.tensordot(part, other[group], (summed[0], within))
            else:
                result[group] = numpy.tensordot(part, other[end - size : end], (summed[0], summed[1]))
        return result

    return compute


def convolved(operation: ir.Operation) -> Compute:
    """A window of the padded input for each place, times the kernel, group by group."""
    numbers = stablehlo.ConvDimensionNumbers(operation.attributes["dimension_numbers"])
    spatial = len(numbers.input_spatial_dimensions)
    ones = [1] * spatial
    strides = optional_ints(operation, "window_strides", ones)
    inner = [one - 1 for one in optional_ints(operation, "lhs_dilation", ones)]
    dilations = optional_ints(operation, "rhs_dilation", ones)
    low, high = _padding(operation, spatial)
    is_reversed = "window_reversal" in operation.attributes and any(
        ir.DenseBoolArrayAttr(operation.attributes["window_reversal"])
    )
    groups, batch_groups = whole(operation, "feature_group_count"), whole(operation, "batch_group_count")
    dtype = dtype_of(operation.results[0])
    if is_reversed and not all(ir.DenseBoolArrayAttr(operation.attributes["window_reversal"])):
        raise UnknownError("a window that is reversed along some dimensions")
    order_in = [numbers.input_batch_dimension, numbers.input_feature_dimension, *numbers.input_spatial_dimensions]
    order_kernel = [
        numbers.kernel_output_feature_dimension,
        numbers.kernel_input_feature_dimension,
        *numbers.kernel_spatial_dimensions,
    ]
    places = [numbers.output_batch_dimension, numbers.output_feature_dimension, *numbers.output_spatial_dimensions]

    def one_group(values: Array, kernel: Array) -> Array:
        windows = _windows(values, [1, 1, *kernel.shape[2:]], [1, 1, *strides], [1, 1, *dilations])
        windows = windows.reshape(*windows.shape[: 2 + spatial], *windows.shape[4 + spatial :])
        over = range(2 + spatial, 2 + 2 * spatial)
        made = numpy.tensordot(windows, kernel, ([1, *over], [1, *range(2, 2 + spatial)]))
        return numpy.moveaxis(made, -1, 1)

    def compute(one: Array, kernel: Array) -> Array:
        values, kernel = one.transpose(order_in), kernel.transpose(order_kernel)
        zero = numpy.zeros((), values.dtype)
        values = padded(values, zero, [0, 0, *low], [0, 0, *high], [0, 0, *inner])
        if is_reversed:
            kernel = numpy.flip(kernel, range(2, 2 + spatial))
        if batch_groups > 1:
            parts = zip(numpy.split(values, batch_groups, 0), numpy.split(kernel, batch_groups, 0), strict=True)
        else:
            parts = zip(numpy.split(values, groups, 1), numpy.split(kernel, groups, 0), strict=True)
        made = numpy.concatenate([one_group(*part) for part in parts], 1).astype(dtype, copy=False)
        return made.transpose(numpy.argsort(places))

    return compute


def fourier(operation: ir.Operation) -> Compute:
    kind = stablehlo.FftTypeAttr(operation.attributes["fft_type"]).value
    sizes = ints(operation, "fft_length")
    transform = {"FFT": numpy.fft.fftn, "IFFT": numpy.fft.ifftn, "RFFT": numpy.fft.rfftn, "IRFFT": numpy.fft.irfftn}
    dtype, axes = dtype_of(operation.results[0]), range(-len(sizes), 0)
    return lambda one: transform[kind](one, sizes, axes).astype(dtype)


# Sorting, and indices that are values.


def sorted_along(operation: ir.Operation) -> Compute:
    """Neighbours change places until none have to: all lines at once, and equal elements stay in their order."""
    _check_by_element(operation)
    dimension = whole(operation, "dimension")

    def compute(operands: list[Array], is_before: Body) -> list[Array]:
        lines = [numpy.moveaxis(one, dimension, 0).copy() for one in operands]
        length = len(lines[0])
        for turn in range(length):
            first = slice(turn % 2, length - 1, 2)
            second = slice(turn % 2 + 1, length, 2)
            pairs = [(one[first].copy(), one[second].copy()) for one in lines]
            if not len(pairs[0][0]):
                continue
            swaps = is_before(list(itertools.chain.from_iterable((other, one) for one, other in pairs)))[0]
            for line, (one, other) in zip(lines, pairs, strict=True):
                line[first], line[second] = numpy.where(swaps, other, one), numpy.where(swaps, one, other)
        return [numpy.moveaxis(one, 0, dimension) for one in lines]

    return compute


def _index_columns(indices: Array, vector: int) -> tuple[Array, list[int]]:
    """Each vector of indices as a last dimension; and the shape in front of it."""
    if vector == indices.ndim:
        indices = indices[..., None]
    moved = numpy.moveaxis(indices, vector, -1).astype(numpy.int64)
    return moved, list(moved.shape[:-1])


def _first_elements(
    indices: Array, vector: int, named: Sequence[int], paired: Sequence[tuple[int, int]], rank: int
) -> list[Array]:
    """Where each window begins, for each dimension of the operand.

    named: the dimension that each column of the indices is for.
    paired: dimensions of the operand and of the indices that go together.
    """
    moved, shape = _index_columns(indices, vector)
    starts = [numpy.zeros(shape, numpy.int64)] * rank
    for column, dimension in enumerate(named):
        starts[dimension] = moved[..., column]
    for dimension, other in paired:
        place = other - (other > vector)
        line = [size if number == place else 1 for number, size in enumerate(shape)]
        starts[dimension] = numpy.broadcast_to(numpy.arange(shape[place]).reshape(line), shape)
    return starts


def gathered(operation: ir.Operation) -> Compute:
    numbers = stablehlo.GatherDimensionNumbers(operation.attributes["dimension_numbers"])
    sizes, vector = ints(operation, "slice_sizes"), numbers.index_vector_dim
    named, offset = list(numbers.start_index_map), list(numbers.offset_dims)
    paired = list(zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True))
    dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [number for number in range(len(sizes)) if number not in dropped]

    def compute(one: Array, indices: Array) -> Array:
        starts = _first_elements(indices, vector, named, paired, one.ndim)
        index = []
        for number, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            start = numpy.clip(start, 0, one.shape[number] - size).reshape((*start.shape, *[1] * len(kept)))
            if number in kept:
                line = [size if other == number else 1 for other in kept]
                start = start + numpy.arange(size).reshape(line)
            index.append(start)
        found = one[tuple(index)]
        found = numpy.broadcast_to(found, (*starts[0].shape, *(sizes[number] for number in kept)))
        rest = [number for number in range(found.ndim) if number not in offset]
        return found.transpose(numpy.argsort([*rest, *offset]))

    return compute


def scattered(operation: ir.Operation) -> Compute:
    """Window by window, in the order of the updates; a window that is not all inside of the operand is left out."""
    _check_by_element(operation)
    numbers = stablehlo.ScatterDimensionNumbers(operation.attributes["scatter_dimension_numbers"])
    vector, named = numbers.index_vector_dim, list(numbers.scattered_dims_to_operand_dims)
    window = list(numbers.update_window_dims)
    paired = list(zip(numbers.input_batching_dims, numbers.scatter_indices_batching_dims, strict=True))
    dropped = {*numbers.inserted_window_dims, *numbers.input_batching_dims}
    rank = len(shape_of(operation.operands[0]))
    kept = [number for number in range(rank) if number not in dropped]

    def compute(operands: list[Array], body: Body) -> list[Array]:
        half = len(operands) // 2
        values, indices, updates = operands[:half], operands[half], operands[half + 1 :]
        starts = _first_elements(indices, vector, named, paired, rank)
        rest = [number for number in range(updates[0].ndim) if number not in window]
        updates = [one.transpose([*rest, *window]) for one in updates]
        sizes = dict(zip(kept, updates[0].shape[len(rest) :], strict=True))
        is_inside, index = numpy.ones(starts[0].shape, bool), []
        for number, start in enumerate(starts):
            size = sizes.get(number, 1)
            is_inside = is_inside & (start >= 0) & (start <= values[0].shape[number] - size)
            start = start.reshape((*start.shape, *[1] * len(kept)))
            if number in sizes:
                start = start + numpy.arange(size).reshape([size if other == number else 1 for other in kept])
            index.append(start)
        results = [one.copy() for one in values]
        index = [numpy.broadcast_to(one, updates[0].shape) for one in index]
        for number in filter(is_inside.__getitem__, numpy.ndindex(is_inside.shape)):
            place = tuple(one[number] for one in index)
            made = body([*(one[place] for one in results), *(one[number] for one in updates)])
            for result, one in zip(results, made, strict=True):
                result[place] = one
        return results

    return compute
