"""Which operations hand on numbers that they take, bit by bit, if only some of them or only now and then.

What moves numbers or chooses among them does so. So does arithmetic with a *mask*, which has ones and zeros: a product
with it, and a sum of one number and zeros, as where a label picks a score, or where one example alone has a label.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.nodes import Node, kind_of_body
from atoll.compiler.batch_rules.states import Split
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.constants import is_splat
from atoll.passes.time.folding.bits import EXACT


class Handing(IntEnum):
    """NOTHING: what an operation gives is a new number. SOME: it may be, or be one of those taken. ALL: it is one."""

    NOTHING = 0
    SOME = 1
    ALL = 2


class _Kind(IntEnum):
    """What the numbers of a value are.

    NUMBER: all the same, and known. MASK: made of whole numbers, decisions and batch arguments alone, so that there may
    be ones and zeros among them.
    """

    NUMBER = 0
    MASK = 1
    OTHER = 2


_MOVES = EXACT | {"chlo.top_k", "sdy.sharding_constraint"}
_ARITHMETIC = frozenset(
    f"stablehlo.{name}" for name in ("add", "convolution", "divide", "dot_general", "multiply", "subtract")
)
_REDUCES = frozenset(f"stablehlo.{name}" for name in ("reduce", "reduce_window", "scatter"))
# Of these a mask leaves some numbers, and zeros in place of the others.
_LEAVES_SOME = frozenset(f"stablehlo.{name}" for name in ("dot_general", "multiply", "pad", "scatter"))


@dataclass
class CopiedBits:
    """What the operations of @main hand on.

    kinds: of the values. sparse: those which may have zeros wherever a mask has left nothing.
    """

    kinds: dict[int, _Kind]
    sparse: set[int] = field(default_factory=set)
    handing: dict[int, Handing] = field(default_factory=dict)

    @classmethod
    def of(cls, scope: Interpretation) -> "CopiedBits":
        arguments = scope.body.arguments
        is_mask = {one: isinstance(scope.state(one), Split) for one in arguments}
        copied = cls({one: _Kind.MASK if is_mask[one] else _Kind.OTHER for one in arguments})
        for node in scope.body.nodes:
            copied._read(node)
        return copied

    def of_node(self, node: Node) -> Handing:
        return self.handing.get(node.number, Handing.NOTHING)

    def _read(self, node: Node) -> None:
        taken = [self.kinds.get(one, _Kind.OTHER) for one in (*node.operands, *node.captured)]
        masks = [kind == _Kind.MASK for kind in taken]
        is_sparse = any(one in self.sparse for one in node.operands)
        self.handing[node.number] = _handing(node, masks, is_sparse)
        leaves = (node.name in _LEAVES_SOME and (any(masks) or node.name in _MOVES)) or _chooses_a_number(node, taken)
        if leaves or (is_sparse and self.handing[node.number]):
            self.sparse.update(node.results)
        self.kinds.update((one, _kind(node, index, taken)) for index, one in enumerate(node.results))


def _handing(node: Node, masks: Sequence[bool], is_sparse: bool) -> Handing:
    if node.name in _MOVES:
        return Handing.ALL
    if node.name in _ARITHMETIC:
        return Handing.SOME if any(masks) else Handing.NOTHING
    if not node.bodies:
        return Handing.NOTHING
    kind = kind_of_body(node) if node.name in _REDUCES else ""
    if kind in ("max", "min"):
        return Handing.ALL
    return Handing.SOME if is_sparse or kind != "add" or node.name == "stablehlo.scatter" else Handing.NOTHING


def _chooses_a_number(node: Node, taken: Sequence[_Kind]) -> bool:
    return node.name == "stablehlo.select" and _Kind.NUMBER in taken[1:]


def _kind(node: Node, index: int, taken: Sequence[_Kind]) -> _Kind:
    if not isinstance(node.result_type(index).element_type, ir.FloatType):
        return _Kind.MASK
    if node.name == "stablehlo.constant":
        return _Kind.NUMBER if is_splat(node.operation) else _Kind.MASK
    return max(taken, default=_Kind.MASK)
