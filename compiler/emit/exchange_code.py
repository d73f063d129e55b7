"""The small fragments of which exchanges between replicas are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from atoll.compiler.batch_rules.states import COMBINE
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.ir_text import to_bytecode
from atoll.runtime.program import Buffer, Code


@dataclass(frozen=True)
class ExchangedArray:
    """An array in an exchange: what it is on its island, and how MLIR calls its elements."""

    buffer: Buffer
    element: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.buffer.shape

    @property
    def type(self) -> str:
        return f"tensor<{''.join(f'{size}x' for size in self.shape)}{self.element}>"

    def parts(self, axes: Mapping[str, int]) -> tuple[int, ...]:
        """For each dimension, into how many its devices divide it; axes: the sizes of the island's."""
        spec = self.buffer.spec or ((),) * len(self.shape)
        return tuple(prod(axes[axis] for axis in one) for one in spec)

    def reshaped(self, shape: tuple[int, ...]) -> "ExchangedArray":
        """A whole one of another shape, or one of the same rank that is divided likewise."""
        spec = self.buffer.spec if len(shape) == len(self.shape) else ()
        return ExchangedArray(Buffer(shape, self.buffer.dtype, spec), self.element)

    def flat(self) -> "ExchangedArray":
        return ExchangedArray(Buffer((prod(self.shape),), self.buffer.dtype), self.element)

    def cut(self, dimension: int, start: int, stop: int) -> "ExchangedArray":
        """A slice of it."""
        return self.with_length(dimension, stop - start)

    def with_length(self, dimension: int, length: int) -> "ExchangedArray":
        """One that has another length along a dimension, and is divided likewise."""
        return self.reshaped((*self.shape[:dimension], length, *self.shape[dimension + 1 :]))


@dataclass(frozen=True)
class Slicing:
    """How an array is cut into slices along a dimension: within each of the parts that devices have of it.

    bounds: of each slice, within a part. A slice has the same stretch of all parts, and is divided as the whole is, so
    that no device needs anything that another one has.
    """

    dimension: int
    parts: int
    bounds: tuple[tuple[int, int], ...]

    def of(self, whole: ExchangedArray) -> "tuple[ExchangedArray, ...]":
        """The slices."""
        return tuple(whole.with_length(self.dimension, self.parts * (stop - start)) for start, stop in self.bounds)

    def with_parts(self, array: ExchangedArray) -> ExchangedArray:
        """The array with a dimension for the parts, in front of the one that is cut."""
        shape, dimension = array.shape, self.dimension
        own = shape[dimension] // self.parts
        return array.reshaped((*shape[:dimension], self.parts, own, *shape[dimension + 1 :]))


@dataclass(frozen=True)
class Shared:
    """An array of which each replica has a share, or takes one. dimension: along which shares are the whole.

    The devices of an island may divide the one otherwise than the other.
    """

    whole: ExchangedArray
    share: ExchangedArray
    dimension: int

    def bounds(self, replica: int) -> tuple[int, int]:
        """Where a replica's share is in the whole."""
        size = self.share.shape[self.dimension]
        return replica * size, (replica + 1) * size


class _Function:
    """`@main` of a fragment as text, as it grows."""

    def __init__(self, inputs: Sequence[ExchangedArray]) -> None:
        self.inputs = list(inputs)
        self.arguments = [f"%a{number}" for number in range(len(inputs))]
        self._lines: list[str] = []

    def make(self, text: str) -> str:
        """An operation with one result; returns the result."""
        name = f"%{len(self._lines)}"
        self._lines.append(f"{name} = {text}")
        return name

    def reshape(self, value: str, source: ExchangedArray, target: ExchangedArray) -> str:
        if source.shape == target.shape:
            return value
        return self.make(f"stablehlo.reshape {value} : ({source.type}) -> {target.type}")

    def concatenate(
        self, values: Sequence[str], sources: Sequence[ExchangedArray], dimension: int, target: ExchangedArray
    ) -> str:
        if len(values) == 1:
            return values[0]
        types = ", ".join(one.type for one in sources)
        made = f"({', '.join(values)}) {{dimension = {dimension} : i64}} : ({types}) -> {target.type}"
        return self.make(f'"stablehlo.concatenate"{made}')

    def cut(self, value: str, source: ExchangedArray, dimension: int, start: int, stop: int) -> str:
        ranges = [f"0:{size}" for size in source.shape]
        ranges[dimension] = f"{start}:{stop}"
        target = source.cut(dimension, start, stop)
        return self.make(f"stablehlo.slice {value} [{', '.join(ranges)}] : ({source.type}) -> {target.type}")

    def combine(self, kind: str, values: Sequence[str], array: ExchangedArray) -> str:
        """From the first to the last."""
        total = values[0]
        for value in values[1:]:
            total = self.make(f"{COMBINE[kind]} {total}, {value} : {array.type}")
        return total

    def code(self, name: str, values: Sequence[str], results: Sequence[ExchangedArray], context: ir.Context) -> Code:
        given = ", ".join(f"{name}: {one.type}" for name, one in zip(self.arguments, self.inputs, strict=True))
        types = ", ".join(one.type for one in results)
        lines = [*self._lines, f"return {', '.join(values)} : {types}"]
        text = f"func.func public @main({given}) -> ({types}) {{\n" + "\n".join(lines) + "\n}"
        module = ir.Module.parse(text, context)
        return Code(name, to_bytecode(module), tuple(one.buffer for one in results))


