"""How a value relates to the batch, and the ways in which partial results combine."""

import math
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.constants import complex_splat


@dataclass(frozen=True)
class Same:
    """The same for every microbatch."""

    def __str__(self) -> str:
        return "R"


@dataclass(frozen=True)
class Split:
    """Microbatch i has the i-th part of a dimension; where that is several batches one after another, of each of them.

    Of k blocks with n elements each, in M parts, these are the elements j*n + i*n/M up to j*n + (i+1)*n/M of every
    block j, block after block.
    """

    dimension: int
    blocks: int = 1

    def __str__(self) -> str:
        return f"S({self.dimension})" if self.blocks == 1 else f"S({self.dimension} in {self.blocks} blocks)"


@dataclass(frozen=True)
class Sorted(Split):
    """Rows in the order of a sort: each microbatch has the rows of its own examples, in the order of its own sort.

    Put back in the order of the examples, it is `Split`.
    by: the number of the sort.
    """

    by: int = -1

    def __str__(self) -> str:
        return f"S({self.dimension} sorted)"


@dataclass(frozen=True)
class Places(Split):
    """Made of nothing but numbers and where a sort puts rows; each microbatch counts its own rows.

    is_back: whether it says for each example where the sort has put it, instead of which example is at each place.
    """

    by: int = -1
    is_back: bool = False

    def __str__(self) -> str:
        return f"places({self.dimension})"


@dataclass(frozen=True)
class Stacked(Split):
    """What devices of a `shard_map` have of a microbatch, one after another: only those devices can take it back.

    axes: along which they are.
    """

    axes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"S({self.dimension} of devices)"


@dataclass(frozen=True)
class Own:
    """What the same operations make of one microbatch alone, such as how many of its rows there are of each kind."""

    def __str__(self) -> str:
        return "own"


@dataclass(frozen=True)
class DeviceOwn:
    """What a device has, in a `shard_map` that is written for the devices of all replicas: another has another."""

    def __str__(self) -> str:
        return "of a device"


@dataclass(frozen=True)
class Partial:
    """Each microbatch has a part; all parts combined are the value."""

    kind: str  # a key of COMBINE

    def __str__(self) -> str:
        return f"P({self.kind})"


@dataclass(frozen=True)
class Absent:
    """Left out: an operation is made for only some of its results, without this value."""


State = Same | Split | Own | DeviceOwn | Partial | Absent
SAME = Same()
OWN = Own()
DEVICE_OWN = DeviceOwn()
ABSENT = Absent()

# A value in one of its forms: a value is known by its number.
Version = tuple[int, State]

# How the parts of a value that each microbatch has a part of become the whole: each is written to its place, over
# what leaves any number as it is when replicas add up what each of them has written.
JOIN = "join"

# How partial results combine -> the operation that does it.
COMBINE = {
    "add": "stablehlo.add",
    "max": "stablehlo.maximum",
    "min": "stablehlo.minimum",
    "and": "stablehlo.and",
    "or": "stablehlo.or",
}
KIND_OF = {operation: kind for kind, operation in COMBINE.items()}
# The same for what loops over microbatches carry on.
KIND_OF_CARRIED = KIND_OF | {"stablehlo.dynamic_update_slice": JOIN}


# The greatest number of each type of floats that has no infinities.
_GREATEST = {
    "f8E4M3FN": 448.0,
    "f8E4M3B11FNUZ": 30.0,
    "f8E4M3FNUZ": 240.0,
    "f8E5M2FNUZ": 57344.0,
    "f6E2M3FN": 7.5,
    "f6E3M2FN": 28.0,
    "f4E2M1FN": 6.0,
}


def identity(kind: str, type_: ir.RankedTensorType) -> ir.DenseElementsAttr | None:
    """The splat that changes nothing when combined with a value; None if there is no such."""
    element = type_.element_type
    value: ir.Attribute
    if isinstance(element, ir.ComplexType):
        neutral = {"add": 0.0, JOIN: -0.0}.get(kind)
        return None if neutral is None else complex_splat(type_, neutral, neutral)
    if isinstance(element, ir.FloatType):
        greatest = _GREATEST.get(str(element), math.inf)
        neutral = {"add": 0.0, JOIN: -0.0, "max": -greatest, "min": greatest}.get(kind)
        if neutral is None:
            return None
        value = ir.FloatAttr.get(element, neutral)
    elif isinstance(element, ir.IntegerType):
        value = ir.IntegerAttr.get(element, _integer_identity(kind, element))
    else:
        return None
    return ir.DenseElementsAttr.get_splat(type_, value)


def _integer_identity(kind: str, element: ir.IntegerType) -> int:
    width = element.width
    # `i1` counts as unsigned: true is the greater.
    is_signed = not element.is_unsigned and width > 1
    least, greatest = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if is_signed else (0, (1 << width) - 1)
    ones = -1 if not element.is_unsigned else greatest
    return {"add": 0, JOIN: 0, "or": 0, "and": ones, "max": least, "min": greatest}[kind]
