"""The rule for custom calls: of libraries that are known to treat matrices one by one, and what names a memory."""

import re
from collections.abc import Sequence

from atoll.compiler.batch_rules.decision import Decision
from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.rule import FactorRule
from atoll.compiler.batch_rules.states import Split
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.memory_kinds import is_annotation

# Linear algebra solvers: jax writes on their calls how many leading dimensions count matrices.
_KNOWN = ("lapack_", "cusolver_", "cublas_", "hipsolver_", "hipblas_")
_SHARDING_RULE = "sdy.sharding_rule"


def _factors(node: Node) -> Sequence[Factor]:
    if is_annotation(node.operation.opview):
        return [Factor((one,), (one,)) for one in range(len(node.result_shape()))]
    name = ir.StringAttr(node.operation.attributes["call_target_name"]).value
    if not name.startswith(_KNOWN) or not node.has("mhlo.frontend_attributes"):
        return []
    said = ir.DictAttr(node.operation.attributes["mhlo.frontend_attributes"])
    if "num_batch_dims" not in said:
        return []
    leading = int(ir.StringAttr(said["num_batch_dims"]).value)
    return [Factor((one,) * len(node.operands), (one,) * len(node.results)) for one in range(leading)]


def _make(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    copy = local.clone(node, decision, operands)
    form = decision.results[0]
    if _SHARDING_RULE in copy.attributes and isinstance(form, Split):
        size = node.result_shape()[form.dimension]
        rule = _resized(str(copy.attributes[_SHARDING_RULE]), form.dimension, size, local.share(size))
        copy.attributes[_SHARDING_RULE] = ir.Attribute.parse(rule)
    return list(copy.results)


def _resized(rule: str, dimension: int, before: int, after: int) -> str:
    """A sharding rule with another size: it states that of every dimension, `<([i, j])->([i, j]) {i=4, j=2}>`."""
    first = rule[rule.index("[") + 1 : rule.index("]")].split(", ")
    return re.sub(rf"\b{first[dimension]}={before}\b", f"{first[dimension]}={after}", rule)


RULES = (
    FactorRule(
        ("stablehlo.custom_call",),
        "matrix by matrix, in calls of known libraries; what says which memory a value is in hands it on",
        _factors,
        make=_make,
    ),
)
