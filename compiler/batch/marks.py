"""What phase `timed` writes beside the marks of `entry`, and how."""

from collections.abc import Sequence

from atoll.compiler.mlir import ir

# On the module: what is computed for the whole batch, though each microbatch needs only its block.
WHOLE_BATCH = "atoll.whole_batch"


def parts_attribute(count: int) -> ir.IntegerAttr:
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(32), count)


def kept_attribute(numbers: Sequence[int]) -> ir.Attribute:
    return ir.DenseI64ArrayAttr.get(list(numbers))
