"""Makes a loop of so many iterations in a block for one microbatch."""

from collections.abc import Callable, Sequence

from atoll.compiler.batch_rules.local_block import LocalBlock
from atoll.compiler.mlir.bindings import ir

_Value = ir.Value[ir.Type]


def make_loop(
    local: LocalBlock,
    count: int,
    begin: Sequence[_Value],
    location: ir.Location,
    make: Callable[[LocalBlock, _Value, Sequence[_Value]], Sequence[_Value]],
) -> Sequence[_Value]:
    """What is carried after the last iteration.

    make: makes an iteration in a block, of its number and of what is carried into it; returns what it hands on.
    """
    index = ir.RankedTensorType.get([], ir.IntegerType.get_signless(32))
    carried = [local.number(0, index, location), *begin]
    types = [one.type for one in carried]
    made = local.create("stablehlo.while", types, carried, location, regions=2)
    places = [location] * len(types)
    block = made.regions[0].blocks.append(*types, arg_locs=places)
    condition = local.inside(block)
    end = condition.number(count, index, location)
    flag = ir.RankedTensorType.get([], ir.IntegerType.get_signless(1))
    less = {"comparison_direction": ir.Attribute.parse("#stablehlo<comparison_direction LT>")}
    compared = condition.one("stablehlo.compare", flag, [block.arguments[0], end], location, less)
    condition.create("stablehlo.return", [], [compared], location)
    block = made.regions[1].blocks.append(*types, arg_locs=places)
    body = local.inside(block)
    number, *rest = block.arguments
    after = make(body, number, rest)
    following = body.one("stablehlo.add", index, [number, body.number(1, index, location)], location)
    body.create("stablehlo.return", [], [following, *after], location)
    return list(made.results)[1:]
