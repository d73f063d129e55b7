"""A loop over a grid of blocks, of which each microbatch has a part: it makes the iterations of that part."""

from collections.abc import Sequence

from atoll.compiler.batch_rules.counted_loop import read_loop
from atoll.compiler.batch_rules.decision import Decision, Entry
from atoll.compiler.batch_rules.grid_loop import GridLoop, read_grid
from atoll.compiler.batch_rules.local import Values
from atoll.compiler.batch_rules.local_block import LocalBlock
from atoll.compiler.batch_rules.local_loop import make_loop
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.states import ABSENT, SAME, State
from atoll.compiler.mlir.bindings import ir

_Value = ir.Value[ir.Type]


def decide_grid(node: Node, states: Sequence[State], captured: Sequence[State]) -> Decision | None:
    """The forms in which such a loop takes and gives what it carries; None if it is none, or counts by equal steps."""
    if any(state != SAME for state in captured) or not isinstance(read_loop(node), str):
        return None
    grid = read_grid(node, states)
    return None if grid is None else Decision(grid.forms, grid.forms)


def build_grid(local: LocalBlock, node: Node, decision: Decision, operands: Values) -> Values:
    """Make a microbatch's iterations: the first ones, as the places of its blocks are those in its own part."""
    grid = read_grid(node, decision.operands)
    assert grid is not None
    kept = [slot for slot, form in enumerate(decision.results) if form != ABSENT]
    carried = dict(zip(kept, operands, strict=True))
    if ABSENT not in decision.results:
        handed = [slot for slot, form in enumerate(grid.forms) if form != SAME or slot in grid.ends]
        begin = [carried[slot] for slot in handed]

        def make(block: LocalBlock, _number: _Value, values: Sequence[_Value]) -> list[_Value]:
            after = {**carried, **dict(zip(handed, values, strict=True))}
            return _make_iteration(block, node, grid, after, handed)

        made = make_loop(local, local.share(grid.iterations), begin, node.location, make)
        carried |= zip(handed, made, strict=True)
    for slot, end in grid.ends.items():
        carried[slot] = local.number(end, node.program.tensor(node.results[slot]), node.location)
    return [carried[slot] for slot in kept]


def _make_iteration(
    block: LocalBlock, node: Node, grid: GridLoop, carried: dict[int, _Value], handed: Sequence[int]
) -> list[_Value]:
    body = node.bodies[1]
    for slot, value in carried.items():
        block.values[body.arguments[slot], SAME] = value
    for one in body.nodes:
        block.make(Entry(one))
        if one in grid.accesses and one.name == "stablehlo.dynamic_update_slice":
            block.values[one.results[0], SAME].set_type(block.get((one.operands[0], SAME)).type)
    return [block.get((body.returned[slot], SAME)) for slot in handed]
