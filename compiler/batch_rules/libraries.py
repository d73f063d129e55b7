"""The rule for custom calls: of libraries that are known to treat matrices one by one, and what names a memory."""

import re
from collections.abc import Sequence

from atoll.compiler.batch_rules.decision import Decision
from atoll.compiler.batch_rules.factor import Factor
from atoll.compiler.batch_rules.local import Local, Values
from atoll.compiler.batch_rules.nodes import Node
from atoll.compiler.batch_rules.rule import FactorRule
from atoll.compiler.batch_rules.states import Split, State
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.memory_kinds import is_annotation

# Linear algebra solvers: jax writes on their calls how many leading dimensions count matrices.
_KNOWN = ("lapack_", "cusolver_", "cublas_", "hipsolver_", "hipblas_")
_TRIANGULAR_SOLVE = "lapack_[sdcz]trsm_ffi"
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
    matrices = [Factor((one,) * len(node.operands), (one,) * len(node.results)) for one in range(leading)]
    return [*matrices, *_solved_for(node, leading)] if re.fullmatch(_TRIANGULAR_SOLVE, name) else matrices


def _solved_for(node: Node, leading: int) -> Sequence[Factor]:
    """Each right-hand side is solved for by itself: the columns of the second operand, or its rows if the triangle
    stands on the right."""
    side = ir.IntegerAttr(ir.DictAttr(node.operation.attributes["mhlo.backend_config"])["side"]).value
    along = leading + 1 if side == ord("L") else leading
    return [Factor((None, along), (along,))]


def _make(local: Local, node: Node, decision: Decision, operands: Values) -> Values:
    copy = local.clone(node, decision, operands)
    if _SHARDING_RULE in copy.attributes:
        forms = [*decision.operands, *decision.results]
        rule = _resized(str(copy.attributes[_SHARDING_RULE]), forms, local)
        copy.attributes[_SHARDING_RULE] = ir.Attribute.parse(rule)
    return list(copy.results)


def _resized(rule: str, forms: Sequence[State], local: Local) -> str:
    """A sharding rule in which dimensions have the sizes of a microbatch's part: it states that of every dimension,
    `<([i, j], [i, k])->([i, k]) {i=4, j=2, k=2}>`."""
    names, sizes = rule.split(" {", 1)
    named = [one.split(", ") for one in re.findall(r"\[([^\]]*)\]", names)]
    along = {one[form.dimension] for one, form in zip(named, forms, strict=True) if isinstance(form, Split)}
    for name in along:
        sizes = re.sub(rf"(?<=\b{name}=)\d+", lambda size: str(local.share(int(size[0]))), sizes)
    return f"{names} {{{sizes}"


RULES = (
    FactorRule(
        ("stablehlo.custom_call",),
        "matrix by matrix, in calls of known libraries, or along what each triangle is solved for; "
        "what says which memory a value is in hands it on",
        _factors,
        make=_make,
    ),
)
