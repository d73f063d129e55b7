"""Rules for what works along some dimensions and leaves others alone: reductions, windows, sorting, transforms."""

from collections.abc import Sequence

from atoll.compiler.batch_rules.decision import Decision
from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.interpretation import Interpretation
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node, kind_of_body
from atoll.compiler.batch_rules.orders import decide_sort, make_sort
from atoll.compiler.batch_rules.rule import FactorRule, Linear
from atoll.compiler.batch_rules.states import Places, State
from atoll.compiler.mlir.bindings import ir


def _reduce(node: Node) -> Sequence[Factor]:
    count = len(node.operands) // 2
    gone = node.integers("dimensions")
    kept = [one for one in range(len(node.operand_shape())) if one not in gone]
    factors = [Factor((one,) * count + (None,) * count, (result,) * count) for result, one in enumerate(kept)]
    kind = kind_of_body(node)
    if kind:
        # A maximum may take the initial value once in each microbatch; a sum must add it only once.
        base = 1 if kind == "add" else None
        factors += [Factor((one, None), (None,), kind, base) for one in gone]
    return factors


def _sums_on(node: Node) -> Linear | None:
    kind = kind_of_body(node)
    return Linear(together=(0, 1), kinds=frozenset((kind,))) if kind else None


def _window(node: Node) -> Sequence[Factor]:
    rank, count = len(node.operand_shape()), len(node.operands) // 2
    return [Factor((one,) * count + (None,) * count, (one,) * count) for one in range(rank) if _passes(node, one, rank)]


def _select_and_scatter(node: Node) -> Sequence[Factor]:
    rank = len(node.operand_shape())
    return [Factor((one, one, None), (one,)) for one in range(rank) if _passes(node, one, rank)]


def _passes(node: Node, dimension: int, rank: int) -> bool:
    """Whether a window is one element wide in a dimension, and visits every element of it."""
    names = ("window_dimensions", "window_strides", "base_dilations", "window_dilations")
    padding = node.integers("padding", [0] * (2 * rank))[2 * dimension : 2 * dimension + 2]
    return all(node.integers(name, [1] * rank)[dimension] == 1 for name in names) and padding == [0, 0]


def _sort(node: Node) -> Sequence[Factor]:
    rank, count = len(node.operand_shape()), len(node.operands)
    sorted_ = node.integer("dimension") % rank
    return [Factor((one,) * count, (one,) * count) for one in range(rank) if one != sorted_]


def _is_by_device(node: Node) -> bool:
    """Whether it stands in a `shard_map`, where devices may meet each other's rows by their places."""
    outer = (inner for one in node.program.body.nodes for inner in (one, *one.inner()))
    return any(one.name == "sdy.manual_computation" and node in one.inner() for one in outer)


class SortRule(FactorRule):
    """A sort of examples is one microbatch's own where numbers say how to put the rows back."""

    def forward(self, scope: Interpretation, node: Node, states: Sequence[State]) -> Decision:
        # Where it may be done for the whole batch, something did not put its rows back.
        is_left = bool(scope.batch.joinable) or _is_by_device(node)
        ordering = None if is_left else decide_sort(node, states)
        return ordering or super().forward(scope, node, states)

    def build(self, local: Local, node: Node, decision: Decision, operands: Values) -> Values:
        is_ordering = any(isinstance(form, Places) for form in decision.results)
        return (make_sort if is_ordering else super().build)(local, node, decision, operands)


def _all_but_last(node: Node) -> Sequence[Factor]:
    rank = len(node.operand_shape())
    return [Factor((one,), (one,) * len(node.results)) for one in range(rank - 1)]


def _transform(node: Node) -> Sequence[Factor]:
    rank = len(node.operand_shape()) - len(node.integers("fft_length"))
    return [Factor((one,), (one,)) for one in range(rank)]


def _matrices(node: Node) -> Sequence[Factor]:
    rank = len(node.operand_shape()) - 2
    return [Factor((one,) * len(node.operands), (one,)) for one in range(rank)]


def _triangular_solve(node: Node) -> Sequence[Factor]:
    """Each right-hand side is solved for by itself: the columns of the second operand, or its rows if the triangle
    stands on the right."""
    rank = len(node.operand_shape())
    along = rank - 1 if ir.BoolAttr(node.operation.attributes["left_side"]).value else rank - 2
    return [*_matrices(node), Factor((None, along), (along,))]


RULES = (
    FactorRule(
        ("stablehlo.reduce",),
        "along dimensions that stay; a sum, a maximum and the like along those that go",
        _reduce,
        _sums_on,
    ),
    FactorRule(("stablehlo.reduce_window",), "along dimensions in which no window reaches out", _window, _sums_on),
    FactorRule(
        ("stablehlo.select_and_scatter",), "along dimensions in which no window reaches out", _select_and_scatter
    ),
    SortRule(
        ("stablehlo.sort",), "along dimensions that are not sorted; of examples if their rows are put back later", _sort
    ),
    FactorRule(("chlo.top_k",), "along all dimensions but the last", _all_but_last),
    FactorRule(("stablehlo.fft",), "along dimensions that are not transformed", _transform),
    FactorRule(("stablehlo.cholesky",), "matrix by matrix", _matrices),
    FactorRule(
        ("stablehlo.triangular_solve",),
        "matrix by matrix, or along what each triangle is solved for",
        _triangular_solve,
    ),
)
