"""How a value relates to the batch, and the ways in which partial results combine."""

from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir


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
class Partial:
    """Each microbatch has a part; all parts combined are the value."""

    kind: str  # a key of COMBINE

    def __str__(self) -> str:
        return f"P({self.kind})"


@dataclass(frozen=True)
class Absent:
    """Left out: an operation is made for only some of its results, without this value."""


State = Same | Split | Partial | Absent
SAME = Same()
ABSENT = Absent()

# A value in one of its forms: a value is known by its number.
Version = tuple[int, State]

# How partial results combine -> the operation that does it.
COMBINE = {
    "add": "stablehlo.add",
    "max": "stablehlo.maximum",
    "min": "stablehlo.minimum",
    "and": "stablehlo.and",
    "or": "stablehlo.or",
}
KIND_OF = {operation: kind for kind, operation in COMBINE.items()}

# A splat of it, as MLIR prints it.
COMPLEX_ZERO = "dense<(0.000000e+00,0.000000e+00)>"


def identity(kind: str, type_: ir.RankedTensorType) -> ir.DenseElementsAttr | None:
    """The splat that changes nothing when combined with a value; None if the bindings cannot write one."""
    element = type_.element_type
    value: ir.Attribute
    if isinstance(element, ir.FloatType):
        if kind not in ("add", "max", "min"):
            return None
        value = ir.FloatAttr.get(element, {"add": 0.0, "max": float("-inf"), "min": float("inf")}[kind])
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
    return {"add": 0, "or": 0, "and": ones, "max": least, "min": greatest}[kind]
