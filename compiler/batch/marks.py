"""What phase `timed` writes on @main and its loops."""

from collections.abc import Sequence

from atoll.compiler.mlir import ir

# On a batch argument, a per-example result of @main: how many parts it stands for. On a loop: which of its results are
# kept as the parts of a per-example result, rather than carried on.
PARTS = "atoll.parts"
# On a per-example result: the dimension along which its parts are joined.
PARTS_DIMENSION = "atoll.parts_dimension"


def parts_attribute(count: int) -> ir.IntegerAttr:
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(32), count)


def kept_attribute(numbers: Sequence[int]) -> ir.Attribute:
    return ir.DenseI64ArrayAttr.get(list(numbers))