def vector_of(members: Sequence[ExchangedArray]) -> ExchangedArray:
    """What packed arrays make up; one alone stays as it is."""
    if len(members) == 1:
        return members[0]
    return members[0].flat().cut(0, 0, sum(prod(one.shape) for one in members))


def pack_code(members: Sequence[ExchangedArray], context: ir.Context) -> Code:
    """Arrays -> their vector."""
    function = _Function(members)
    return function.code(
        "exchange_pack", [_packed(function, members, function.arguments)], [vector_of(members)], context
    )


def cut_code(members: Sequence[ExchangedArray], slicing: Slicing, context: ir.Context) -> Code:
    """Arrays -> the slices of their vector."""
    function, vector = _Function(members), vector_of(members)
    packed = _packed(function, members, function.arguments)
    made = slicing.of(vector)
    if slicing.parts == 1:
        slices = [function.cut(packed, vector, slicing.dimension, *one) for one in slicing.bounds]
    else:
        inside, along = slicing.with_parts(vector), slicing.dimension + 1
        packed = function.reshape(packed, vector, inside)
        slices = [
            function.reshape(function.cut(packed, inside, along, *bounds), inside.cut(along, *bounds), one)
            for bounds, one in zip(slicing.bounds, made, strict=True)
        ]
    return function.code("exchange_cut", slices, made, context)


def combine_code(members: Sequence[ExchangedArray], kind: str, replicas: int, context: ir.Context) -> Code:
    """The vectors of all replicas -> the arrays that they make up together."""
    vector = vector_of(members)
    function = _Function([vector] * replicas)
    total = function.combine(kind, function.arguments, vector)
    return function.code("exchange_combine", _unpacked(function, total, members), members, context)


def add_code(part: ExchangedArray, kind: str, context: ir.Context) -> Code:
    """What a slice is so far and what one replica adds -> what it is then."""
    function = _Function([part, part])
    return function.code("exchange_add", [function.combine(kind, function.arguments, part)], [part], context)


def join_code(members: Sequence[ExchangedArray], slicing: Slicing, context: ir.Context) -> Code:
    """The slices of a vector -> its arrays."""
    vector, slices = vector_of(members), slicing.of(vector_of(members))
    function = _Function(slices)
    if slicing.parts == 1:
        joined = function.concatenate(function.arguments, slices, slicing.dimension, vector)
    else:
        inside = [slicing.with_parts(one) for one in slices]
        values = map(function.reshape, list(function.arguments), slices, inside)
        whole = slicing.with_parts(vector)
        joined = function.reshape(
            function.concatenate(list(values), inside, slicing.dimension + 1, whole), whole, vector
        )
    return function.code("exchange_join", _unpacked(function, joined, members), members, context)


def share_out_code(members: Sequence[Shared], replicas: int, context: ir.Context) -> Code:
    """Arrays -> for each replica the vector of its shares."""
    function = _Function([one.whole for one in members])
    shares = [one.share for one in members]
    vectors = [_packed(function, shares, _shares(function, members, replica)) for replica in range(replicas)]
    return function.code("exchange_share_out", vectors, [vector_of(shares)] * replicas, context)


def own_share_code(members: Sequence[Shared], replica: int, context: ir.Context) -> Code:
    """Arrays -> a replica's share of each."""
    function = _Function([one.whole for one in members])
    shares = [one.share for one in members]
    return function.code("exchange_own_share", _shares(function, members, replica), shares, context)


def gather_code(members: Sequence[Shared], replicas: int, context: ir.Context) -> Code:
    """The vectors of the shares of all replicas -> the arrays."""
    shares = [one.share for one in members]
    function = _Function([vector_of(shares)] * replicas)
    parts = zip(*(_unpacked(function, vector, shares) for vector in list(function.arguments)), strict=True)
    wholes = [
        function.concatenate(values, [one.share] * replicas, one.dimension, one.whole)
        for one, values in zip(members, parts, strict=True)
    ]
    return function.code("exchange_gather", wholes, [one.whole for one in members], context)


def _shares(function: _Function, members: Sequence[Shared], replica: int) -> list[str]:
    return [
        function.cut(value, one.whole, one.dimension, *one.bounds(replica))
        for value, one in zip(function.arguments, members, strict=True)
    ]


def _packed(function: _Function, members: Sequence[ExchangedArray], values: Sequence[str]) -> str:
    if len(members) == 1:
        return values[0]
    flat = [one.flat() for one in members]
    values = [function.reshape(value, one, other) for value, one, other in zip(values, members, flat, strict=True)]
    return function.concatenate(values, flat, 0, vector_of(members))


def _unpacked(function: _Function, vector: str, members: Sequence[ExchangedArray]) -> list[str]:
    if len(members) == 1:
        return [vector]
    found, start, whole = [], 0, vector_of(members)
    for one in members:
        stop = start + prod(one.shape)
        found.append(function.reshape(function.cut(vector, whole, 0, start, stop), one.flat(), one))
        start = stop
    return found
