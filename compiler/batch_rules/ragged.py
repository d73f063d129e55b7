"""The rule for a product of groups of rows, each with the weights of its group: of tokens with those of their expert.

On TPUs and GPUs jax leaves it as one operation; on CPUs it is made of comparisons and a product, which have rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.compiler.batch_rules.decision import Decision, Mixed
from atoll.compiler.batch_rules.interpretation import Interpretation, Rule
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.orders import sort_of_groups
from atoll.compiler.batch_rules.states import OWN, SAME, Partial, Sorted, Split, State
from atoll.compiler.mlir.bindings import chlo


@dataclass(frozen=True)
class RaggedRule:
    """Rows that a sort has put in order by their group, if the sizes of the groups are how many rows have each key."""

    operations: tuple[str, ...] = ("chlo.ragged_dot",)
    says: str = "along rows that are sorted by their group, or a sum over them for each group"
    takes_batch_in_regions: bool = False

    def forward(self, scope: Interpretation, node: Node, states: Sequence[State]) -> Decision:
        numbers = chlo.RaggedDotDimensionNumbers(node.operation.attributes["ragged_dot_dimension_numbers"])
        (ragged,) = numbers.lhs_ragged_dimensions
        summed = list(numbers.lhs_contracting_dimensions)
        rows, others, sizes = states
        is_ordered = isinstance(rows, Sorted) and rows.dimension == ragged and not list(numbers.lhs_batching_dimensions)
        if not isinstance(rows, Sorted) or not is_ordered or (not isinstance(sizes, Partial) and sizes != SAME):
            raise Mixed(node, "multiplies examples in groups that are not those of a sort before")
        sort = sort_of_groups(scope, node.operands[2], rows.by)
        if sort is None or sort.operand_shape() != (node.operand_shape()[ragged],):
            raise Mixed(node, "multiplies rows in groups of other sizes than those that their sort has put together")
        if ragged in summed:
            column = list(numbers.rhs_contracting_dimensions)[summed.index(ragged)]
            if others == Sorted(column, by=rows.by):
                return Decision((rows, others, OWN), (Partial("add"),))
        elif others == SAME:
            place = sum(one not in summed for one in range(ragged))
            return Decision((rows, SAME, OWN), (Sorted(place, by=rows.by),))
        raise Mixed(node, "takes rows in the order of a sort beside examples in their own order")

    def backward(self, _scope: Interpretation, _node: Node, _wanted: Mapping[int, Split]) -> Decision | None:
        return None

    def without_batch(self, _scope: Interpretation, node: Node, _decision: Decision) -> Decision:
        raise AssertionError(f"the result of {node.name} carries the batch")

    def build(self, local: Local, node: Node, decision: Decision, operands: Values) -> Values:
        return list(local.clone(node, decision, operands).results)


RULES: tuple[Rule, ...] = (RaggedRule(),)
