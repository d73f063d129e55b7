"""How a dimension runs through an operation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Factor:
    """A dimension that runs through an operation, along with the blocks that it consists of.

    operands: for each operand which of its dimensions it is; None where the operand does not have it.
    results: the same for the results; None where it is summed away.
    kind: how partial results combine, where it is summed away.
    base: the operand that joins the combined result once, if there is one.
    scale: how many blocks operands, and then results, have in proportion; empty where all have as many.
    begins: an element of the first operand, before the first or behind the last one perhaps, at which a block begins.
    in_one_block: whether it runs through only if it is not in several blocks.
    """

    operands: tuple[int | None, ...]
    results: tuple[int | None, ...]
    kind: str = ""
    base: int | None = None
    scale: tuple[int, ...] = ()
    begins: int = 0
    in_one_block: bool = False

    def blocks(self, place: int, blocks: int) -> tuple[int, ...] | None:
        """How many blocks each operand and result has, 0 without the dimension, if that place has so many; None if
        these are no whole numbers."""
        if self.in_one_block and blocks > 1:
            return None
        dimensions = (*self.operands, *self.results)
        scale = self.scale or (1,) * len(dimensions)
        counts = []
        for dimension, own in zip(dimensions, scale, strict=True):
            count, rest = (0, 0) if dimension is None else divmod(blocks * own, scale[place])
            if rest or (dimension is not None and not count):
                return None
            counts.append(count)
        return tuple(counts)
