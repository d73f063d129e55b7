"""The call that stands for an exchange between replicas as long as values live on no islands."""

from collections.abc import Sequence

from atoll.compiler.mlir.attributes import integer
from atoll.compiler.mlir.bindings import ir
from atoll.compiler.module.marks import EXCHANGE, SHARE

# What is called.
_CALLED = EXCHANGE
# The first names of dimensions in Shardy's rules.
_NAMES = "ijklmnopqrstuvwxyz"


def exchange_attributes(
    kind: str, taken: Sequence[int], made: Sequence[int], along: int | None = None
) -> dict[str, ir.Attribute]:
    """Those of the call, for what is taken and made in these shapes. along: the dimension that is shared, if one is."""
    attributes = {
        "call_target_name": ir.StringAttr.get(_CALLED),
        EXCHANGE: ir.StringAttr.get(kind),
        "sdy.sharding_rule": _rule(taken, made, along),
    }
    return attributes if along is None else {**attributes, SHARE: integer(along)}


def _rule(taken: Sequence[int], made: Sequence[int], along: int | None) -> ir.Attribute:
    """How Shardy sees an exchange: a sharding passes through every dimension but the shared one."""
    names, sizes, blocked = [_name(number) for number in range(len(taken))], list(taken), ""
    results = list(names)
    if along is not None:
        results[along] = _name(len(taken))
        sizes.append(made[along])
        blocked = f" blocked_propagation={{{names[along]}, {results[along]}}}"
    factors = ", ".join(f"{_name(number)}={size}" for number, size in enumerate(sizes))
    text = f"([{', '.join(names)}])->([{', '.join(results)}]) {{{factors}}}{blocked}, custom"
    return ir.Attribute.parse(f"#sdy.op_sharding_rule<{text}>")


def _name(number: int) -> str:
    """What Shardy calls a dimension in a rule: `i`, ..., `z`, `z_1`, `z_2`."""
    last = len(_NAMES) - 1
    return _NAMES[number] if number <= last else f"{_NAMES[last]}_{number - last}"
