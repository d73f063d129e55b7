"""Rules for products of matrices and for convolutions."""

from collections.abc import Sequence

from atoll.compiler.batch_rules.decision import Decision
from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.rule import FactorRule, Linear
from atoll.compiler.batch_rules.states import Split
from atoll.compiler.mlir.bindings import ir, stablehlo

_BILINEAR = Linear(alone=(0, 1))


def _dot(node: Node) -> Sequence[Factor]:
    numbers = stablehlo.DotDimensionNumbers(node.operation.attributes["dot_dimension_numbers"])
    batching = list(zip(numbers.lhs_batching_dimensions, numbers.rhs_batching_dimensions, strict=True))
    contracting = list(zip(numbers.lhs_contracting_dimensions, numbers.rhs_contracting_dimensions, strict=True))
    factors = [Factor(pair, (result,)) for result, pair in enumerate(batching)]
    factors += [Factor(pair, (None,), "add") for pair in contracting]
    result = len(batching)
    for side in (0, 1):
        taken = {pair[side] for pair in (*batching, *contracting)}
        for one in range(len(node.operand_shape(side))):
            if one not in taken:
                factors.append(Factor((one, None) if side == 0 else (None, one), (result,)))
                result += 1
    return factors


def _convolution(node: Node) -> Sequence[Factor]:
    numbers = stablehlo.ConvDimensionNumbers(node.operation.attributes["dimension_numbers"])
    features, batches = node.integer("feature_group_count"), node.integer("batch_group_count")
    image, kernel = numbers.input_feature_dimension, numbers.kernel_output_feature_dimension
    factors = []
    if batches == 1:
        factors.append(Factor((numbers.input_batch_dimension, None), (numbers.output_batch_dimension,)))
    if features == batches == 1:
        factors.append(Factor((None, kernel), (numbers.output_feature_dimension,)))
    if features == 1:
        # The gradient of a kernel: here the features are the examples.
        factors.append(Factor((image, numbers.kernel_input_feature_dimension), (None,), "add"))
    # Groups are convolutions side by side; a microbatch has some of them.
    if features > 1 and features % node.program.parts == 0:
        factors.append(Factor((image, kernel), (numbers.output_feature_dimension,), in_one_block=True))
    if batches > 1 and batches % node.program.parts == 0:
        taken = (numbers.input_batch_dimension, kernel)
        factors.append(Factor(taken, (numbers.output_feature_dimension,), in_one_block=True))
    return factors


def _make_convolution(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    copy = local.clone(node, decision, operands)
    numbers = stablehlo.ConvDimensionNumbers(node.operation.attributes["dimension_numbers"])
    is_grouped = decision.operands[1] == Split(numbers.kernel_output_feature_dimension)
    for name in ("feature_group_count", "batch_group_count"):
        count = node.integer(name)
        if is_grouped and count > 1:
            copy.attributes[name] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), local.share(count))
    return list(copy.results)


_CONTRACTIONS = frozenset(("stablehlo.dot_general", "stablehlo.convolution", "chlo.ragged_dot"))


def contracts(node: Node) -> bool:
    """Whether an operation is, or has in its regions, what a model's work consists of: a product or a convolution."""
    return node.name in _CONTRACTIONS or any(one.name in _CONTRACTIONS for one in node.inner())


RULES = (
    FactorRule(
        ("stablehlo.dot_general",),
        "along dimensions of one side, or of both as a batch; a sum where it is contracted",
        _dot,
        lambda _: _BILINEAR,
    ),
    FactorRule(
        ("stablehlo.convolution",),
        "along the batch, or in groups; a sum along the features",
        _convolution,
        lambda _: _BILINEAR,
        _make_convolution,
    ),
)
